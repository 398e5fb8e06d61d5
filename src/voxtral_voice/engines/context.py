"""What of a long conversation a text model is given, and which keys and values of earlier calls still hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from voxtral_voice.engines.causal_lm import Memory
from voxtral_voice.types import Role


@dataclass(frozen=True, slots=True)
class Line:
    """One message as the model reads it."""

    role: Role
    tokens: tuple[int, ...]
    """Markers included: any sequence of lines, one after the other, is a prompt."""


def fit(lines: Sequence[Line], budget: int) -> tuple[Line, ...]:
    """The lines that a model with room for `budget` tokens is given, in order.

    Always: the leading system lines, the first turn (facts such as the user's name come early and are asked for
    late) and the last line. In between the oldest go first, and in steps of half the budget: dropping one turn at a
    time would change the prompt near its beginning with every reply, and everything behind it would be read again.
    A line that alone is too long loses its middle.
    """
    if sum(len(line.tokens) for line in lines) <= budget:
        return tuple(lines)
    kept = _head(lines)
    head, rest, last = lines[:kept], lines[kept:-1], lines[-1]
    head, last = _shorten(head, last, budget)
    room = budget - sum(len(line.tokens) for line in head) - len(last.tokens)
    step = max(budget // 2, 1)
    excess = sum(len(line.tokens) for line in rest) - room
    if excess <= 0:
        return (*head, *rest, last)
    to_drop = -(-excess // step) * step
    start, dropped = 0, 0
    while start < len(rest) and (dropped < to_drop or rest[start].role == "assistant"):
        dropped += len(rest[start].tokens)
        start += 1
    return (*head, *rest[start:], last)


def _head(lines: Sequence[Line]) -> int:
    """How many lines at the start always stay; the last line is never one of them."""
    end = 0
    while end < len(lines) - 1 and lines[end].role == "system":
        end += 1
    for role in ("user", "assistant"):
        if end < len(lines) - 1 and lines[end].role == role:
            end += 1
    return end


def _shorten(head: Sequence[Line], last: Line, budget: int) -> tuple[tuple[Line, ...], Line]:
    """Half of the budget for the last line at most, half for those that always stay, what one leaves to the other."""
    length = sum(len(line.tokens) for line in head)
    if length + len(last.tokens) <= budget:
        return tuple(head), last
    last = _cut(last, max(budget // 2, budget - length))
    room = budget - len(last.tokens)
    short = []
    for index, line in enumerate(head):  # an equal share each, and what the ones before left over
        line = _cut(line, room // (len(head) - index))
        room -= len(line.tokens)
        short.append(line)
    return tuple(short), last


def _cut(line: Line, most: int) -> Line:
    if len(line.tokens) <= most:
        return line
    front, back = (most + 1) // 2, most // 2
    return replace(line, tokens=line.tokens[:front] + line.tokens[len(line.tokens) - back :])


@dataclass(eq=False)
class Slot:
    """A memory and the tokens whose keys and values it holds."""

    memory: Memory
    tokens: list[int] = field(default_factory=list)

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


class Slots:
    """Memories that outlive a call, each handed to one reply at a time. For one thread."""

    def __init__(self, count: int) -> None:
        """`count`: kept at most; about one for every conversation that is talking at the same time."""
        self._count = count
        self._free: list[Slot] = []  # the longest unused first
        self._busy: list[Slot] = []

    def take(self, prompt: list[int]) -> Slot:
        """A slot that holds as much of the start of `prompt` as any does, and nothing else. Give it back."""
        slot = max(self._free, key=lambda free: free.shares(prompt), default=None)
        # Sharing less than half of what it holds (the persona, most often) makes it another conversation's.
        if slot is None or 2 * slot.shares(prompt) < len(slot.tokens):
            slot = self._copied(prompt)
        slot.rewind(slot.shares(prompt))
        if slot in self._free:
            self._free.remove(slot)
        self._busy.append(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        self._busy.remove(slot)
        self._free.append(slot)
        while len(self._free) + len(self._busy) > self._count and self._free:
            self._free.pop(0)

    def _copied(self, prompt: list[int]) -> Slot:
        full = len(self._free) + len(self._busy) >= self._count
        slot = self._free[0] if full and self._free else Slot(Memory())
        source = max([*self._free, *self._busy], key=lambda held: held.shares(prompt), default=slot)
        shared = source.shares(prompt)
        if source is not slot and shared > slot.shares(prompt):
            slot.memory.copy_from(source.memory, shared)
            slot.tokens = source.tokens[:shared]
        return slot
