"""One conversation. One task owns all of its state; whatever happens comes to it through one inbox, in order.

Frames -> Ear -> signals -> Floor: a pause drafts a reply, speech again retracts it, the turn's end lets it go.
Replies -> Dialogue -> Playout -> Outbox -> whoever reads `events()`: a WebSocket, a job, the command line.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from voxtral_voice import logs
from voxtral_voice.config import Config
from voxtral_voice.dialogue import Dialogue
from voxtral_voice.ear import Ear
from voxtral_voice.edits import Edits
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.events import Configured, Event, Failed
from voxtral_voice.floor import Floor
from voxtral_voice.history import Item, new_id
from voxtral_voice.idle import Idle
from voxtral_voice.metrics import Metrics
from voxtral_voice.pipeline import Output
from voxtral_voice.reply import Ended, Reply
from voxtral_voice.scribe import Scribe
from voxtral_voice.settings import Overrides, SessionSettings
from voxtral_voice.types import HEAR_HZ, Pcm, VoiceError

log = logging.getLogger(__name__)

_BITE = HEAR_HZ  # a long append is heard in bites of a second, so that nothing else waits behind it
_MOST_WAITING = 30 * HEAR_HZ
_COMPLAINT_S = 1.0  # between two errors about windows that could not be judged: there are dozens of those a second
_Command = Callable[[], Awaitable[None] | None]


class Session:
    """Call `hear` and the commands from the event loop, in any order and at any time; none of them waits."""

    def __init__(
        self, engines: Engines, config: Config, metrics: Metrics, settings: SessionSettings, session_id: str = ""
    ) -> None:
        """`session_id`: what the door and the log call it; made up when there is none."""
        self.id = session_id or new_id("sess")
        self._loop = asyncio.get_running_loop()
        self._metrics = metrics
        self._inbox: asyncio.Queue[tuple[_Command, str | None]] = asyncio.Queue()
        self._dialogue = Dialogue(engines, config, settings, metrics, self._deliver)
        self._ear = Ear(engines, settings.rules, config.turns)
        self._edits = Edits(self._dialogue)
        self._scribe = Scribe(self._dialogue, engines, self._spawn)
        self._floor = Floor(self._ear, self._dialogue, self._scribe, engines, config, metrics, self._spawn)
        self._idle = Idle(self._dialogue, self._ear)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # kept here, since a timer of uvloop's that is due already cannot say when it was
        self._tasks: set[asyncio.Task[Callable[[], None]]] = set()
        self._closing = False
        self._languages = engines.understander.languages
        self._waiting_samples = 0
        self._complain_at = 0.0
        self._heard = asyncio.Event()

    # What a client does.

    @property
    def settings(self) -> SessionSettings:
        return self._dialogue.settings

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639 codes of what is heard."""
        return self._languages

    @property
    def busy(self) -> bool:
        """A turn or a reply is under way, or something waits to be done."""
        return not self._inbox.empty() or self._ear.waiting or self._dialogue.busy(self._loop.time())

    async def stopped_reading(self) -> None:
        """Until the client leaves more unread than it may."""
        await self._dialogue.outbox.overfull.wait()

    async def caught_up(self) -> None:
        """Until no more than 30 s of audio wait to be heard; whoever sends faster should wait for it."""
        while self._waiting_samples > _MOST_WAITING:
            self._heard.clear()
            await self._heard.wait()

    def events(self) -> AsyncIterator[Event]:
        """What happens, until the session is closed."""
        return self._dialogue.outbox.events()

    def items(self) -> tuple[Item, ...]:
        """The conversation as it stands."""
        return self._dialogue.history.items

    def hear(self, pcm: Pcm) -> None:
        """The user's audio: shape [samples], 16 kHz, any length."""
        for start in range(0, len(pcm), _BITE):
            bite = pcm[start : start + _BITE]
            self._waiting_samples += len(bite)
            self._post(partial(self._hear_frame, bite))

    def commit(self, event_id: str | None = None) -> None:
        """The user's turn is over, says the client."""
        self._post(lambda: self._floor.commit(self._loop.time()), event_id)

    def clear(self, event_id: str | None = None) -> None:
        """Forget what has been said and not committed."""
        self._post(self._floor.clear, event_id)

    def configure(
        self, settings: SessionSettings, echo: dict[str, Any] | None = None, event_id: str | None = None
    ) -> None:
        """Listen and answer otherwise from here on. `echo` comes back in order, as `Configured`."""
        self._post(lambda: self._configure(settings, echo), event_id)

    def add(
        self, item: Item, after: str | None = None, event_id: str | None = None, *, makes_room: bool = False
    ) -> None:
        """A written message, or one of an earlier conversation. `makes_room`: when it is full, the oldest go for it."""
        self._post(lambda: self._edits.add(item, after, makes_room=makes_room), event_id)

    def retrieve(self, item_id: str, event_id: str | None = None) -> None:
        self._post(lambda: self._edits.retrieve(item_id), event_id)

    def delete(self, item_id: str, event_id: str | None = None) -> None:
        self._post(lambda: self._edits.delete(item_id, self._loop.time()), event_id)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int, event_id: str | None = None) -> None:
        """The client has played only this much of a reply."""
        self._post(lambda: self._edits.truncate(item_id, content_index, audio_end_ms), event_id)

    def respond(self, overrides: Overrides | None = None, event_id: str | None = None) -> None:
        """Answer now."""
        self._post(lambda: self._dialogue.respond(overrides, self._loop.time()), event_id)

    def cancel(self, response_id: str | None = None, event_id: str | None = None) -> None:
        """Stop the reply."""
        self._post(lambda: self._dialogue.cancel(response_id, self._loop.time()), event_id)

    def close(self) -> None:
        """End the conversation; `run` returns once everything has stopped."""
        self._closing = True
        self._post(lambda: None)

    async def run(self) -> None:
        """The owner: everything above happens in here, one thing after the other."""
        logs.session.set(self.id)  # in this task's context, which replies and engines inherit
        self._metrics.sessions_active.inc()
        try:
            while not self._closing:
                command, event_id = await self._inbox.get()
                await self._obey(command, event_id)
                self._dialogue.play(self._loop.time())
                self._idle.look(self._loop.time())
                self._scribe.write_down(self._dialogue.take_unwritten())
                self._set_timer()
        finally:
            self._metrics.sessions_active.dec()
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._dialogue.close()

    # The owner's side.

    def _post(self, command: _Command, event_id: str | None = None) -> None:
        self._inbox.put_nowait((command, event_id))

    def _deliver(self, reply: Reply, output: Output | Ended) -> None:
        self._post(lambda: self._dialogue.receive(reply, output, self._loop.time()))

    async def _obey(self, command: _Command, event_id: str | None) -> None:
        try:
            effect = command()
            if effect is not None:
                await effect
        except VoiceError as error:
            self._fail(error.code, error.message, event_id, error.param)
        except Exception:  # the conversation outlives a fault in one command; the log has the whole story
            log.exception("a command failed", extra={"turn": self._dialogue.turn})
            self._fail("internal_error", "something went wrong in the server", event_id)

    def _configure(self, settings: SessionSettings, echo: dict[str, Any] | None) -> None:
        self._floor.configure(settings)
        if echo is not None:
            self._dialogue.emit(Configured(self._dialogue.turn, echo))

    def _fail(self, code: str, message: str, event_id: str | None = None, param: str | None = None) -> None:
        self._metrics.errors.labels(code).inc()
        self._dialogue.emit(Failed(self._dialogue.turn, code, message, event_id, param))

    def _set_timer(self) -> None:
        """One timer for whatever comes next by itself: a packet, a silence to assume, a silence that was too long.

        Nearly every frame puts it off. Then it fires too early, finds nothing to do and is set anew.
        """
        next_ones = (self._dialogue.next_at(), self._ear.missing_at(), self._idle.due_at(self._loop.time()))
        due = min([at for at in next_ones if at is not None], default=math.inf)
        if due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = self._loop.call_at(due, self._fire), due

    def _fire(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self._post(self._tick)

    async def _tick(self) -> None:
        silence = self._ear.missing(self._loop.time())
        if len(silence):
            await self._listen(silence, assumed=True)

    async def _hear_frame(self, pcm: Pcm) -> None:
        self._waiting_samples -= len(pcm)
        self._heard.set()
        self._ear.frame(self._loop.time(), len(pcm) / HEAR_HZ)
        await self._listen(pcm)

    async def _listen(self, pcm: Pcm, *, assumed: bool = False) -> None:
        heard = self._dialogue.being_heard(self._loop.time())
        try:
            signals = await self._ear.hear(pcm, reply_heard=heard, assumed=assumed)
        except Exception:
            if (now := self._loop.time()) < self._complain_at:
                return
            self._complain_at = now + _COMPLAINT_S
            raise
        for signal in signals:
            self._floor.follow(signal, self._loop.time())
        self._floor.transcribe_partially()
        self._floor.forget()

    def _spawn(self, work: Coroutine[None, None, Callable[[], None]]) -> asyncio.Task[Callable[[], None]]:
        """Let `work` run beside the owner; the command that it returns is then the owner's to obey."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._settle)
        return task

    def _settle(self, task: asyncio.Task[Callable[[], None]]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if error := task.exception():  # the conversation goes on without it
            turn = self._dialogue.turn
            log.error("an engine failed beside the conversation", exc_info=error, extra={"turn": turn})
        else:
            self._post(task.result())
