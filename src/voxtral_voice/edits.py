"""What a client changes in the conversation by hand: items added, deleted, cut, looked at."""

from __future__ import annotations

from voxtral_voice.dialogue import Dialogue
from voxtral_voice.events import ItemAdded, ItemDeleted, ItemRetrieved, ItemTruncated
from voxtral_voice.history import Item
from voxtral_voice.types import VoiceError


class Edits:
    """Owned by the session's task. A draft that rests on what is changed is retracted."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._history = dialogue.history

    def add(self, item: Item, after: str | None, *, makes_room: bool = False) -> None:
        """`makes_room`: in a full conversation the oldest items go; else raises VoiceError when it does not fit in."""
        if item.id == self._dialogue.opened:  # the id of the turn under way is known before its item exists
            raise VoiceError("invalid_event", f"the user is saying {item.id!r}", param="item.id")
        if not makes_room:
            self._history.check_room(item)
        previous = self._history.add(item, after)
        self._dialogue.retract()
        self._dialogue.emit(ItemAdded(self._dialogue.turn, item, previous))
        for gone in self._history.shed():
            self._dialogue.emit(ItemDeleted(self._dialogue.turn, gone))
        # The last one is heard by the answer that is asked for next.
        self._dialogue.leave_unwritten(self._history.items[:-1])

    def retrieve(self, item_id: str) -> None:
        """Raises VoiceError for an unknown item, with the one code for it that clients live through."""
        item = self._history.find(item_id)
        if item is None:
            raise VoiceError("item_retrieve_invalid_item_id", f"there is no item {item_id!r}", param="item_id")
        self._dialogue.emit(ItemRetrieved(self._dialogue.turn, item))

    def delete(self, item_id: str, now: float) -> None:
        """A reply that is still being spoken is cancelled first. Raises VoiceError for an unknown item."""
        self._history.get(item_id)
        saying = self._dialogue.is_saying(item_id)
        if saying:
            self._dialogue.interrupt("client_cancelled", now)
        self._history.delete(item_id)
        self._dialogue.retract()
        self._dialogue.emit(ItemDeleted(self._dialogue.turn, item_id))
        if saying:
            self._dialogue.pay(now)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """The client knows what was heard; that wins over our estimate. Raises VoiceError for an unknown item."""
        item = self._history.get(item_id)
        reply = self._dialogue.speaker_of(item_id)
        if reply is not None and item.spoken:
            reply.truncated_ms = audio_end_ms = min(audio_end_ms, reply.playout.sent_ms())
            heard = reply.playout.heard_text(audio_end_ms)
            if heard != item.text:
                self._dialogue.retract()
                self._history.set_text(item.id, heard)
        self._dialogue.emit(ItemTruncated(self._dialogue.turn, item.id, content_index, audio_end_ms))
