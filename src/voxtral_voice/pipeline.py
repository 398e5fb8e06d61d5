"""respond(): what happens between "the user has said this" and "here is the sound of the answer".

    messages -> Understander -> text -> Chunker -> clauses -> Synthesizer -> sound

Two tasks side by side: one hears and writes, the other speaks what is written, at most two clauses behind. Cancelling
the caller cancels both, and through the bridge the engines. Whatever comes out is handed to `emit` at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import numpy as np

from voxtral_voice.chunker import Chunker, ChunkRules
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.types import Delta, Finished, Heard, Message, Pcm, ReplySettings, Voice, VoiceError
from voxtral_voice.voices import SPOKEN_LANGUAGES


@dataclass(frozen=True, slots=True)
class Request:
    """One answer to give."""

    messages: tuple[Message, ...]
    settings: ReplySettings
    voice: Voice
    spoken: bool
    """False: text alone."""
    speaks_every_language: bool
    """False: who speaks a language that no voice has is answered in text. True: the understander answers in English."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A clause and its sound. Of a clause in several parts the first has the text."""

    clause: str
    pcm: Pcm
    """Shape [samples], 24 kHz; empty where the clause has nothing to say (an emoji)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A stage: heard (where the words are known before the answer begins), first_delta, first_clause."""

    stage: str


Output = Heard | Delta | Mark | Spoken | Finished
"""`Delta` only for a reply that is not spoken."""
Emit = Callable[[Output], None]
Room = Callable[[], Awaitable[None]]
_CLAUSES_AHEAD = 2
_NO_SOUND: Pcm = np.zeros(0, np.float32)


async def respond(request: Request, engines: Engines, rules: ChunkRules, emit: Emit, room: Room) -> None:
    """Answer once. `room` is awaited before each clause is spoken: it holds synthesis back."""
    clauses: asyncio.Queue[str | None] = asyncio.Queue(_CLAUSES_AHEAD)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_write(request, engines, rules, emit, clauses), name="write")
        tasks.create_task(_speak(request, engines, emit, room, clauses), name="speak")


async def _write(
    request: Request, engines: Engines, rules: ChunkRules, emit: Emit, clauses: asyncio.Queue[str | None]
) -> None:
    chunker, spoken, complete, hearing = Chunker(rules), request.spoken, False, True
    stream: AsyncGenerator[Delta | Heard | Finished, None] = engines.understand_worker.stream(
        lambda cancel: engines.understander.reply(request.messages, request.settings, cancel)
    )
    async with aclosing(stream) as outputs:
        async for output in outputs:
            if isinstance(output, Finished):
                for clause in chunker.finish():
                    await clauses.put(clause)
                await clauses.put(None)
                complete = True
                emit(output)
            elif isinstance(output, Heard):
                if hearing:  # Voxtral writes down what it heard behind its answer: that is no stage on the way to it
                    emit(Mark("heard"))
                    hearing = False
                emit(output)
                spoken = spoken and (request.speaks_every_language or output.language in ("", *SPOKEN_LANGUAGES))
            else:
                hearing = False
                emit(Mark("first_delta"))
                if spoken:
                    for clause in chunker.push(output.text):
                        await clauses.put(clause)
                else:
                    emit(output)
    if not complete:  # the engines were closed
        await clauses.put(None)


async def _speak(
    request: Request, engines: Engines, emit: Emit, room: Room, clauses: asyncio.Queue[str | None]
) -> None:
    while (clause := await clauses.get()) is not None:
        emit(Mark("first_clause"))
        await room()
        speak = partial(engines.synthesizer.speak, clause, request.voice)
        async with aclosing(engines.speak_worker.stream(speak)) as parts:
            async for pcm in parts:
                emit(Spoken(clause, pcm))
                clause = ""
        if clause:
            emit(Spoken(clause, _NO_SOUND))


def cause(group: ExceptionGroup) -> Exception:
    """The error that matters of a group that `respond` raised: one with a code, else whichever came first."""
    known, others = group.split(VoiceError)
    found: BaseException = known or others or group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, Exception)
    return found
