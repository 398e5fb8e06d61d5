"""The user's turn under way: from the first sound to an item of the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from voxtral_voice import interjections, signals
from voxtral_voice.config import Config
from voxtral_voice.dialogue import Dialogue
from voxtral_voice.ear import Ear
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.events import BufferCleared, Ducked, PartialTranscript, Unducked, UserStarted, UserStopped
from voxtral_voice.history import Item, new_id
from voxtral_voice.metrics import Metrics
from voxtral_voice.scribe import Scribe, Spawn
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import HEAR_HZ, AudioPart, Pcm, VoiceError

_LEAST_COMMIT_MS = 100
_TAIL = HEAR_HZ // 5  # of the silence after the last word that stays with the turn's audio
_ECHO_S = 1.0  # after its last sound a reply may still come back, and its words are known a moment later
_INTERJECTION_LEAD = HEAR_HZ // 2  # before the detected start: soft onsets come earlier
_UNNOTICED = 3 * HEAR_HZ  # of what detection took for no speech, for a client that commits it all the same


class Floor:
    """Owned by the session's task."""

    def __init__(
        self,
        ear: Ear,
        dialogue: Dialogue,
        scribe: Scribe,
        engines: Engines,
        config: Config,
        metrics: Metrics,
        spawn: Spawn,
    ) -> None:
        """`spawn` lets something run beside the owner and brings the command that it returns back to it."""
        self._ear = ear
        self._recording = ear.recording
        self._dialogue = dialogue
        self._scribe = scribe
        self._engines = engines
        self._config = config
        self._metrics = metrics
        self._spawn = spawn
        self._item_id = ""  # of the turn under way, empty when there is none
        self._turn = 0  # its number
        self._start = 0  # its first sample
        self._joins = False  # it goes on where the turn before was cut
        self._last_end = 0  # first sample that belongs to no turn yet
        self._decided_at: int | None = None  # sample at which the end of the last turn was known
        self._partial_end = 0  # how far the partial transcript goes
        self._ducked = False  # the client has been told to turn the reply down

    def follow(self, signal: signals.Signal, now: float) -> None:
        """What a signal of the TurnTaker means for the conversation."""
        match signal:
            case signals.Started(onset=onset, interrupts=interrupts):
                self._open(onset, now, interrupts=interrupts)
            case signals.BargedIn(onset=onset):
                self._metrics.barge_ins.inc()
                self._open(onset, now, interrupts=True)
                self._unduck()
            case signals.Paused(at=at, speech_end=end):
                self._scribe.leave_off()
                if self._drafts:
                    self._dialogue.draft(self._item(at), self._wall(end, now), now)
            case signals.AskEndpoint(at=at):
                self._spawn(self._ask_endpoint(self._recording.slice(self._start, at), at))
            case signals.Resumed():
                self._dialogue.retract()
                self._speak_over(now)
            case signals.Ended(at=at, speech_end=end):
                self._decided_at = at
                if self._dialogue.settings.create_response:  # an answer to all of it takes its place
                    self._speak_over(now)
                self._close(end, at, now)
            case signals.DuckStarted():
                self._duck()
            case signals.DuckEnded():
                self._unduck()
            case signals.AskWords(at=at, onset=onset, end=end):
                self._ask_words(at, onset, end)

    def commit(self, now: float) -> None:
        """The client says that the turn is over. Raises VoiceError when there is less than 100 ms of it."""
        taker = self._ear.taker
        if taker is not None and taker.in_turn:
            for signal in taker.end_now():
                self.follow(signal, now)
            return
        start = self._start if self._item_id else max(self._last_end, self._recording.start)
        length_ms = (self._recording.end - start) * 1000 // HEAR_HZ
        if length_ms < _LEAST_COMMIT_MS:
            raise VoiceError(
                "input_audio_buffer_commit_empty",
                f"the buffer holds {length_ms} ms of audio; a turn needs at least {_LEAST_COMMIT_MS}",
            )
        if length_ms > self._config.turns.max_turn_ms:
            self._item_id, self._joins, self._dialogue.opened = "", False, ""
            self._last_end = self._recording.end
            limit_s = self._config.turns.max_turn_ms / 1000
            raise VoiceError(
                "turn_too_long", f"a turn of {length_ms / 1000:.0f} s is too long; at most {limit_s:.0f} s"
            )
        if not self._item_id:  # detection has not opened a turn
            self._item_id, self._start = new_id("item"), start
            if taker is not None:  # nor will it make anything of what is committed by hand
                taker.reset()
                self._unduck()
        self._dialogue.open_turn(self._item_id)
        answer = taker is not None and self._dialogue.settings.create_response
        self._add(self._recording.end, answer=answer, speech_end_at=now, now=now)

    def clear(self) -> None:
        """Forget what has been said and not committed."""
        if self._ear.taker is not None:
            self._ear.taker.reset()
        self._unduck()
        self._scribe.leave_off()
        self._dialogue.retract()
        self._item_id, self._joins, self._dialogue.opened = "", False, ""
        self._last_end = self._recording.end
        self._dialogue.emit(BufferCleared(self._dialogue.turn))

    def configure(self, settings: SessionSettings) -> None:
        """Turn detection may be switched off in mid-turn: what was said waits for the client's commit. Switched on
        again, uncommitted audio is gone, and the client is told."""
        taker = self._ear.taker
        if settings.rules is None or not settings.ducks:  # nobody would say that it is over
            self._unduck()
        if taker is not None and taker.in_turn and settings.rules is None:
            end = self._recording.client_ms(self._recording.end)
            self._dialogue.emit(UserStopped(self._dialogue.turn, self._item_id, end))
        elif taker is not None and settings.rules is None:  # the silence of hours is not the client's turn
            self._last_end = max(self._last_end, self._recording.end - taker.rules.prefix)
        elif taker is None and settings.rules is not None and self._recording.end > self._last_end:
            self.clear()
        self._dialogue.configure(settings)
        self._ear.configure(settings.rules)

    def forget(self) -> None:
        """Let go of sound that no turn can begin with any more."""
        taker, start = self._ear.taker, self._start if self._item_id else self._last_end
        if taker is not None and not self._item_id and not taker.waiting:
            start = max(start, self._recording.end - taker.rules.prefix - _UNNOTICED)
        self._recording.forget(start)

    def transcribe_partially(self) -> None:
        """Let the words so far be recognised, for clients that asked, when nobody's reply needs the model."""
        taker = self._ear.taker
        if not (self._dialogue.settings.partials and taker is not None and taker.speaking and self._item_id):
            return
        grown = self._recording.end - max(self._partial_end, self._start)
        if self._scribe.following or grown * 1000 // HEAR_HZ < self._config.turns.partial_ms:
            return
        self._partial_end = self._recording.end
        self._scribe.follow(self._item(self._recording.end), partial(self._show_partial, self._item_id))

    @property
    def _drafts(self) -> bool:
        return self._ear.taker is not None and self._dialogue.settings.create_response

    def _open(self, onset: int, now: float, *, interrupts: bool) -> None:
        rules = self._dialogue.settings.rules
        assert rules is not None
        soon = self._decided_at is not None and onset - self._decided_at <= rules.join
        interrupts = interrupts and (self._dialogue.answering or self._dialogue.being_heard(now))
        self._joins = interrupts and (soon or self._dialogue.unheard)
        self._item_id = new_id("item")
        self._start = max(onset - rules.prefix, self._last_end, self._recording.start)
        self._turn = self._dialogue.open_turn(self._item_id)
        self._dialogue.emit(UserStarted(self._turn, self._item_id, self._recording.client_ms(self._start)))
        if interrupts:
            # After speech_started, which makes clients flush; every event of the old reply precedes the next commit.
            self._dialogue.interrupt("turn_detected", now, void=self._joins)
        if self._joins:
            self._metrics.joins.inc()

    def _speak_over(self, now: float) -> None:
        """A response that the client asked for while the user was speaking ends when the user goes on."""
        rules = self._dialogue.settings.rules
        if rules is not None and rules.interrupts and self._dialogue.answers_since(self._turn):
            self._metrics.barge_ins.inc()
            self._dialogue.interrupt("turn_detected", now)

    def _close(self, speech_end: int, at: int, now: float) -> None:
        self._dialogue.emit(UserStopped(self._dialogue.turn, self._item_id, self._recording.client_ms(speech_end)))
        answer = self._dialogue.settings.create_response
        self._add(min(at, speech_end + _TAIL), answer=answer, speech_end_at=self._wall(speech_end, now), now=now)

    def _add(self, end: int, *, answer: bool, speech_end_at: float, now: float) -> None:
        item = self._item(end)
        self._item_id, self._joins, self._dialogue.opened = "", False, ""
        self._last_end = end
        self._scribe.leave_off()
        self._dialogue.commit(item, answer=answer, speech_end_at=speech_end_at, now=now)

    def _item(self, end: int) -> Item:
        audio = AudioPart(self._recording.slice(self._start, end))
        return Item(self._item_id, "user", audio, spoken=True, joins=self._joins)

    def _wall(self, position: int, now: float) -> float:
        """When sample `position` was heard."""
        return now - (self._recording.end - position) / HEAR_HZ

    def _duck(self) -> None:
        if self._dialogue.settings.ducks:
            self._ducked = True
            self._dialogue.emit(Ducked(self._dialogue.turn))

    def _unduck(self) -> None:
        """Whoever was told to turn the reply down is told when to turn it up again, whatever came between."""
        if self._ducked:
            self._ducked = False
            self._dialogue.emit(Unducked(self._dialogue.turn))

    def _ask_words(self, at: int, onset: int, end: int) -> None:
        start = max(onset - _INTERJECTION_LEAD, self._last_end)
        audio = AudioPart(self._recording.slice(start, min(end + _TAIL, self._recording.end)))
        self._scribe.overhear(Item("", "user", audio, spoken=True), partial(self._judge_words, at))

    def _judge_words(self, at: int, text: str) -> None:
        if self._ear.taker is not None:
            now = asyncio.get_running_loop().time()
            heard = [each.text for each in self._dialogue.speakers if each.playout.heard_until() > now - _ECHO_S]
            for signal in self._ear.taker.words(at, interjections.meaning(text, " ".join(heard))):
                self.follow(signal, now)

    async def _ask_endpoint(self, audio: Pcm, at: int) -> Callable[[], None]:
        probability = await self._engines.endpoint_worker.call(self._engines.endpoint.probability, audio)
        return partial(self._verdict, probability, at)

    def _verdict(self, probability: float, at: int) -> None:
        if self._ear.taker is not None:
            for signal in self._ear.taker.verdict(probability, at):
                self.follow(signal, asyncio.get_running_loop().time())

    def _show_partial(self, item_id: str, text: str) -> None:
        if item_id == self._item_id and text:
            self._dialogue.emit(PartialTranscript(self._dialogue.turn, item_id, text))
