"""What of a long conversation a text model is given."""

from __future__ import annotations

import random

from voxtral_voice.engines.context import Line, fit
from voxtral_voice.types import Role


def line(role: Role, length: int, mark: int = 0) -> Line:
    return Line(role, tuple(range(mark * 1000, mark * 1000 + length)))


def conversation(turns: int, length: int = 10) -> list[Line]:
    lines = [line("system", 20, 0)]
    for turn in range(1, turns + 1):
        lines += [line("user", length, 2 * turn), line("assistant", length, 2 * turn + 1)]
    return lines[:-1]  # the last user line waits for its answer


def total(lines: tuple[Line, ...]) -> int:
    return sum(len(line.tokens) for line in lines)


def test_what_fits_stays_whole() -> None:
    lines = conversation(5)
    assert fit(lines, 110) == tuple(lines)


def test_persona_first_turn_and_last_line_always_stay() -> None:
    lines = conversation(60)
    for budget in (100, 300, 900):
        kept = fit(lines, budget)
        assert total(kept) <= budget
        assert kept[:3] == tuple(lines[:3])
        assert kept[-1] == lines[-1]


def test_the_order_is_kept_and_the_newest_win() -> None:
    lines = conversation(60)
    kept = fit(lines, 400)
    assert kept == (*lines[:3], *lines[len(lines) - len(kept) + 3 :])
    assert kept[3].role == "user"


def test_the_beginning_stays_the_same_for_many_turns() -> None:
    """Or the keys and values kept from the reply before would be of no use."""
    starts = [fit(conversation(turns), 400)[:6] for turns in range(20, 60)]
    changes = sum(before != after for before, after in zip(starts, starts[1:], strict=False))
    assert changes <= 4


def test_a_line_longer_than_the_model_loses_its_middle() -> None:
    lines = [line("system", 20, 0), line("user", 500, 1), line("assistant", 10, 2), line("user", 800, 3)]
    kept = fit(lines, 200)
    assert total(kept) <= 200
    assert [line.role for line in kept] == ["system", "user", "assistant", "user"]
    assert kept[0] == lines[0]
    assert kept[-1].tokens[0] == 3000
    assert kept[-1].tokens[-1] == 3799


def test_every_conversation_fits_every_budget() -> None:
    rng = random.Random(0)
    for _ in range(300):
        lines = [
            line(rng.choice(["system", "user", "assistant"]), rng.choice([1, 5, 40, 400]), mark)
            for mark in range(rng.randint(1, 30))
        ]
        kept = fit(lines, budget := rng.choice([64, 100, 500]))
        assert total(kept) <= budget
        assert kept[-1].role == lines[-1].role


def test_no_lines() -> None:
    assert fit([], 100) == ()
