"""How one session listens and answers; a client changes it with `session.update`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voxtral_voice.chunker import ChunkRules
from voxtral_voice.config import Config
from voxtral_voice.history import Item
from voxtral_voice.pipeline import Request
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import Message, ReplySettings, Voice


@dataclass(frozen=True, slots=True)
class SessionSettings:
    instructions: str
    voice: Voice
    language: str = "auto"
    """ISO 639-1 code of what the user speaks, or "auto"."""
    spoken: bool = True
    """False: answers are text alone."""
    max_tokens: int = 96
    rules: TurnRules | None = None
    """None: the client says when a turn is over."""
    create_response: bool = True
    answers: bool = True
    """False: what is said is written down, and nothing is ever answered."""
    idle_ms: int | None = None
    """Silence after a reply has been heard out, upon which the conversation is taken up again."""
    ducks: bool = False
    """The client turns the reply down itself when told to."""
    partials: bool = False
    """The client wants the user's words while they are spoken."""
    metrics: bool = False
    """The client wants to know where a turn's time went."""

    @staticmethod
    def of(config: Config) -> SessionSettings:
        """What a session starts with."""
        return SessionSettings(
            instructions=config.reply.instructions,
            voice=Voice(config.voice.name, config.voice.speed),
            language=config.voice.language,
            max_tokens=config.reply.max_tokens,
            rules=TurnRules.semantic(config.turns, config.vad),
        )


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one response does otherwise; None: as the session."""

    instructions: str | None = None
    spoken: bool | None = None
    max_tokens: int | None = None
    voice: Voice | None = None
    metadata: dict[str, str] | None = None
    asked: dict[str, Any] | None = None
    """All of it in the door's own words; comes back in `ReplyStarted`."""
    aside: bool = False
    """Out of band: neither asked for by the conversation nor part of it."""
    input: tuple[Item | str, ...] | None = None
    """What is answered instead of the conversation; a text is the id of an item in it."""


def chunk_rules(config: Config) -> ChunkRules:
    return ChunkRules(
        first_words=config.reply.first_clause_words,
        first_max_words=config.reply.first_clause_max_words,
        max_chars=config.reply.clause_max_chars,
    )


def request(
    settings: SessionSettings, config: Config, messages: tuple[Message, ...], overrides: Overrides | None = None
) -> Request:
    """One answer to give, from a snapshot of the settings."""
    chosen = overrides or Overrides()
    return Request(
        messages=messages,
        settings=ReplySettings(
            instructions=settings.instructions if chosen.instructions is None else chosen.instructions,
            language=settings.language,
            max_tokens=chosen.max_tokens or settings.max_tokens,
            temperature=config.reply.temperature,
            top_p=config.reply.top_p,
        ),
        voice=chosen.voice or settings.voice,
        spoken=settings.spoken if chosen.spoken is None else chosen.spoken,
        speaks_every_language=config.reply.without_voice == "english",
    )
