"""When does the user start, pause, go on, finish, interrupt? A pure state machine on the sample clock.

It is fed one speech probability per window and whether a reply is being heard, and says what follows from it. Two
clocks: at the first silence the turn is Paused (a reply may be drafted, unheard); it has Ended once the silence is long
enough for how finished the sentence sounds. Positions are samples at 16 kHz since the session began.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import HEAR_HZ

_VERDICT = HEAR_HZ // 20  # the end-of-turn model takes 30 ms and the way there and back


@dataclass(frozen=True, slots=True)
class Signal:
    at: int
    """Sample at which it became known."""


@dataclass(frozen=True, slots=True)
class Started(Signal):
    """Speech that begins a turn."""

    onset: int
    interrupts: bool
    """False for whoever talked past the limit: the first part is being answered meanwhile."""


@dataclass(frozen=True, slots=True)
class Paused(Signal):
    """The first silence: time to think."""

    speech_end: int


@dataclass(frozen=True, slots=True)
class AskEndpoint(Signal):
    """Ask the end-of-turn model about the turn up to here and hand the answer to `verdict`."""


@dataclass(frozen=True, slots=True)
class Resumed(Signal):
    """It was a pause inside the turn."""


@dataclass(frozen=True, slots=True)
class Ended(Signal):
    """The turn is over: time to speak."""

    speech_end: int


@dataclass(frozen=True, slots=True)
class DuckStarted(Signal):
    """Speech over the reply that may become an interruption."""


@dataclass(frozen=True, slots=True)
class DuckEnded(Signal):
    """It was a cough."""


@dataclass(frozen=True, slots=True)
class BargedIn(Signal):
    """An interruption, confirmed; the user's turn began at `onset`."""

    onset: int


class _State(Enum):
    IDLE = auto()
    SPEAKING = auto()
    PAUSED = auto()


class TurnTaker:
    """One session's turns."""

    def __init__(self, rules: TurnRules) -> None:
        self.rules = rules
        self.position = 0
        """Samples seen so far."""
        self._overlong = False  # the last turn was cut at the limit and the user may still be talking
        self.reset()

    def reset(self) -> None:
        """Forget the turn under way; the clock runs on."""
        self._state = _State.IDLE
        self._speaking = False
        self._onset = 0  # of the turn, or of speech that may become one
        self._candidate = 0  # samples of speech that may start, resume or interrupt
        self._candidate_onset = 0
        self._gap = 0  # silence after that speech
        self._ducked = False
        self._speech_end = 0
        self._clear_end = 0  # of what was surely speech
        self._fading = False  # a pause has been drafted on, and what follows may still be the end of the word before
        self._probability = 0.0  # the end-of-turn model's last word on this pause
        self._asked_at = 0
        self._early_drafts = 0  # of this turn

    @property
    def in_turn(self) -> bool:
        return self._state is not _State.IDLE

    @property
    def waiting(self) -> bool:
        """Something is undecided that silence would decide."""
        return self.in_turn or self._candidate > 0

    @property
    def speaking(self) -> bool:
        return self._state is _State.SPEAKING

    def window(self, probability: float, samples: int, *, reply_heard: bool) -> list[Signal]:
        """One VAD window. `reply_heard`: a reply is coming out of the user's loudspeaker."""
        before = self.position
        self.position += samples
        rules = self.rules
        clear = probability >= rules.onset
        self._speaking = clear or (self._speaking and probability >= rules.offset)
        self._fading = self._fading and self._speaking and not clear
        self._clear_end = self.position if clear else self._clear_end
        self._count(before, samples)
        if self._state is _State.IDLE:
            return self._idle(reply_heard)
        if self._state is _State.SPEAKING:
            return self._in_speech()
        return self._in_pause()

    def verdict(self, probability: float, asked_at: int) -> list[Signal]:
        """The end-of-turn model's answer about the turn up to `asked_at`; an answer about an older pause is ignored."""
        if self._state is not _State.PAUSED or asked_at <= self._speech_end:
            return []
        self._probability = probability
        return self._commit()

    def end_now(self) -> list[Signal]:
        """The client says that the turn is over."""
        return self._end() if self.in_turn else []

    def _count(self, before: int, samples: int) -> None:
        """Track a run of speech that has not been made anything of yet; a gap in it ends it."""
        if self._speaking:
            if self._candidate == 0:
                self._candidate_onset = before
            self._candidate += samples
            self._gap = 0
        elif self._candidate:
            self._gap += samples

    def _drop_candidate(self) -> None:
        self._candidate = self._gap = 0

    def _idle(self, reply_heard: bool) -> list[Signal]:
        rules = self.rules
        if self._candidate and self._gap >= rules.gap:
            self._drop_candidate()
            return self._unduck()
        if not self._speaking:
            self._overlong = False
            return []
        # Whoever talked past the limit goes on in a turn of its own and gets the answer to the first part meanwhile.
        if not (reply_heard and rules.interrupts) or self._overlong:
            if self._candidate < rules.start:
                return []
            interrupts = rules.interrupts and not self._overlong
            return [*self._unduck(), self._begin(Started(self.position, self._candidate_onset, interrupts))]
        if self._candidate >= rules.barge_in:
            self._ducked = False
            return [self._begin(BargedIn(self.position, self._candidate_onset))]
        if self._candidate >= rules.duck and not self._ducked:
            self._ducked = True
            return [DuckStarted(self.position)]
        return []

    def _unduck(self) -> list[Signal]:
        if not self._ducked:
            return []
        self._ducked = False
        return [DuckEnded(self.position)]

    def _begin(self, signal: Started | BargedIn) -> Signal:
        self._state = _State.SPEAKING
        self._onset = signal.onset
        self._speech_end = self._clear_end = self.position
        self._drop_candidate()
        return signal

    def _in_speech(self) -> list[Signal]:
        if self._speaking:
            self._speech_end = self.position
            self._drop_candidate()
        if self.position - self._onset >= self.rules.longest:
            return self._end(too_long=True)
        silence, fading = self.position - self._speech_end, self.position - self._clear_end
        early = silence < self.rules.draft
        if early and (self._early_drafts >= self._early_drafts_allowed() or fading < self.rules.draft_early):
            return []
        self._early_drafts += early
        self._fading = self._speaking
        self._state = _State.PAUSED
        self._probability = 0.0
        return [Paused(self.position, self._speech_end), *self._ask(), *self._commit()]

    def _early_drafts_allowed(self) -> int:
        """Most short silences lie between two words, so a turn has only so many tries."""
        rules = self.rules
        if rules.draft_early >= rules.draft:
            return 0
        return 1 + int((self.position - self._onset) / HEAR_HZ * rules.early_drafts_per_s)

    def _in_pause(self) -> list[Signal]:
        rules = self.rules
        if self._fading:
            self._speech_end = self.position
            self._drop_candidate()
        elif self._speaking:
            if self._candidate < rules.resume:
                return []
            self._state = _State.SPEAKING
            self._speech_end = self._clear_end = self.position
            self._drop_candidate()
            return [Resumed(self.position)]
        else:
            self._drop_candidate()
        if self.position - self._onset >= rules.longest:  # a client may ask for a silence longer than any turn
            return self._end(too_long=True)
        return [*self._ask(), *self._commit()]

    def _ask(self) -> list[Signal]:
        """The end-of-turn model hears the end of a sentence in the silence behind it, so it is given some."""
        rules = self.rules
        asked = self._asked_at > self._speech_end
        since = self.position - (self._asked_at if asked else self._speech_end)
        if not rules.asks_endpoint or since < (rules.endpoint_every if asked else rules.endpoint_first):
            return []
        if asked and self._needed() - (self.position - self._speech_end) < _VERDICT:
            return []  # the turn would be over first, and the first clause is being spoken on the same cores
        self._asked_at = self.position
        return [AskEndpoint(self.position)]

    def _commit(self) -> list[Signal]:
        """End the turn if the silence is long enough."""
        if self._candidate:  # speech may be coming back
            return []
        return self._end() if self.position - self._speech_end >= self._needed() else []

    def _needed(self) -> int:
        """Silence that ends the turn, by what the end-of-turn model last said."""
        return min(wait for least, wait in self.rules.grades if self._probability >= least)

    def _end(self, *, too_long: bool = False) -> list[Signal]:
        speech_end = self._speech_end
        self.reset()
        self._overlong = too_long
        return [Ended(self.position, speech_end)]
