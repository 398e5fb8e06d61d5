"""The reply on its way out: its words and sound, what was heard of it, and how it ended."""

from __future__ import annotations

import logging
from dataclasses import replace

from voxtral_voice.events import (
    Event,
    ItemDeleted,
    ReplyAudio,
    ReplyBegun,
    ReplyDone,
    ReplyStatus,
    ReplyText,
    Transcribed,
    TurnMetrics,
)
from voxtral_voice.history import History, Item
from voxtral_voice.metrics import Metrics
from voxtral_voice.outbox import Outbox
from voxtral_voice.playout import audible
from voxtral_voice.reply import Reply
from voxtral_voice.types import HEAR_HZ, AudioPart, TextPart, VoiceError

log = logging.getLogger(__name__)


class Mouth:
    """One session's; owned by its task."""

    def __init__(
        self, history: History, outbox: Outbox, metrics: Metrics, *, audio_turns: int = 0, logs_content: bool
    ) -> None:
        """`audio_turns`: of the user's turns stay sound when they are written down. `logs_content`: what is said may
        go into the log."""
        self._history = history
        self._outbox = outbox
        self._metrics = metrics
        self._audio_turns = audio_turns
        self._logs_content = logs_content

    def emit(self, event: Event) -> None:
        self._outbox.put(event)

    def write_down(self, reply: Reply) -> None:
        """Transcripts, once the turn they belong to is certain."""
        for item_id, text in reply.heard():
            self.transcribed(reply.turn, item_id, text)

    def transcribed(self, turn: int, item_id: str, text: str) -> None:
        """The words of an item; the first to bring them counts."""
        item = self._history.find(item_id)
        if item is None or not isinstance(item.part, AudioPart) or item.part.text is not None:
            return
        if self._logs_content:
            log.info("heard: %s", text, extra={"turn": turn})
        self._history.set_text(item_id, text)
        self.emit(Transcribed(turn, item_id, text, len(item.part.pcm) / HEAR_HZ))
        self._history.forget_audio(self._audio_turns)

    def speak(self, reply: Reply, now: float) -> None:
        """Let out what is due."""
        packets, written = reply.release(now)
        for packet in packets:
            self._say(reply, packet.text, spoken=True)
            if packet.text and not len(packet.pcm):  # an emoji, or letters that the voice has no sounds for
                self._metrics.unspoken.inc()
                log.info("a clause has no sound: the client sees its words alone", extra={"turn": reply.turn})
            if len(packet.pcm):
                if audible(packet.pcm):
                    reply.marks.set("first_sent", now)
                self.emit(ReplyAudio(reply.turn, reply.response_id, reply.item_id, packet.pcm, kept=reply.aside))
        self._say(reply, written, spoken=False)

    def make_room(self, turn: int) -> None:
        """The oldest items beyond what a conversation may hold are forgotten, and the client is told."""
        for item_id in self._history.shed():
            self.emit(ItemDeleted(turn, item_id))

    def fall_silent(self, reply: Reply, now: float, *, void: bool) -> None:
        """Nothing more of it is heard; history holds what was. `void`: the model is not to know of it, unless it is
        written: its words have been read, and the user may come back to them."""
        if item := self._history.find(reply.item_id):
            text = reply.playout.heard_text(reply.heard_ms(now)) if item.spoken else item.text
            self._history.replace(replace(item, part=TextPart(text), void=void and item.spoken))
        reply.playout.stop(now)

    def finish(self, reply: Reply) -> None:
        """Everything is out, or the engines failed."""
        error = reply.ended.error if reply.ended is not None else None
        if isinstance(error, VoiceError):
            self.close(reply, "failed", error.code, error.message)
        elif error is not None:
            self.close(reply, "failed", "internal_error", "the reply could not be made")
        elif reply.finished is not None and reply.finished.reason == "length":
            self.close(reply, "incomplete", "max_output_tokens")
        else:
            self.close(reply, "completed", "")

    def close(self, reply: Reply, status: ReplyStatus, reason: str, message: str = "") -> None:
        """The reply is over."""
        if item := self._history.find(reply.item_id):
            self._history.replace(replace(item, status="completed" if status == "completed" else "incomplete"))
        stages = self._metrics.turn(reply.marks)
        self._metrics.turns.labels(status).inc()
        if status == "failed":
            self._metrics.errors.labels(reason).inc()
        log.info("reply %s %s %s", status, reason, stages, extra={"turn": reply.turn})
        if self._logs_content:
            log.info("said: %s", reply.text.strip(), extra={"turn": reply.turn})
        if reply.shows_marks:
            self.emit(TurnMetrics(reply.turn, reply.response_id, stages))
        said = self._history.find(reply.item_id)
        self.emit(ReplyDone(reply.turn, reply.response_id, said, status, reason, message, reply.usage))

    def _say(self, reply: Reply, text: str, *, spoken: bool) -> None:
        """Words of the reply; the first of them, or of its sound, put its item into the conversation."""
        if not reply.begun and (text or spoken):
            reply.begun = True
            item = Item(reply.item_id, "assistant", TextPart(""), status="in_progress", spoken=spoken)
            # Behind what it answers: the user may have said something else meanwhile.
            after = reply.answers if reply.answers is not None and reply.answers in self._history else None
            previous = self._history.add(item, after)
            self.emit(ReplyBegun(reply.turn, reply.response_id, reply.item_id, previous, spoken))
            self.make_room(reply.turn)
        if text:
            reply.text += text
            if reply.truncated_ms is None:
                self._history.set_text(reply.item_id, reply.text.strip())
            self.emit(ReplyText(reply.turn, reply.response_id, reply.item_id, text, kept=reply.aside or not spoken))
