"""Connections that ask for nothing are closed: each of them holds a file, and when all are held nobody gets in."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def protocol(head_timeout_s: float, read_timeout_s: float = 60.0) -> type[asyncio.Protocol]:
    """uvicorn's, which would wait without end for the rest of a request's head.

    Waits `head_timeout_s` for it. Bodies have a limit of their own, sockets have pings. Whoever reads nothing of an
    answer for `read_timeout_s` is cut off: it would hold a place among the requests for ever.
    """

    class Punctual(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

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

        def _wait(self) -> None:
            under_way = self.cycle is not None and not self.cycle.response_complete
            if under_way or self.transport.get_protocol() is not self:  # a request, a socket
                self._stop_waiting()
            elif self._timer is None:
                self._timer = self.loop.call_later(head_timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Punctual
