"""The answering half of a session: the conversation so far, the draft, the reply, and what of it gets out.

Nothing in here waits; the session's task calls it and passes the time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from voxtral_voice import settings as session_settings
from voxtral_voice.asides import Asides
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.events import Committed, Event, ItemAdded, ReplyStarted
from voxtral_voice.history import History, Item, messages
from voxtral_voice.metrics import Metrics
from voxtral_voice.mouth import Mouth
from voxtral_voice.outbox import Outbox
from voxtral_voice.pipeline import Output
from voxtral_voice.reply import Ended, Reply
from voxtral_voice.settings import Overrides, SessionSettings
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)


class Dialogue:
    def __init__(
        self,
        engines: Engines,
        config: Config,
        settings: SessionSettings,
        metrics: Metrics,
        deliver: Callable[[Reply, Output | Ended], None],
    ) -> None:
        """`deliver` is called by a reply's own task and must bring its arguments to `receive` on the session's."""
        self.settings = settings
        self.history = History(config.limits.conversation_items, config.limits.conversation_bytes)
        self.outbox = Outbox(config.limits.outbox_bytes)
        self.turn = 0
        self.opened = ""
        """The item that the turn under way becomes; the client knows its id before it is there."""
        self._engines = engines
        self._config = config
        self._metrics = metrics
        self._deliver = deliver
        self._chunks = session_settings.chunk_rules(config)
        mouth = partial(Mouth, outbox=self.outbox, metrics=metrics, logs_content=config.logging.content)
        self._mouth = mouth(self.history, audio_turns=engines.understander.audio_turns)
        self._asides = Asides(lambda: mouth(History(1, config.limits.conversation_bytes)))
        self._draft: Reply | None = None
        self._reply: Reply | None = None
        self._last: Reply | None = None  # the reply before, whose end may still be playing
        self._owed = False  # a turn ended while a reply was playing that must not be interrupted
        self._unwinding: set[Reply] = set()
        self._unwritten: list[Item] = []  # sound that no reply listens to, not handed to anybody yet

    # What the session asks.

    @property
    def answering(self) -> bool:
        """A reply is certain and not over."""
        return self._reply is not None

    def busy(self, now: float) -> bool:
        return self._draft is not None or self._reply is not None or bool(self._asides) or self.being_heard(now)

    @property
    def unheard(self) -> bool:
        """A reply is certain and nothing of it has been sent yet, neither sound nor words."""
        return self._reply is not None and not self._reply.begun

    def being_heard(self, now: float) -> bool:
        """Sound of a reply is coming out of the client's loudspeaker, as far as can be told from here."""
        return any(reply.playout.heard_until() > now for reply in self.speakers)

    @property
    def heard_out_at(self) -> float | None:
        """When the last reply has been heard out; None before there was one, and while another is under way."""
        idle = self._draft is None and self._reply is None and self._last is not None
        return self._last.playout.heard_until() if idle and self._last is not None else None

    def answers_since(self, turn: int) -> bool:
        """A reply is certain that was asked for after `turn` began."""
        return self._reply is not None and self._reply.turn > turn

    def is_saying(self, item_id: str) -> bool:
        """The item is that of a reply which is not over."""
        return self._reply is not None and self._reply.item_id == item_id

    def speaker_of(self, item_id: str) -> Reply | None:
        """The reply under way, or the one before, if the item is what it says."""
        return next((reply for reply in self.speakers if reply.item_id == item_id), None)

    @property
    def speakers(self) -> list[Reply]:
        """The reply under way, and the one before."""
        return [reply for reply in (self._reply, self._last) if reply is not None]

    def next_at(self) -> float | None:
        """When `play` has something to do."""
        reply = self._reply.playout.next_at() if self._reply is not None else None
        return min((at for at in (reply, self._asides.next_at()) if at is not None), default=None)

    # Turns of the user.

    def emit(self, event: Event) -> None:
        self.outbox.put(event)

    def open_turn(self, item_id: str = "") -> int:
        """`item_id`: what the user's turn becomes; none for a turn of the client's."""
        self.turn += 1
        self.opened = item_id or self.opened
        return self.turn

    def draft(self, item: Item, speech_end_at: float, now: float) -> None:
        """Think about `item`, which the user may have finished; nobody hears of it before `commit`."""
        if self._reply is None:
            self.retract()
            self._draft = self._make(item, None)
            self._draft.marks.set("speech_end", speech_end_at)
            self._draft.marks.set("think_start", now)
            self._begin(self._draft)

    def retract(self) -> None:
        """The user goes on, or what the draft rests on has changed."""
        draft, self._draft = self._draft, None
        if draft is not None:
            self._metrics.drafts.labels("retracted").inc()
            self._drop(draft)

    def commit(self, item: Item, *, answer: bool, speech_end_at: float, now: float) -> None:
        """The user's turn is over: it joins the conversation and, with `answer`, gets a reply."""
        previous = self.history.add(item)
        draft, self._draft = self._draft, None
        self.emit(Committed(self.turn, item.id, previous))
        self.emit(ItemAdded(self.turn, item, previous))
        self._mouth.make_room(self.turn)
        if not answer or self._reply is not None:
            self._owed = self._owed or answer
            if draft is not None:
                self._drop(draft)
            self.leave_unwritten(self.history.items)
            return
        if draft is None:
            draft = self._make(None, None)
            draft.marks.set("speech_end", speech_end_at)
            draft.marks.set("think_start", now)
            self._begin(draft)
        else:
            self._metrics.drafts.labels("used").inc()
        self._confirm(draft, now)

    def leave_unwritten(self, items: Iterable[Item]) -> None:
        """Those of `items` that are sound without words, and that no reply listens to, are somebody else's to write."""
        listened = {item_id for ids in self._reply.part_ids for item_id in ids} if self._reply is not None else set()
        self._unwritten += [item for item in items if item.unwritten and item.id not in listened]

    def take_unwritten(self) -> list[Item]:
        """What has been left since the last call."""
        taken, self._unwritten = self._unwritten, []
        return taken

    def transcribed(self, item_id: str, text: str) -> None:
        """The words of an item that no reply listened to."""
        self._mouth.transcribed(self.turn, item_id, text)

    # Replies.

    def respond(self, overrides: Overrides | None, now: float) -> None:
        """Answer the conversation as it stands, or what else is asked for. Raises VoiceError when that cannot be."""
        if not self.settings.answers:
            raise VoiceError("invalid_event", "this session writes down what is said and answers nothing")
        if overrides is not None and overrides.aside:
            reply = self._make(None, overrides)
            self._asides.add(reply, now)
            self._begin(reply)
            return
        if self._reply is not None:
            raise VoiceError("conversation_already_has_active_response", "wait for the one in progress or cancel it")
        reply = self._make(None, overrides)
        self.retract()
        reply.turn = self.open_turn()
        self._begin(reply)
        self._confirm(reply, now)

    def interrupt(self, reason: str, now: float, *, void: bool = False) -> bool:
        """Stop being heard, at once. `void`: the model is not to know of the reply. False when nothing was playing.

        The order matters: from the first lines on, everything of the old turn is stale.
        """
        if any(reply.turn == self.turn for reply in self.speakers):  # else the turn that interrupts has a new number
            self.turn += 1
        self.outbox.drop_before(self.turn)
        self.retract()
        self._owed = self._owed and reason == "client_cancelled"  # whoever cancels for the client pays
        reply, self._reply = self._reply, None
        tail = self._last if self._last is not None and self._last.playout.heard_until() > now else None
        if tail is not None:
            self._mouth.fall_silent(tail, now, void=void and reply is None)
        if reply is not None:
            self._drop(reply)
            self.leave_unwritten(self.history.items)
            reply.marks.set("interrupted", now)
            self._mouth.fall_silent(reply, now, void=void)
            self._mouth.close(reply, "cancelled", reason)
            self._last = reply
        return reply is not None or tail is not None

    def cancel(self, response_id: str | None, now: float) -> None:
        """The client's wish. Raises VoiceError when there is nothing to cancel."""
        if aside := self._asides.find(response_id):
            self._drop(aside)
            self._asides.cancel(aside, now)
            return
        if self._reply is None or response_id not in (None, self._reply.response_id):
            raise VoiceError("response_cancel_not_active", "Cancellation failed: no active response found")
        self.interrupt("client_cancelled", now)
        self.pay(now)

    def configure(self, settings: SessionSettings) -> None:
        self.retract()
        self.settings = settings

    # What the engines made, and its way out.

    def receive(self, reply: Reply, output: Output | Ended, now: float) -> None:
        """Something of a reply; of one that was dropped meanwhile it is ignored."""
        if isinstance(output, Ended):
            reply.ended = output
            if isinstance(output.error, Exception) and not isinstance(output.error, VoiceError):
                log.error("the engines failed", exc_info=output.error, extra={"turn": reply.turn})
        else:
            reply.take(output, now)
        if reply is self._reply or reply in self._asides:
            self._mouth.write_down(reply)

    def play(self, now: float) -> None:
        """Let out what is due; close the reply when everything is out."""
        self._asides.play(now)
        reply = self._reply
        if reply is None:
            return
        self._mouth.speak(reply, now)
        if reply.over:
            self._reply, self._last = None, reply
            self._mouth.finish(reply)
            self.leave_unwritten(self.history.items)
            self.pay(now)

    async def close(self) -> None:
        """Stop everything and wait for it."""
        for reply in filter(None, (self._draft, self._reply, *self._asides.clear())):
            self._drop(reply)
        self._draft = self._reply = None
        for reply in tuple(self._unwinding):
            await reply.wait()
        self.outbox.close()

    def pay(self, now: float) -> None:
        """Answer the turn that ended while a reply was not to be interrupted, if one did."""
        owed, self._owed = self._owed, False
        if owed and self.settings.answers:
            self.respond(None, now)

    def _make(self, item: Item | None, overrides: Overrides | None) -> Reply:
        """Raises VoiceError when `overrides` asks for an item that is not there."""
        if overrides is not None and overrides.input is not None:
            shown, part_ids = messages(self.history.gather(overrides.input))
        else:
            shown, part_ids = self.history.messages(item)
        return Reply(
            session_settings.request(self.settings, self._config, shown, overrides),
            turn=self.turn,
            part_ids=part_ids,
            rules=self._config.playout,
            lead_ms=self._config.playout.duck_lead_ms if self.settings.ducks else self._config.playout.lead_ms,
            overrides=overrides,
            shows_marks=self.settings.metrics and not (overrides and overrides.aside),
        )

    def _begin(self, reply: Reply) -> None:
        reply.start(self._engines, self._chunks, self._deliver)

    def _confirm(self, reply: Reply, now: float) -> None:
        reply.marks.set("turn_end", now)
        # The reply before may still be coming out of the loudspeaker.
        reply.confirm(self.turn, now if self._last is None else max(now, self._last.playout.heard_until()))
        reply.answers = self.history.items[-1].id if self.history.items else None
        self._reply = reply
        self._mouth.write_down(reply)
        self.emit(ReplyStarted(reply.turn, reply.response_id, reply.request.spoken, reply.metadata, reply.asked))

    def _drop(self, reply: Reply) -> None:
        reply.cancel()
        self._unwinding = {each for each in self._unwinding if not each.unwound} | {reply}
