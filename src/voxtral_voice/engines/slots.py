"""Which keys and values of earlier calls still hold: memories that outlive a call, found by what they begin with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar


class Memory(Protocol):
    """Keys and values of tokens that were read."""

    def rewind(self, tokens: int) -> None:
        """Forget all but the first `tokens`."""

    def copy_from(self, other: Any, tokens: int) -> None:
        """Become the first `tokens` of `other`, which is of the same kind."""


M = TypeVar("M", bound=Memory)
_PAUSE_S = 1.0  # who has not gone on for so long is held up by the client, not by the others' turns


@dataclass(eq=False)
class Slot(Generic[M]):
    """A memory and the tokens whose keys and values it holds."""

    memory: M
    tokens: list[int] = field(default_factory=list)
    lost: bool = False
    """Its memory was needed elsewhere while its holder paused. Take another, and read again."""
    used_at: float = field(default_factory=time.monotonic)

    def shares(self, prompt: list[int]) -> int:
        """How many tokens at the start are those of `prompt`; one fewer than all, for the last must be read anew."""
        same, most = 0, min(len(self.tokens), len(prompt) - 1)
        while same < most:  # halving what is in doubt: comparing slices is far quicker than comparing tokens
            middle = (same + most + 1) // 2
            if self.tokens[same:middle] == prompt[same:middle]:
                same = middle
            else:
                most = middle - 1
        return same

    def rewind(self, tokens: int) -> None:
        del self.tokens[tokens:]
        self.memory.rewind(tokens)


class Slots(Generic[M]):
    """Memories, each handed to one reply at a time. For one thread."""

    def __init__(self, count: int, make: Callable[[], M], *, fixed: bool = False) -> None:
        """`count`: kept at most; about one for every conversation that is talking at the same time.

        `fixed`: never more than these; a reply that has paused for a second gives its memory up to one more.
        """
        self._count = count
        self._make = make
        self._fixed = fixed
        self._free: list[Slot[M]] = []  # the longest unused first
        self._busy: list[Slot[M]] = []  # likewise

    def take(self, prompt: list[int], like: Sequence[int] = ()) -> Slot[M] | None:
        """A slot that holds as much of the start of `prompt` as any does, and nothing else. Give it back.

        `like`: what the same conversation held before, whose slot it is to be. None while all of `fixed` are at work:
        ask again later. Taking one from somebody at work would only make both read everything again at every token.
        """
        known = list(like) or prompt
        slot = max(self._free, key=lambda free: free.shares(known), default=None)
        # Sharing less than half of what it holds (the persona, most often) makes it another conversation's.
        if slot is None or 2 * slot.shares(known) < len(slot.tokens):
            slot = self._copied(prompt)
        if slot is None:
            return None
        slot.rewind(slot.shares(prompt))
        slot.used_at = time.monotonic()
        if slot in self._free:
            self._free.remove(slot)
        if slot not in self._busy:
            self._busy.append(slot)
        return slot

    def touch(self, slot: Slot[M]) -> None:
        """Its reply goes on."""
        slot.used_at = time.monotonic()
        if slot is not self._busy[-1]:
            self._busy.remove(slot)
            self._busy.append(slot)

    def give_back(self, slot: Slot[M], *, useless: bool = False) -> None:
        """`useless`: what it holds last will not be built upon, so it is the first to be used otherwise."""
        if slot.lost:
            return
        self._busy.remove(slot)
        self._free.insert(0 if useless else len(self._free), slot)
        while len(self._free) + len(self._busy) > self._count and self._free:
            self._free.pop(0)

    def forget(self) -> None:
        """What the free ones hold is not to be trusted any more."""
        for slot in self._free:
            slot.rewind(0)

    def _copied(self, prompt: list[int]) -> Slot[M] | None:
        slot = self._room()
        if slot is None:
            return None
        source = max([*self._free, *self._busy], key=lambda held: held.shares(prompt), default=slot)
        shared = source.shares(prompt)
        if source is not slot and shared > slot.shares(prompt):
            slot.memory.copy_from(source.memory, shared)
            slot.tokens = source.tokens[:shared]
        return slot

    def _room(self) -> Slot[M] | None:
        if len(self._free) + len(self._busy) < self._count:
            return self._working(Slot(self._make()))
        if self._free:
            return self._free[0]
        if not self._fixed:
            return self._working(Slot(self._make()))
        if time.monotonic() - self._busy[0].used_at < _PAUSE_S:
            return None
        paused = self._busy.pop(0)
        paused.lost = True
        return self._working(Slot(paused.memory, list(paused.tokens)))

    def _working(self, slot: Slot[M]) -> Slot[M]:
        """Known from the start, so that no memory is lost should copying into it fail."""
        self._busy.append(slot)
        return slot
