"""The bodies of requests: of bounded size, in bounded time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from voxtral_voice.types import VoiceError


class Bodies:
    """Those that are on their way."""

    def __init__(self, limit_bytes: int, timeout_s: float) -> None:
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._coming: set[asyncio.Timeout] = set()
        self._stopped = False

    async def read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the client leaves before its end.

        Raises VoiceError: message_too_large, of whoever names the size before the body is sent; request_timeout.
        """
        body, more = bytearray(), self.piecewise(scope, receive)
        while True:
            message = await more()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body"):
                return bytes(body)

    def piecewise(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, under the same rules, for who takes a body in pieces; it raises what `read` does."""
        too_large = VoiceError("message_too_large", f"a request has at most {self._limit_bytes} bytes")
        named = Headers(scope=scope).get("content-length", "0")
        named_bytes = int(named) if named.isascii() and named.isdigit() else 0
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        came_bytes, whole = 0, False

        async def more() -> Message:
            nonlocal came_bytes, whole
            if whole:  # what comes behind the body is the client's leaving
                return await receive()
            if named_bytes > self._limit_bytes:
                raise too_large
            message = await self._in_time(receive, end_s)
            came_bytes += len(message.get("body", b""))
            if came_bytes > self._limit_bytes:
                raise too_large
            whole = not message.get("more_body")
            return message

        return more

    def stop(self) -> None:
        """Wait for none of them any longer: the server is going away."""
        self._stopped = True
        for time in self._coming:
            if not time.expired():
                time.reschedule(asyncio.get_running_loop().time())

    async def _in_time(self, receive: Receive, end_s: float) -> Message:
        try:
            async with asyncio.timeout_at(0 if self._stopped else end_s) as time:
                self._coming.add(time)
                try:
                    return await receive()
                finally:
                    self._coming.discard(time)
        except TimeoutError:
            raise VoiceError("request_timeout", f"a request comes within {self._timeout_s:g} s") from None
