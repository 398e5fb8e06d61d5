"""What was said and no reply listens to, written down: turns without an answer yet, and the words spoken so far.

Both wait behind every reply. A session has one turn at a time written down, so that a backlog crowds nobody's engines.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from functools import partial

from voxtral_voice.dialogue import Dialogue
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.events import TranscriptFailed
from voxtral_voice.history import Item
from voxtral_voice.types import AudioPart, Heard

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[None, None, Callable[[], None]]], asyncio.Task[Callable[[], None]]]

_INTERJECTION, _TURNS, _SO_FAR = 1, 2, 3  # priorities: behind replies, the last two behind text read aloud


class Scribe:
    """Owned by the session's task."""

    def __init__(self, dialogue: Dialogue, engines: Engines, spawn: Spawn) -> None:
        """`spawn` lets something run beside the owner and brings the command that it returns back to it."""
        self._dialogue = dialogue
        self._engines = engines
        self._spawn = spawn
        self._turns: dict[str, None] = {}  # ids of what is to be written down, in order; the first of them is being
        self._lost = set[str]()  # ids of what nobody could write down
        self._so_far: asyncio.Task[Callable[[], None]] | None = None
        self._over: list[tuple[Item, Callable[[str], None]]] = []  # said over a reply; the first of them is being

    def write_down(self, items: Iterable[Item]) -> None:
        """The words of turns that get no answer yet: a later one rests on them. Each is written down once."""
        idle = not self._turns
        for item in items:
            if item.id not in self._lost:
                self._turns[item.id] = None
        if idle:
            self._begin()

    @property
    def following(self) -> bool:
        return self._so_far is not None and not self._so_far.done()

    def follow(self, item: Item, show: Callable[[str], None]) -> None:
        """Recognise the words so far of the turn under way and `show` them."""
        self._so_far = self._spawn(self._recognise(item, show))

    def overhear(self, item: Item, tell: Callable[[str], None]) -> None:
        """Recognise what was said over a reply and `tell` it, "" for nothing: the reply may have to stop for it.

        One at a time: of what comes meanwhile only the latest is, which begins as early.
        """
        idle = not self._over
        self._over[1:] = [(item, tell)]
        if idle:
            self._spawn(self._overhear(item, tell))

    def leave_off(self) -> None:
        """A draft is about to hear the same words, or nobody needs them any more: the engine is free for it."""
        del self._over[1:]
        if self._so_far is not None:
            self._so_far.cancel()

    def _begin(self) -> None:
        while self._turns:
            item = self._dialogue.history.find(next(iter(self._turns)))
            if item is not None and item.unwritten:
                self._spawn(self._transcribe(item))
                return
            del self._turns[next(iter(self._turns))]  # deleted, or a reply has heard it meanwhile

    async def _transcribe(self, item: Item) -> Callable[[], None]:
        return partial(self._written, item.id, await self._words(item, _TURNS))

    def _written(self, item_id: str, text: str | None) -> None:
        del self._turns[item_id]
        if text is not None:
            self._dialogue.transcribed(item_id, text)
        else:
            self._give_up(item_id)
        self._begin()

    def _give_up(self, item_id: str) -> None:
        item = self._dialogue.history.find(item_id)
        if item is not None and item.unwritten:  # no reply has heard it meanwhile
            self._lost.add(item_id)
            what = "the words could not be written down"
            self._dialogue.emit(TranscriptFailed(self._dialogue.turn, item_id, "internal_error", what))

    async def _recognise(self, item: Item, show: Callable[[str], None]) -> Callable[[], None]:
        return partial(show, await self._words(item, _SO_FAR) or "")

    async def _overhear(self, item: Item, tell: Callable[[str], None]) -> Callable[[], None]:
        return partial(self._tell, tell, await self._words(item, _INTERJECTION) or "")

    def _tell(self, tell: Callable[[str], None], text: str) -> None:
        del self._over[0]
        if self._over:
            self._spawn(self._overhear(*self._over[0]))
        tell(text)

    async def _words(self, item: Item, priority: int) -> str | None:
        """None where that fails."""
        assert isinstance(item.part, AudioPart)
        audio, language = item.part.pcm, self._dialogue.settings.language
        stream: AsyncGenerator[Heard, None] = self._engines.understand_worker.stream(
            lambda cancel: self._engines.understander.transcribe(audio, language, cancel), priority=priority
        )
        try:
            async with aclosing(stream) as stretches:
                return " ".join([heard.text async for heard in stretches if heard.text])
        except Exception:  # these words are lost, the conversation goes on
            log.exception("a transcript failed")
            return None
