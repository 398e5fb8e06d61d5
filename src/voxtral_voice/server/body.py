"""The bodies of requests, read whole before anything else: of bounded size, in bounded time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from voxtral_voice.types import VoiceError


class Bodies:
    """Those that are on their way."""

    def __init__(self, limit_bytes: int, timeout_s: float) -> None:
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._coming: set[asyncio.Timeout] = set()

    async def read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the client leaves before its end.

        Raises VoiceError: message_too_large, of whoever names the size before the body is sent; request_timeout.
        """
        try:
            async with asyncio.timeout(self._timeout_s) as time:
                self._coming.add(time)
                try:
                    return await self._whole(scope, receive)
                finally:
                    self._coming.discard(time)
        except TimeoutError:
            raise VoiceError("request_timeout", f"a request comes within {self._timeout_s:g} s") from None

    def stop(self) -> None:
        """Wait for none of them any longer: the server is going away."""
        for time in self._coming:
            if not time.expired():
                time.reschedule(asyncio.get_running_loop().time())

    async def _whole(self, scope: Scope, receive: Receive) -> bytes | None:
        too_large = VoiceError("message_too_large", f"a request has at most {self._limit_bytes} bytes")
        named = Headers(scope=scope).get("content-length", "0")
        if named.isascii() and named.isdigit() and int(named) > self._limit_bytes:
            raise too_large
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._limit_bytes:
                raise too_large
            if not message.get("more_body"):
                return bytes(body)
