"""One reply: first a draft that nobody hears of, then certain, then over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from voxtral_voice.chunker import ChunkRules
from voxtral_voice.config import PlayoutChoice
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.events import Usage
from voxtral_voice.history import new_id
from voxtral_voice.metrics import Marks
from voxtral_voice.pipeline import Mark, Output, Request, Spoken, cause, respond
from voxtral_voice.playout import Packet, Playout
from voxtral_voice.settings import Overrides
from voxtral_voice.types import Delta, Finished, Heard


@dataclass(frozen=True, slots=True)
class Ended:
    """The engines are done with the reply."""

    error: Exception | None


class Reply:
    """Holds what the engines made until the turn is certain; then lets it go, paced. Owned by its session's task."""

    def __init__(
        self,
        request: Request,
        *,
        turn: int,
        part_ids: tuple[tuple[str, ...], ...],
        rules: PlayoutChoice,
        lead_ms: int,
        overrides: Overrides | None = None,
        shows_marks: bool = False,
    ) -> None:
        """`part_ids`: the items behind the parts of the request's messages. `shows_marks`: tell the client."""
        self.request = request
        self.turn = turn
        self.part_ids = part_ids
        self.metadata = overrides.metadata if overrides else None
        self.asked = overrides.asked if overrides else None
        self.aside = overrides is not None and overrides.aside
        self.shows_marks = shows_marks
        self.response_id = new_id("resp")
        self.item_id = new_id("item")
        self.playout = Playout(packet_ms=rules.packet_ms, lead_ms=lead_ms)
        self.marks = Marks()
        self.answers: str | None = None
        """The newest item when it became certain."""
        self.truncated_ms: int | None = None
        """How much of it the client says was heard."""
        self.certain = False
        self.begun = False  # its item is in the conversation
        self.text = ""  # words let out
        self.finished: Finished | None = None  # the text is complete
        self._pieces = 0  # of its text
        self.ended: Ended | None = None
        self._heard: list[Heard] = []
        self._written: list[str] = []
        self._clauses = 0
        self._rules = rules
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, engines: Engines, rules: ChunkRules, deliver: Callable[[Reply, Output | Ended], None]) -> None:
        """Set the engines to work; `deliver` gets what comes of it."""
        self._task = asyncio.create_task(self._run(engines, rules, deliver), name=f"reply-{self.turn}")

    async def _run(self, engines: Engines, rules: ChunkRules, deliver: Callable[[Reply, Output | Ended], None]) -> None:
        error: Exception | None = None
        try:
            await respond(self.request, engines, rules, lambda output: deliver(self, output), self._room)
        except ExceptionGroup as group:
            error = cause(group)
        finally:
            self.request = replace(self.request, messages=())  # the reply is remembered, their sound need not be
        deliver(self, Ended(error))

    def cancel(self) -> None:
        """Stop the engines; returns at once."""
        if self._task is not None:
            self._task.cancel()

    @property
    def unwound(self) -> bool:
        return self._task is None or self._task.done()

    async def wait(self) -> None:
        """Until its task has unwound."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def take(self, output: Output, now: float) -> None:
        """Keep what the engines made."""
        if isinstance(output, Mark):
            self._pieces += output.stage == "first_delta"
            self.marks.set(output.stage, now)
        elif isinstance(output, Heard):
            self._heard.append(output)
        elif isinstance(output, Delta):
            self._written.append(output.text)
        elif isinstance(output, Spoken):
            if len(output.pcm):
                self.marks.set("first_pcm", now)
            self._clauses += 1
            self.playout.add(output.clause, output.pcm)
        else:
            self.finished = output

    def confirm(self, turn: int, from_s: float) -> None:
        """The turn is certain: what is here may be heard from `from_s` on, and synthesis may go on."""
        self.certain, self.turn = True, turn
        self.playout.start(from_s)
        self._changed.set()

    def heard_ms(self, now: float) -> int:
        """How much of it was heard: what the client says, else our estimate."""
        played_ms = self.playout.played_ms(now)
        return played_ms if self.truncated_ms is None else min(self.truncated_ms, played_ms)

    def heard(self) -> list[tuple[str, str]]:
        """(item id, transcript) of what has been recognised since the last call."""
        heard, self._heard = self._heard, []
        return [(self.part_ids[each.message][each.part], each.text) for each in heard]

    def release(self, now: float) -> tuple[list[Packet], str]:
        """What is due: packets of sound, and written text."""
        packets = self.playout.release(now)
        written, self._written = "".join(self._written), []
        if packets:
            self._changed.set()
        return packets, written

    @property
    def over(self) -> bool:
        """Everything has been let out."""
        return self.ended is not None and self.playout.empty and not self._written

    @property
    def usage(self) -> Usage:
        """As the engine counted; of a text that was cut short, what had been written of it."""
        if self.finished is None:
            return Usage(output_text_tokens=self._pieces)
        return Usage(input_text_tokens=self.finished.prompt_tokens, output_text_tokens=self.finished.reply_tokens)

    async def _room(self) -> None:
        """Until the next clause should be spoken: a draft speaks few, a certain reply stays a few seconds ahead."""
        while not self._has_room():
            self._changed.clear()
            await self._changed.wait()

    def _has_room(self) -> bool:
        if not self.certain and self._clauses >= self._rules.draft_clauses:
            return False
        return self.playout.unsent_ms < self._rules.ahead_ms
