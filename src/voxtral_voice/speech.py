"""Text read aloud, outside a conversation: `voxtral-voice say`, /v1/audio/speech and the job `speak`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from voxtral_voice.chunker import Chunker, ChunkRules
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.pipeline import Spoken
from voxtral_voice.types import Pcm, Voice, VoiceError
from voxtral_voice.voices import VOICES

_PRIORITY = 1  # behind the clauses that a conversation waits for


async def read_aloud(text: str, voice: Voice, engines: Engines, config: Config) -> AsyncGenerator[Pcm, None]:
    """The sound of `text`, clause by clause: shape [samples], 24 kHz. Raises VoiceError("unknown_voice")."""
    async with aclosing(read_clauses(text, voice, engines, config)) as clauses:
        async for spoken in clauses:
            yield spoken.pcm


async def read_clauses(text: str, voice: Voice, engines: Engines, config: Config) -> AsyncGenerator[Spoken, None]:
    """The same, each sound with its words."""
    rules = ChunkRules(
        first_words=config.reply.first_clause_words,
        first_max_words=config.reply.clause_max_chars,
        max_chars=config.reply.clause_max_chars,
    )
    for clause in await asyncio.to_thread(_clauses, text, rules):  # a long text takes a while to cut
        speak = partial(engines.synthesizer.speak, clause, voice)
        async with aclosing(engines.speak_worker.stream(speak, priority=_PRIORITY)) as parts:
            async for pcm in parts:
                yield Spoken(clause, pcm)
                clause = ""


def default_voice(language: str | None, config: Config) -> str:
    """Who reads aloud when nobody was chosen; `language`: ISO 639-1. Raises VoiceError("unknown_voice")."""
    if language in (None, "auto", "en"):
        return config.voice.name
    if language == "hi":
        return config.voice.hindi_name
    prefix = "cmn" if language == "zh" else language
    found = next((voice.name for voice in VOICES.values() if voice.language.split("-")[0] == prefix), None)
    if found is None:
        raise VoiceError("unknown_voice", f"no voice speaks {language!r}: en, hi, es, fr, it, pt, ja and zh are spoken")
    return found


def _clauses(text: str, rules: ChunkRules) -> list[str]:
    chunker = Chunker(rules)
    return [*chunker.push(text), *chunker.finish()]
