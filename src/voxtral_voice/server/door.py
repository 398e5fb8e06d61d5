"""Who is let in: the key, the page's origin and the size of what is sent, before anything else is looked at."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxtral_voice.metrics import Metrics
from voxtral_voice.server import pages
from voxtral_voice.server.key import admits
from voxtral_voice.server.last_use import LastUse
from voxtral_voice.server.origin import foreign
from voxtral_voice.server.rest import refused
from voxtral_voice.types import VoiceError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPEN = frozenset({*pages.files(), "/ping", "/health", "/ready"})
"""What everybody may ask for."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules."""

    key: str | None
    """What clients must show; None for nothing."""
    origins: Collection[str] = ()
    """Pages of other origins that may use this server, as "https://app.example.com"."""
    only_this_machine: bool = False
    """Pages count as ours at a loopback address alone."""

    @staticmethod
    def of(key: str | None, host: str, origins: Collection[str]) -> Admission:
        """The rules for a server that listens at `host`."""
        return Admission(key, origins, only_this_machine=key is None and host in LOOPBACK)

    def refusal(self, scope: Scope) -> VoiceError | None:
        """Why this request is not answered, if so. Foreign pages first: to them even the key's state is nothing."""
        if page := foreign(scope, self.origins, only_this_machine=self.only_this_machine):
            return VoiceError("forbidden_origin", f"pages of {page[:200]} may not use this server (server.origins)")
        if not admits(self.key, scope):
            return VoiceError("unauthorized", "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
        return None


class Door:
    """Refuses HTTP requests. Sockets go through, for only an accepted one can say why it closes."""

    def __init__(
        self, app: ASGIApp, admission: Admission, body_bytes: int, also_open: str, metrics: Metrics, last_use: LastUse
    ) -> None:
        self._app = app
        self._admission = admission
        self._body_bytes = body_bytes
        self._open = OPEN | {also_open}
        self._metrics = metrics
        self._last_use = last_use

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = None if scope["path"] in self._open else self._admission.refusal(scope)
            body = None if refusal else await _body(scope, receive, self._body_bytes)
            if body is None:
                refusal = refusal or VoiceError("message_too_large", f"a request has at most {self._body_bytes} bytes")
                self._metrics.errors.labels(refusal.code).inc()
                await refused(refusal)(scope, receive, send)
                return
            receive = _replayed(body, receive)
        with self._last_use.under_way() if self._is_use(scope) else nullcontext():
            await self._app(scope, receive, send)

    def _is_use(self, scope: Scope) -> bool:
        """Conversations and speech; who only looks whether the server is well does not keep it awake."""
        if scope["type"] == "websocket":
            return self._admission.refusal(scope) is None
        return (scope["type"], scope.get("method")) == ("http", "POST")


async def _body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes | None:
    """The whole body, None for one over the limit; whoever names its size is refused before it is sent."""
    named = Headers(scope=scope).get("content-length", "0")
    if named.isascii() and named.isdigit() and int(named) > limit_bytes:
        return None
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > limit_bytes:
            return None
        if not message.get("more_body"):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive`, with the body in one piece before whatever comes next."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again
