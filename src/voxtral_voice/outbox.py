"""Events on their way to one client. The last common hop of every door: sound of an interrupted reply dies here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from voxtral_voice.events import Configured, Event, ItemAdded, ItemRetrieved, ReplyAudio, ReplyText

_LEAST_BYTES = 512  # about what any event takes: a client may ask for very many small ones


class Outbox:
    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes`: of what may wait for the client."""
        self.overfull = asyncio.Event()
        """Set once more than that waits: the client has stopped reading."""
        self._limit_bytes = limit_bytes
        self._events: deque[Event] = deque()
        self._floor = 0
        self._closed = False
        self._changed = asyncio.Event()
        self._waiting_bytes = 0

    def put(self, event: Event) -> None:
        self._events.append(event)
        self._waiting_bytes += _size(event)
        if self._waiting_bytes > self._limit_bytes:
            self.overfull.set()
        self._changed.set()

    def drop_before(self, turn: int) -> None:
        """Sound and words of turns before `turn` are not sent any more, unless they are kept; every other event is."""
        self._floor = turn

    def close(self) -> None:
        """The iteration ends once what is waiting has been taken."""
        self._closed = True
        self._changed.set()

    async def events(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                event = self._events.popleft()
                self._waiting_bytes -= _size(event)
                if not isinstance(event, (ReplyAudio, ReplyText)) or event.kept or event.turn >= self._floor:
                    yield event
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()


def _size(event: Event) -> int:
    if isinstance(event, ReplyAudio):
        return 2 * len(event.pcm)
    if isinstance(event, Configured):
        return _LEAST_BYTES + len(str(event.echo))
    text = event.item.text if isinstance(event, (ItemAdded, ItemRetrieved)) else ""
    return _LEAST_BYTES + len(text)
