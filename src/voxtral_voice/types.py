"""The vocabulary: audio, messages, what engines are given and what they yield. Plain frozen data."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.float32]
"""Mono samples in [-1, 1], shape [samples]; the rate is said beside it."""

HEAR_HZ = 16_000
"""Rate of everything that is listened to: VAD, end-of-turn and speech recognition models all want 16 kHz."""

SPEAK_HZ = 24_000
"""Rate of everything that is spoken: Kokoro's own rate and the Realtime protocol's default."""

Role = Literal["system", "user", "assistant"]


class Cancel:
    """A flag that a consumer sets and an engine looks at between steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._callbacks: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Ask the engine to stop. Runs the callbacks once, in the caller's thread."""
        with self._lock:
            if self._set:
                return
            self._set = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_set(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Run `callback` when the flag is set (at once if it is). Returns a function that forgets the callback."""
        with self._lock:
            if not self._set:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


# What an understander is given.


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Something said. `text` is its transcript, None while nobody has written it down."""

    pcm: Pcm
    """Shape [samples], 16 kHz."""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class TextPart:
    """Something written, or a reply as far as it was heard."""

    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the conversation. A turn that was cut and joined again has several audio parts."""

    role: Role
    parts: tuple[AudioPart | TextPart, ...]

    @property
    def text(self) -> str:
        return " ".join(part.text for part in self.parts if part.text)


@dataclass(frozen=True, slots=True)
class ReplySettings:
    """How to answer."""

    instructions: str
    language: str = "auto"
    """ISO 639-1 code of what the user speaks, or "auto"."""
    max_tokens: int = 160
    temperature: float = 0.2
    top_p: float = 0.95


# What engines yield.


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work is done and brought nothing yet. Whoever shares the engine gets a turn; no consumer sees it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The transcript of one audio part."""

    text: str
    part: int = 0
    """Index into the message's parts."""
    language: str = ""
    """ISO 639-1 code as recognised, empty when unknown."""
    message: int = -1
    """Index into the messages, counted from the end: -1 is the last one."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply's text is complete."""

    reason: Literal["stop", "length", "cancelled", "nothing_heard"] = "stop"
    prompt_tokens: int = 0
    reply_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks, and how fast."""

    name: str
    """One of Kokoro's 54 names, such as "af_heart" or "hf_alpha"."""
    speed: float = 1.0
    """0.5 to 2.0; 1.0 is the voice's own pace."""


class VoiceError(Exception):
    """An error with a code a client can act on (`docs/protocol.md` lists them)."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
