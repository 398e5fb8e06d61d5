"""What an engine is: blocking, tiny, plain data in and out, no session state inside.

Every real model library blocks, so engines do too; `bridge.py` is where their threads meet asyncio.
The whole conversation is an argument, so retraction, truncation and deletion are just other arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from voxtral_voice.engines.bridge import Worker
from voxtral_voice.types import Cancel, Delta, Finished, Heard, Message, Pcm, ReplySettings, Step, Voice

State = TypeVar("State")


class SpeechDetector(Protocol):
    """How likely a window holds speech. The state goes in and comes out, so one model serves every session."""

    window_samples: int
    """Samples of a window at 16 kHz."""

    def start(self) -> object:
        """The state before the first window."""

    def probability(self, window: Pcm, state: object) -> tuple[float, object]:
        """`window`: shape [window_samples], 16 kHz. Returns the probability in 0..1 and the next state."""


class EndpointDetector(Protocol):
    def probability(self, turn_audio: Pcm) -> float:
        """`turn_audio`: the turn so far, shape [samples], 16 kHz. Returns how likely the user has finished, in 0..1."""


class Understander(Protocol):
    """Hears and answers."""

    languages: frozenset[str]
    """ISO 639-1 codes that it hears."""

    audio_turns: int
    """Of how many of the last turns it wants the sound although their words are known."""

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Heard | Finished | Step]:
        """Yields the reply's text as it comes, then `Finished`, behind which only `Heard` may follow.

        `Heard` comes once for each audio part of the last message that has no transcript yet, and where the engine
        needs words for them, of earlier messages too; nothing waits for it. `Step` lets others use the engine.
        A set `cancel` ends the iteration within one step. Raises VoiceError where the model cannot answer.
        """

    def transcribe(self, pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard | Step]:
        """`pcm`: shape [samples], 16 kHz, any length. Yields the words of one stretch (`stretches.stretches`) after the
        other; `part` is the number of the stretch, counted from 0."""


class Synthesizer(Protocol):
    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        """Yields the clause's sound, shape [samples], 24 kHz, leading silence trimmed.

        Yields nothing for a clause without anything to say (emoji, punctuation).
        A set `cancel` ends the iteration within one step. Raises VoiceError("unknown_voice").
        """

    def close(self) -> None:
        """End its child processes."""


@dataclass(frozen=True)
class Engines:
    """The loaded engines and the threads they run on. Shared by every session; nothing else is."""

    detector: SpeechDetector
    endpoint: EndpointDetector
    understander: Understander
    synthesizer: Synthesizer
    detect_worker: Worker
    endpoint_worker: Worker
    understand_worker: Worker
    speak_worker: Worker
