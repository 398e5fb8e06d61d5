"""Answers that are sent while they are made, and work that ends when nobody waits for it any longer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from voxtral_voice.server.refused import FAULT, error_object, note
from voxtral_voice.types import VoiceError

T = TypeVar("T")

EVENTS = "text/event-stream"
NOBODY = 499
"""The status of an answer that nobody reads."""


class ClientLeftError(Exception):
    """The client has gone before its answer."""


async def while_waited_for(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns or raises. The body has been read: all that can come is that the client leaves.

    Raises ClientLeftError, `work` cancelled.
    """
    working = asyncio.create_task(work, name="work of a request")
    leaving = asyncio.create_task(_left(request.receive), name="client leaves")
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeftError
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def nobody() -> Response:
    return Response(status_code=NOBODY)


def sse(fields: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class Stream(StreamingResponse):
    """The parts as they come. However it ends they are closed, and `source`, the engines' work behind them.

    Where they raise it is too late for a status. Among events an error is the last one; otherwise the connection is
    closed without the end that HTTP has for a complete answer, so that the client sees that this is not one.
    """

    def __init__(self, parts: AsyncGenerator[bytes, None], source: AsyncGenerator[Any, None], media_type: str) -> None:
        # nginx would hold the first part back until its buffers are full
        super().__init__(parts, media_type=media_type, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        self._parts = parts
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        async with aclosing(self._source), aclosing(self._parts):
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except Exception as error:
            told = error if isinstance(error, VoiceError) else FAULT
            note(self._scope, told)
            if self.media_type == EVENTS:
                last = sse({"type": "error", "error": error_object(told)})
                await send({"type": "http.response.body", "body": last, "more_body": False})
            if told is FAULT:
                raise  # to uvicorn, which logs it
