"""A recording talks to the program: streamed in real time through a whole session, as a microphone would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from voxtral_voice import events
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.history import Item
from voxtral_voice.metrics import Metrics
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.playout import audible
from voxtral_voice.session import Session
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm

_FRAME_S = 0.05
_QUIET_S = 1.5  # without anything under way after the recording: the conversation is over
_PATIENCE_S = 120.0


@dataclass(slots=True)
class Answer:
    """One reply as a client saw it."""

    response_id: str
    status: str = "in_progress"
    reason: str = ""
    text: str = ""
    audio: list[Pcm] = field(default_factory=list)
    first_audible_s: float | None = None
    """When the first packet that can be heard was sent, since the recording's first sample."""
    marks_ms: dict[str, float] = field(default_factory=dict)

    @property
    def pcm(self) -> Pcm:
        """Shape [samples], 24 kHz."""
        return np.concatenate(self.audio) if self.audio else np.zeros(0, np.float32)

    def as_json(self) -> dict[str, object]:
        return {
            "status": self.status,
            "reason": self.reason,
            "text": self.text.strip(),
            "audio_ms": len(self.pcm) * 1000 // SPEAK_HZ,
            "marks_ms": self.marks_ms,
        }


@dataclass(slots=True)
class Talk:
    """What came of it."""

    heard: list[str] = field(default_factory=list)
    """The user's turns."""
    ends_ms: list[int] = field(default_factory=list)
    """Where the user's turns ended, on the recording's clock."""
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    items: tuple[Item, ...] = ()
    """The conversation at its end."""

    def as_json(self) -> dict[str, object]:
        return {
            "heard": self.heard,
            "ends_ms": self.ends_ms,
            "answers": [answer.as_json() for answer in self.answers],
            "failures": self.failures,
        }


async def talk(pcm: Pcm, engines: Engines, config: Config, settings: SessionSettings) -> Talk:
    """Say `pcm` (shape [samples], 16 kHz) in real time and listen until everything has been answered."""
    loop = asyncio.get_running_loop()
    session = Session(engines, config, Metrics(), settings)
    result, owner = Talk(), asyncio.create_task(session.run())
    frame, start = round(_FRAME_S * HEAR_HZ), loop.time()
    listener = asyncio.create_task(_listen(session, result, start))
    for index, at in enumerate(range(0, len(pcm), frame)):
        await asyncio.sleep(max(0.0, start + index * _FRAME_S - loop.time()))
        session.hear(pcm[at : at + frame])
    deadline, quiet_since = loop.time() + _PATIENCE_S, loop.time()
    while loop.time() - quiet_since < _QUIET_S and loop.time() < deadline:  # noqa: ASYNC110 (polls the clock too)
        await asyncio.sleep(0.05)
        if session.busy:
            quiet_since = loop.time()
    result.items = session.items()
    session.close()
    await asyncio.gather(owner, listener)
    return result


async def _listen(session: Session, result: Talk, start: float) -> None:
    loop = asyncio.get_running_loop()
    answers: dict[str, Answer] = {}
    async for event in session.events():
        match event:
            case events.UserStopped():
                result.ends_ms.append(event.at_ms)
            case events.Transcribed():
                result.heard.append(event.text)
            case events.ReplyStarted():
                answers[event.response_id] = Answer(event.response_id)
                result.answers.append(answers[event.response_id])
            case events.ReplyText():
                answers[event.response_id].text += event.text
            case events.ReplyAudio():
                answer = answers[event.response_id]
                answer.audio.append(event.pcm)
                if answer.first_audible_s is None and audible(event.pcm):
                    answer.first_audible_s = loop.time() - start
            case events.TurnMetrics():
                answers[event.response_id].marks_ms = dict(event.marks_ms)
            case events.ReplyDone():
                answers[event.response_id].status = event.status
                answers[event.response_id].reason = event.reason
            case events.Failed():
                result.failures.append(f"{event.code}: {event.message}")


@asynccontextmanager
async def loaded(config: Config) -> AsyncIterator[Engines]:
    """The engines, loaded; closed again at the end. Raises VoiceError("model_failed")."""
    manager = ModelManager(config)
    try:
        await manager.load()
        yield manager.engines
    finally:
        manager.close()
