"""What of a long conversation a model is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
