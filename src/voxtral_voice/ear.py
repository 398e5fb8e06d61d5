"""The listening half of a session: frames in, turn signals out; it also notices when frames stop coming."""

from __future__ import annotations

import numpy as np

from voxtral_voice.audio import Framer
from voxtral_voice.config import Turns
from voxtral_voice.engines.protocols import Engines, SpeechDetector
from voxtral_voice.recording import Recording
from voxtral_voice.signals import Signal
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.turns import TurnTaker
from voxtral_voice.types import HEAR_HZ, Pcm

_TICK_S = 0.02
_STALLED_S = 0.05  # late by this much we were busy ourselves, and what the client sent meanwhile may be waiting
_CLOCK_S = 1e-6  # timers may fire this much early
_LONGEST_FRAME_S = 0.5
_LATE = 1.5  # times its own length: the frame behind it that has not come by then is missing
_SLACK_MS = 2_000  # kept beyond the longest turn: its last silence, and what arrives meanwhile


class Ear:
    def __init__(self, engines: Engines, rules: TurnRules | None, config: Turns) -> None:
        """`rules` None: the client says when its turn is over, nothing is detected."""
        self._engines = engines
        self._idle = config.idle_ms * HEAR_HZ // 1000
        self._stalled_s = config.stalled_ms / 1000
        longest_ms = config.max_turn_ms + config.prefix_ms + _SLACK_MS
        self.recording = Recording(longest_ms * HEAR_HZ // 1000)
        self._patience_s = self._stalled_s
        self._last_frame_at = 0.0
        self._assumed_s = 0.0  # silence made up since the last frame
        self._excused = False  # a stall of our own has been waited out since then
        self._tune(rules)

    def _tune(self, rules: TurnRules | None) -> None:
        self._framer = Framer(self._engines.detector.window_samples)
        self._held: list[Pcm] = []  # windows that nobody has judged yet
        self._state = self._engines.detector.start()
        self.taker = TurnTaker(rules) if rules is not None else None
        if self.taker is not None:
            self.taker.position = self.recording.end

    def configure(self, rules: TurnRules | None) -> None:
        """Other rules. A turn under way goes on under them; it is forgotten when detection is switched off or on."""
        if rules is not None and self.taker is not None:
            self.taker.rules = rules
        else:
            self._tune(rules)

    @property
    def waiting(self) -> bool:
        return self.taker is not None and self.taker.waiting

    def frame(self, now: float, seconds: float) -> None:
        """The client has sent `seconds` of audio: it is not stalled."""
        # Who sends half a second at a time is not stalled in between; who sends a whole question at once is answered.
        self._patience_s = max(self._stalled_s, _LATE * min(seconds, _LONGEST_FRAME_S))
        self._last_frame_at, self._assumed_s, self._excused = now, 0.0, False

    async def hear(self, pcm: Pcm, *, reply_heard: bool, assumed: bool = False) -> list[Signal]:
        """`pcm`: shape [samples], 16 kHz. `assumed`: silence of ours. Raises what the detector raises."""
        self.recording.add(pcm, assumed=assumed)
        self._held += self._framer.push(pcm)
        size = self._engines.detector.window_samples
        if self.taker is None:
            self._held = []
            return []
        eager = reply_heard or self.waiting  # else a few windows together: the model comes to them with cold caches
        if not self._held or (not eager and size * len(self._held) < self._idle):
            return []
        windows, self._held = self._held, []
        try:
            probabilities, self._state = await self._engines.detect_worker.call(
                _probabilities, self._engines.detector, windows, self._state
            )
        except Exception:
            self.taker.position += size * len(windows)  # nobody knows what they were; the clock runs on all the same
            raise
        signals: list[Signal] = []
        for probability in probabilities:
            signals += self.taker.window(probability, size, reply_heard=reply_heard)
        return signals

    def missing(self, now: float) -> Pcm:
        """The silence to assume by now because frames have stopped in the middle of something."""
        due = self.missing_at()
        if due is not None and now - due > _STALLED_S and not self._excused:
            self._excused = True
            self._last_frame_at += now - due + _TICK_S
            return np.zeros(0, np.float32)
        elapsed_s = now - self._last_frame_at + _CLOCK_S
        if self.taker is None or not self.taker.waiting or elapsed_s < self._patience_s:
            return np.zeros(0, np.float32)
        samples = round((elapsed_s - self._assumed_s) * HEAR_HZ)
        self._assumed_s += samples / HEAR_HZ
        return np.zeros(max(0, samples), np.float32)

    def missing_at(self) -> float | None:
        """When to ask `missing` again."""
        if self.taker is None or not self.taker.waiting:
            return None
        return self._last_frame_at + max(self._patience_s, self._assumed_s + _TICK_S)


def _probabilities(detector: SpeechDetector, windows: list[Pcm], state: object) -> tuple[list[float], object]:
    probabilities = []
    for window in windows:
        probability, state = detector.probability(window, state)
        probabilities.append(probability)
    return probabilities, state
