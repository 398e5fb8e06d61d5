"""Engines that do as they are told, for conversations whose every millisecond is known.

Speech is a constant level; the level says what was said: 0.42 is heard as "word42". Each word of a reply takes
`token_s` to write; a clause takes `clause_s` to synthesise and lasts `word_s` per word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from voxtral_voice.engines.bridge import Worker
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.types import (
    SPEAK_HZ,
    AudioPart,
    Cancel,
    Delta,
    Finished,
    Heard,
    Message,
    Pcm,
    ReplySettings,
    Voice,
    VoiceError,
)

STEP_S = 0.02


def level_of(pcm: Pcm) -> int:
    """What was said: the loudest level, in hundredths."""
    return round(float(np.max(np.abs(pcm), initial=0.0)) * 100)


class ScriptedDetector:
    window_samples = 512

    def start(self) -> object:
        return None

    def probability(self, window: Pcm, state: object) -> tuple[float, object]:
        return float(2 * np.count_nonzero(np.abs(window) > 0.05) > len(window)), None


@dataclass
class ScriptedEndpoint:
    value: float = 0.95

    def probability(self, turn_audio: Pcm) -> float:
        return self.value


@dataclass
class ScriptedUnderstander:
    sleep: Callable[[float], None] = time.sleep
    hear_s: float = 0.05
    token_s: float = 0.01
    answer: Callable[[str], str] = lambda said: f"You said {said}. That is all I know about it."
    languages: frozenset[str] = frozenset({"en"})
    audio_turns: int = 0
    seen: list[tuple[Message, ...]] = field(default_factory=list)
    """Every conversation it was given."""
    running: int = 0

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Heard | Finished]:
        self.seen.append(messages)
        self.running += 1
        try:
            said = []
            for index, part in enumerate(messages[-1].parts if messages else ()):
                text = part.text
                if isinstance(part, AudioPart) and text is None:
                    if cancel.is_set():
                        return
                    self.sleep(self.hear_s)
                    text = f"word{level_of(part.pcm)}"
                    yield Heard(text, index, "en")
                said.append(text or "")
            answer = self.answer(" ".join(said))
            if answer == "fail":
                raise VoiceError("out_of_memory", "no memory left for this turn")
            words = answer.split()[: settings.max_tokens]
            for word in words:
                if cancel.is_set():
                    return
                self.sleep(self.token_s)
                yield Delta(f"{word} ")
            yield Finished("length" if len(words) < len(answer.split()) else "stop", 10, len(words))
        finally:
            self.running -= 1

    def transcribe(self, pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
        self.sleep(self.hear_s)
        yield Heard(" ".join([f"word{level_of(pcm)}"] * (1 + len(pcm) // 8000)), 0, "en")


@dataclass
class ScriptedSynthesizer:
    sleep: Callable[[float], None] = time.sleep
    clause_s: float = 0.1
    word_s: float = 0.25
    spoken: list[str] = field(default_factory=list)

    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        for _ in range(round(self.clause_s / STEP_S)):
            if cancel.is_set():
                return
            self.sleep(STEP_S)
        self.spoken.append(clause)
        yield np.full(round(len(clause.split()) * self.word_s * SPEAK_HZ), 0.3, np.float32)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Script:
    """The scripted engines of one test, each on a worker of its own."""

    detector: ScriptedDetector
    endpoint: ScriptedEndpoint
    understander: ScriptedUnderstander
    synthesizer: ScriptedSynthesizer
    engines: Engines

    @property
    def workers(self) -> tuple[Worker, ...]:
        each = self.engines
        return (each.detect_worker, each.endpoint_worker, each.understand_worker, each.speak_worker)


def script(sleep: Callable[[float], None] = time.sleep) -> Script:
    detector, endpoint = ScriptedDetector(), ScriptedEndpoint()
    understander, synthesizer = ScriptedUnderstander(sleep), ScriptedSynthesizer(sleep)
    engines = Engines(
        detector=detector,
        endpoint=endpoint,
        understander=understander,
        synthesizer=synthesizer,
        detect_worker=Worker("detect"),
        endpoint_worker=Worker("endpoint"),
        understand_worker=Worker("understand"),
        speak_worker=Worker("speak"),
    )
    return Script(detector, endpoint, understander, synthesizer, engines)
