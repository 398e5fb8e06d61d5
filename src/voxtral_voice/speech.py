"""Text read aloud, outside a conversation: `voxtral-voice say` and /v1/audio/speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from voxtral_voice.chunker import Chunker, ChunkRules
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.types import Pcm, Voice

_PRIORITY = 1  # behind the clauses that a conversation waits for


async def read_aloud(text: str, voice: Voice, engines: Engines, config: Config) -> AsyncGenerator[Pcm, None]:
    """The sound of `text`, clause by clause: shape [samples], 24 kHz. Raises VoiceError("unknown_voice")."""
    rules = ChunkRules(
        first_words=config.reply.first_clause_words,
        first_max_words=config.reply.clause_max_chars,
        max_chars=config.reply.clause_max_chars,
    )
    for clause in await asyncio.to_thread(_clauses, text, rules):  # a long text takes a while to cut
        speak = partial(engines.synthesizer.speak, clause, voice)
        async with aclosing(engines.speak_worker.stream(speak, priority=_PRIORITY)) as parts:
            async for pcm in parts:
                yield pcm


def _clauses(text: str, rules: ChunkRules) -> list[str]:
    chunker = Chunker(rules)
    return [*chunker.push(text), *chunker.finish()]
