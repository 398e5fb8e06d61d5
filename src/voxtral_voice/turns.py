"""When does the user start, pause, go on, finish, interrupt? A pure state machine on the sample clock.

It is fed one speech probability per window and whether a reply is being heard, and says what follows from it. Two
clocks: at the first silence the turn is Paused (a reply may be drafted, unheard); it has Ended once the silence is long
enough for how finished the sentence sounds. Positions are samples at 16 kHz since the session began.
"""

from __future__ import annotations

from enum import Enum, auto

from voxtral_voice.interjections import Meaning
from voxtral_voice.signals import (
    AskEndpoint,
    AskWords,
    BargedIn,
    DuckEnded,
    DuckStarted,
    Ended,
    Paused,
    Resumed,
    Signal,
    Started,
)
from voxtral_voice.speech_run import SpeechRun
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import HEAR_HZ

_UNDECIDED = 5 * HEAR_HZ  # no longer does anybody speak over a reply before it is known to be an interruption
_VERDICT = HEAR_HZ // 20  # the end-of-turn model takes 30 ms and the way there and back


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
        self._onset = 0  # of the turn
        self._run = SpeechRun()  # that may start, resume or interrupt
        self._ducked = False
        self._words_asked: AskWords | None = None  # and not been answered yet
        self._words_asked_of = 0  # samples of the run
        self._agrees = False  # what has been said of it so far
        self._convinced = False  # its sound alone would have stopped the reply
        self._speech_end = 0
        self._clear_end = 0  # of what was speech by itself, and not by what came before
        self._sure_end = 0  # of what was surely speech
        self._fading = False  # a pause has been drafted on, and what follows may still be the end of the word before
        self._probability = 0.0  # the end-of-turn model's last word on this pause
        self._asked_at = 0
        self._early_drafts = 0  # of this turn
        self._early_at = 0  # where the last one was made

    @property
    def in_turn(self) -> bool:
        return self._state is not _State.IDLE

    @property
    def waiting(self) -> bool:
        """Something is undecided that silence or an answer would decide."""
        return self.in_turn or self._run.samples > 0 or self._words_asked is not None

    @property
    def speaking(self) -> bool:
        return self._state is _State.SPEAKING

    def window(self, probability: float, samples: int, *, reply_heard: bool) -> list[Signal]:
        """One VAD window. `reply_heard`: a reply is coming out of the user's loudspeaker."""
        before = self.position
        self.position += samples
        rules = self.rules
        clear, sure = probability >= rules.onset, probability >= rules.sure
        self._speaking = clear or (self._speaking and probability >= rules.offset)
        fades = not clear or (not sure and self.position - self._sure_end <= rules.draft)
        self._fading = self._fading and self._speaking and fades
        self._clear_end = self.position if clear else self._clear_end
        self._sure_end = self.position if sure else self._sure_end
        self._run.add(before, samples, speaking=self._speaking, sure=sure, within=rules.barge_in_within)
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

    def words(self, asked_at: int, meaning: Meaning) -> list[Signal]:
        """What the words that `AskWords` asked for at `asked_at` mean.

        Of an answer about earlier ones it only counts that they ask for the floor: by now there may be more of them.
        """
        asked = self._words_asked
        if asked is None or not (
            asked.at == asked_at or (meaning is Meaning.CALL and asked.onset < asked_at < asked.at)
        ):
            return []
        stops = meaning is Meaning.CALL or (self._convinced and meaning is not Meaning.AGREEMENT)
        if stops and self.rules.interrupts:
            return [self._begin(BargedIn(self.position, asked.onset))]
        self._words_asked = None
        self._agrees, self._convinced = meaning is Meaning.AGREEMENT and self._run.samples > 0, False
        return [] if self._run.samples else self._unduck()

    def _idle(self, reply_heard: bool) -> list[Signal]:
        if not self._speaking:
            self._overlong = False
        # Whoever talked past the limit goes on in a turn of its own and gets the answer to the first part meanwhile.
        if reply_heard and self.rules.interrupts and not self._overlong:
            return self._over_reply()
        return self._in_quiet()

    def _in_quiet(self) -> list[Signal]:
        """There is nothing to interrupt, or not any more: then what was said at the reply's very end is a turn."""
        rules = self.rules
        if self._run.samples >= rules.start or self._words_asked is not None:
            interrupts = rules.interrupts and not self._overlong
            return [*self._unduck(), self._begin(Started(self.position, self._undecided_since(), interrupts))]
        if self._run.gap >= rules.gap:
            self._run.end()
            return self._unduck()
        return []

    def _over_reply(self) -> list[Signal]:
        rules, run = self.rules, self._run
        if run.gap >= rules.gap:
            return self._leave_off()
        if not self._speaking:
            return []
        if run.interrupts(rules):
            if not self._agrees or run.samples >= rules.agreement:
                return [self._begin(BargedIn(self.position, self._undecided_since()))]
            self._convinced = True
        signals: list[Signal] = []
        if run.samples >= rules.duck and not self._ducked:
            self._ducked = True
            signals.append(DuckStarted(self.position))
        if self._wants_words():
            signals.append(self._ask_words(self.position))
        return signals

    def _wants_words(self) -> bool:
        """Early enough to know before the sound decides, again while they agree, and now and then if it never does."""
        rules, run = self.rules, self._run
        if self._words_asked is not None:
            return False
        since = run.samples - self._words_asked_of
        early = self._words_asked_of == 0 and 2 * run.sure >= rules.barge_in
        return early or since >= (rules.barge_in if self._agrees else rules.barge_in_within)

    def _leave_off(self) -> list[Signal]:
        """Whoever spoke over the reply has stopped before that was an interruption by its sound."""
        run = self._run
        signals: list[Signal] = []
        least = self.rules.duck
        if run.samples >= least and (not self._agrees or run.samples - self._words_asked_of >= least):
            signals = [self._ask_words(self.position - run.gap)]
        run.end()
        self._words_asked_of = 0
        self._agrees = False
        if self._words_asked is not None:
            return signals
        self._convinced = False
        return self._unduck()

    def _ask_words(self, end: int) -> AskWords:
        self._words_asked = AskWords(self.position, self._undecided_since(), end)
        self._words_asked_of = self._run.samples
        return self._words_asked

    def _undecided_since(self) -> int:
        """The first sample of what is undecided; of a long hum only the last seconds may be words."""
        onset = self._run.onset if self._words_asked is None else self._words_asked.onset
        return max(onset, self.position - _UNDECIDED)

    def _unduck(self) -> list[Signal]:
        if not self._ducked:
            return []
        self._ducked = False
        return [DuckEnded(self.position)]

    def _begin(self, signal: Started | BargedIn) -> Signal:
        self._state = _State.SPEAKING
        self._onset = signal.onset
        run = self._run
        self._speech_end = self.position - run.gap
        if self._words_asked is not None and not run.samples:
            self._speech_end = self._words_asked.end
        self._clear_end = self._sure_end = self._speech_end
        self._ducked, self._words_asked, self._words_asked_of = False, None, 0
        self._agrees = self._convinced = False
        run.end()
        return signal

    def _in_speech(self) -> list[Signal]:
        if self._speaking:
            self._speech_end = self.position
            self._run.end()
        if self.position - self._onset >= self.rules.longest:
            return self._end(too_long=True)
        if self.position - self._speech_end < self.rules.draft:
            if not self._may_draft_early():
                return []
            self._early_drafts += 1
            self._early_at = self.position
        self._fading = self._speaking
        self._state = _State.PAUSED
        self._probability = 0.0
        return [Paused(self.position, self._speech_end), *self._ask(), *self._commit()]

    def _may_draft_early(self) -> bool:
        """Where a word ends the voice fades first, but most short silences lie between two words: a turn has only so
        many tries, and of fading alone it has one until the voice is sure again."""
        rules = self.rules
        faded = self._sure_end > self._early_at and self.position - self._sure_end >= rules.draft_early
        if rules.draft_early >= rules.draft or not (faded or self.position - self._clear_end >= rules.draft_early):
            return False
        return self._early_drafts < 1 + int((self.position - self._onset) / HEAR_HZ * rules.early_drafts_per_s)

    def _in_pause(self) -> list[Signal]:
        rules = self.rules
        if self._fading:
            self._speech_end = self.position
            self._run.end()
        elif self._speaking:
            if self._run.samples < rules.resume:
                return []
            self._state = _State.SPEAKING
            self._speech_end = self._clear_end = self.position
            self._run.end()
            return [Resumed(self.position)]
        else:
            self._run.end()
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
        if self._run.samples:  # speech may be coming back
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
