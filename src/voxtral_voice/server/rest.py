"""The OpenAI-shaped lists: models and voices."""

from __future__ import annotations

from fastapi import APIRouter

from voxtral_voice.config import Config
from voxtral_voice.server.wire_session import MODEL
from voxtral_voice.voices import OPENAI_NAMES, VOICES


def router(config: Config) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.get("/models")
    async def models() -> dict[str, object]:
        """One model: whatever is asked for is answered by it."""
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "voxtral-voice"}]}

    @routes.get("/audio/voices")
    async def voices() -> dict[str, object]:
        """All voices by name, and the names of OpenAI's that are mapped on them."""
        listed = [{"id": v.name, "language": v.language, "gender": v.gender} for v in VOICES.values()]
        return {"object": "list", "data": listed, "aliases": dict(OPENAI_NAMES), "default": config.voice.name}

    return routes
