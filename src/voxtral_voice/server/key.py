"""The key at the door: without it nothing but the page, health and readiness is answered."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from voxtral_voice.server.rest import refused
from voxtral_voice.types import VoiceError

_OPEN = frozenset({"/", "/ping", "/health", "/ready"})
_SUBPROTOCOL = "openai-insecure-api-key."


class KeyAtTheDoor:
    """Refuses HTTP requests without the key; sockets go through, for only an accepted one can say why it closes."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN and not admits(self._key, scope):
            await refused(VoiceError("unauthorized", "a key is needed: Authorization: Bearer KEY"))(
                scope, receive, send
            )
        else:
            await self._app(scope, receive, send)


def admits(key: str | None, scope: Scope) -> bool:
    """Whether the request carries `key`: as a bearer token, as X-API-Key, or from a browser as a subprotocol."""
    if key is None:
        return True
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    offered = [headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key", "")]
    offered += _from_subprotocols(scope.get("subprotocols") or [])
    # Every one is compared, in constant time: how long it takes says nothing.
    return sum(secrets.compare_digest(each.encode(), key.encode()) for each in offered) > 0


def _from_subprotocols(subprotocols: Iterable[str]) -> list[str]:
    return [each.removeprefix(_SUBPROTOCOL) for each in subprotocols if each.startswith(_SUBPROTOCOL)]
