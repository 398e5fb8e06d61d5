"""The bodies of requests: of bounded size, each and together, in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from voxtral_voice.types import VoiceError


class Bodies:
    """Those that are on their way."""

    def __init__(self, limit_bytes: int, timeout_s: float, together_bytes: int) -> None:
        """`limit_bytes`, `timeout_s`: of each; `together_bytes`: of what has come of all that are not whole yet."""
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._left_bytes = together_bytes
        self._coming: set[asyncio.Timeout] = set()
        self._stopped = False

    @contextmanager
    def coming(self, scope: Scope, receive: Receive) -> Iterator[Receive]:
        """`receive` for one request, until it has been answered.

        What is yielded raises VoiceError: message_too_large, of whoever names the size before the body is sent;
        request_timeout; at_capacity, where others that are on their way leave no room.
        """
        too_large = VoiceError("message_too_large", f"a request has at most {self._limit_bytes} bytes")
        named = Headers(scope=scope).get("content-length", "0")
        named_bytes = int(named) if named.isascii() and named.isdigit() else 0
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        came_bytes, complete = 0, False

        async def more() -> Message:
            nonlocal came_bytes, complete
            if complete:  # what comes behind the body is the client's leaving
                return await receive()
            if named_bytes > self._limit_bytes:
                raise too_large
            message = await self._in_time(receive, end_s)
            piece_bytes = len(message.get("body", b""))
            came_bytes += piece_bytes
            self._left_bytes -= piece_bytes
            if came_bytes > self._limit_bytes:
                raise too_large
            if self._left_bytes < 0:
                raise VoiceError("at_capacity", "too much is being sent by others: try again")
            complete = not message.get("more_body")
            if complete:
                self._left_bytes += came_bytes
            return message

        try:
            yield more
        finally:
            if not complete:
                self._left_bytes += came_bytes

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


async def whole(receive: Receive) -> bytes | None:
    """All of a body; None where the client leaves before its end. Raises what `receive` does."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
