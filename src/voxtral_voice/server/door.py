"""Who is let in: the key, the page's origin and what is sent, before anything else is looked at."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxtral_voice.server import pages
from voxtral_voice.server.body import Bodies, whole
from voxtral_voice.server.key import admits
from voxtral_voice.server.last_use import LastUse
from voxtral_voice.server.origin import foreign
from voxtral_voice.server.places import Places
from voxtral_voice.server.refused import Refusal
from voxtral_voice.types import VoiceError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPEN = frozenset({*pages.files(), "/ping", "/health", "/ready"})
"""What everybody may look at."""
UPLOADS = frozenset({"/v1/audio/transcriptions"})
"""Where bodies are large: taken in pieces, by whoever answers."""
WORK = UPLOADS | {"/v1/audio/speech"}
"""What engines are busy with until it has been answered."""


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
        self,
        app: ASGIApp,
        admission: Admission,
        bodies: Bodies,
        uploads: Bodies,
        places: Places,
        also_open: str,
        last_use: LastUse,
    ) -> None:
        self._app = app
        self._admission = admission
        self._bodies = bodies
        self._uploads = uploads
        self._places = places
        self._open = OPEN | {also_open}
        self._last_use = last_use

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as until_answered:
            if scope["type"] == "http":
                try:
                    if refusal := self._refusal(scope):
                        raise refusal
                    uploads = scope["path"] in UPLOADS
                    bodies = self._uploads if uploads else self._bodies
                    receive = until_answered.enter_context(bodies.coming(scope, receive))
                    if scope["method"] == "POST" and scope["path"] in WORK:
                        receive = self._placed(receive, until_answered)
                    if not uploads:
                        if (body := await whole(receive)) is None:
                            return
                        receive = _replayed(body, receive)
                except VoiceError as error:
                    await Refusal(error)(scope, receive, send)
                    return
            if self._is_use(scope):
                until_answered.enter_context(self._last_use.under_way())
            await self._app(scope, receive, send)

    def _placed(self, receive: Receive, until_answered: ExitStack) -> Receive:
        """`receive`, which takes a place when the body is whole: one that only trickles in must hold none.

        Both raise VoiceError("at_capacity"); where no place is free now, nobody need send a body at all.
        """
        self._places.check()
        placed = False

        async def more() -> Message:
            nonlocal placed
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body") and not placed:
                until_answered.enter_context(self._places.taken())
                placed = True
            return message

        return more

    def _refusal(self, scope: Scope) -> VoiceError | None:
        looks = scope["method"] in ("GET", "HEAD") and scope["path"] in self._open
        return None if looks else self._admission.refusal(scope)

    def _is_use(self, scope: Scope) -> bool:
        """Conversations and speech; who only looks whether the server is well does not keep it awake."""
        asks = scope["type"] == "websocket" or scope.get("method") == "POST"
        return asks and scope["path"].startswith(("/v1/", "/ws")) and self._admission.refusal(scope) is None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive`, with the body in one piece before whatever comes next."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again
