"""The conversation: its items in order, and what a model is shown of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from voxtral_voice.types import AudioPart, Message, Role, TextPart, VoiceError

Status = Literal["in_progress", "completed", "incomplete"]


def new_id(kind: str) -> str:
    """An id as the Realtime API makes them: item_…, resp_…, sess_…, event_…"""
    return f"{kind}_{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the conversation."""

    id: str
    role: Role
    part: AudioPart | TextPart
    """A spoken reply is the text of what was heard of it."""
    status: Status = "completed"
    spoken: bool = False
    """It was sound: the user's own or the reply's voice."""
    joins: bool = False
    """The user's turn went on here after it had been cut: one message together with the item before."""
    void: bool = False
    """A reply to the first half of such a turn: the model is not shown it."""

    @property
    def text(self) -> str:
        return self.part.text or ""

    @property
    def unwritten(self) -> bool:
        """Sound whose words nobody knows yet."""
        return isinstance(self.part, AudioPart) and self.part.text is None

    @property
    def size_bytes(self) -> int:
        """What it keeps: sound and letters."""
        return len(self.text) + (self.part.pcm.nbytes if isinstance(self.part, AudioPart) else 0)


def messages(items: Iterable[Item]) -> tuple[tuple[Message, ...], tuple[tuple[str, ...], ...]]:
    """What a model is shown of `items`, and the ids behind each message's parts.

    Void and empty items are left out; the parts of a joined turn are one message.
    """
    shown: list[Message] = []
    ids: list[tuple[str, ...]] = []
    for item in items:
        if item.void or item.part.text == "":
            continue
        if item.joins and shown and shown[-1].role == item.role:
            shown[-1] = Message(item.role, (*shown[-1].parts, item.part))
            ids[-1] += (item.id,)
        else:
            shown.append(Message(item.role, (item.part,)))
            ids.append((item.id,))
    return tuple(shown), tuple(ids)


class History:
    """One session's conversation."""

    def __init__(self, most_items: int, most_bytes: int) -> None:
        """`most_bytes`: of sound and letters in all of them."""
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._items: list[Item] = []

    def __contains__(self, item_id: str) -> bool:
        return any(item.id == item_id for item in self._items)

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(self._items)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Append, or insert behind the item `after` ("root": at the start). Returns the id of the item before it.

        Raises VoiceError("invalid_event") for a name that is taken or an `after` that is not there.
        """
        if item.id in self:
            raise VoiceError("invalid_event", f"an item {item.id!r} is in the conversation already", param="item.id")
        index = len(self._items)
        if after is not None:
            index = 0 if after == "root" else self._index(after) + 1
        self._items.insert(index, item)
        return self._items[index - 1].id if index else None

    def check_room(self, item: Item) -> None:
        """Raises VoiceError("invalid_event") when `item` is one too many, or too large beside the others."""
        if len(self._items) >= self._most_items:
            raise VoiceError("invalid_event", f"a conversation holds at most {self._most_items} items", param="item")
        if self._size_bytes() + item.size_bytes > self._most_bytes:
            limit = f"a conversation holds at most {self._most_bytes} bytes of sound and text"
            raise VoiceError("invalid_event", limit, param="item.content")

    def shed(self) -> list[str]:
        """Forget the oldest items beyond the limits; never the newest, nor a reply under way. Returns their ids."""
        gone = list[str]()
        for item in tuple(self._items[:-1]):
            if len(self._items) <= self._most_items and self._size_bytes() <= self._most_bytes:
                break
            if item.status != "in_progress":
                self.delete(item.id)
                gone.append(item.id)
        return gone

    def get(self, item_id: str) -> Item:
        """Raises VoiceError("invalid_event") when it is not there."""
        return self._items[self._index(item_id)]

    def find(self, item_id: str) -> Item | None:
        return self.get(item_id) if item_id in self else None

    def replace(self, item: Item) -> None:
        if item.id in self:
            self._items[self._index(item.id)] = item

    def set_text(self, item_id: str, text: str) -> None:
        """Write down what an item said, or cut a reply to what was heard. An item deleted meanwhile stays deleted."""
        if item := self.find(item_id):
            self.replace(replace(item, part=replace(item.part, text=text)))

    def forget_audio(self, keep: int) -> None:
        """Drop sound whose words are known, so that a long talk stays small: of all but the last `keep` messages, and
        of every item in which there were none.

        Whole messages, two at a time where several are kept: a model that has read the conversation so far finds it
        unchanged at every other turn (`voxtral.prompt.heard_from`, which counts messages too).
        """
        sounds = {item.id: item for item in self._items if isinstance(item.part, AudioPart)}
        spoken = [[sounds[each] for each in ids if each in sounds] for ids in self.messages()[1]]
        written = [turn for turn in spoken if turn and not any(item.unwritten for item in turn)]
        step = 2 if keep > 1 else 1
        old = written[: max(0, len(written) - keep) // step * step]
        empty = [item for item in sounds.values() if item.part.text == ""]  # no model is shown them
        for item in (*empty, *chain(*old)):
            self.replace(replace(item, part=TextPart(item.text)))

    def delete(self, item_id: str) -> None:
        del self._items[self._index(item_id)]

    def messages(self, extra: Item | None = None) -> tuple[tuple[Message, ...], tuple[tuple[str, ...], ...]]:
        """What a model is shown, `extra` as if it were the newest item; and the ids behind each message's parts."""
        return messages((*self._items, *([extra] if extra else [])))

    def gather(self, asked: Iterable[Item | str]) -> tuple[Item, ...]:
        """Items of a client's own, and ids of those that are here, each once. Raises VoiceError("invalid_event")."""
        found = tuple(self.get(each) if isinstance(each, str) else each for each in asked)
        if len({item.id for item in found}) < len(found):
            raise VoiceError("invalid_event", "an item is named twice", param="response.input")
        return found

    def _size_bytes(self) -> int:
        return sum(item.size_bytes for item in self._items)

    def _index(self, item_id: str) -> int:
        for index, item in enumerate(self._items):
            if item.id == item_id:
                return index
        raise VoiceError("invalid_event", f"there is no item {item_id!r} in the conversation", param="item_id")
