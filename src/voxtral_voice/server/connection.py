"""Connections that ask for nothing are closed: each of them holds a file, and when all are held nobody gets in."""

from __future__ import annotations

import asyncio

from fastapi.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from voxtral_voice.server.refused import error_object
from voxtral_voice.types import VoiceError

_HEAD_BYTES = 65_536


def protocol(head_timeout_s: float, read_timeout_s: float = 60.0) -> type[asyncio.Protocol]:
    """uvicorn's, which would wait without end for the rest of a request's head, and keep all that comes of it.

    Waits `head_timeout_s` for it, and keeps 64 KiB. Bodies have limits of their own, sockets have pings. Whoever reads
    nothing of an answer for `read_timeout_s` is cut off: it would hold a place among the requests for ever.
    """

    class Punctual(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None
        _kept_bytes = 0  # of what is not whole yet: a head, or the headers behind a body in chunks
        _refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            if self._refused:  # closed while more is coming, the client would see no answer; it has until the timer
                return
            self._kept_bytes += len(data)
            super().data_received(data)
            if self._kept_bytes > _HEAD_BYTES:
                self._refuse()
            self._wait()

        def on_headers_complete(self) -> None:
            self._kept_bytes = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._kept_bytes = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._kept_bytes = 0
            super().on_message_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._read_on()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self._unread or self.loop.call_later(read_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._read_on()
            super().resume_writing()

        def _read_on(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        @property
        def _under_way(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _refuse(self) -> None:
            if self._under_way:  # what is told now would be read as a part of that answer
                self.transport.abort()
                return
            self._refused = True
            error = VoiceError("message_too_large", f"the head of a request has at most {_HEAD_BYTES} bytes")
            answer = JSONResponse({"error": error_object(error)}, 431, {"Connection": "close"})
            head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
            status = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
            self.transport.write(b"".join((status, head, b"\r\n", answer.body)))
            self.transport.write_eof()

        def _wait(self) -> None:
            if self._under_way or self.transport.get_protocol() is not self:  # a request, a socket
                self._stop_waiting()
            elif self._timer is None:
                self._timer = self.loop.call_later(head_timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Punctual
