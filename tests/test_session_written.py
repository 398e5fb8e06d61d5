"""Answers in writing: what has been shown of one was read, whoever speaks over it."""

from __future__ import annotations

import pytest

from conversation import Conversation, converse, statuses, texts
from scripted import Script
from voxtral_voice.events import ReplyText

ANSWER = " ".join(f"step{number}" for number in range(60))


def slow(parts: Script) -> None:
    """A word every 100 ms."""
    parts.understander.answer = lambda said: ANSWER
    parts.understander.token_s = 0.1


@pytest.mark.parametrize("pause_s", [1.5, 3.0])  # within the time in which a turn may go on, and after it
def test_what_was_read_of_an_interrupted_answer_stays_known(pause_s: float) -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(pause_s)
        await c.say(1.0, 22)
        await c.hush(9.0)

    c = converse(story, prepare=slow, spoken=False)
    assert statuses(c) == [("cancelled", "turn_detected"), ("completed", "")]
    first = c.all(ReplyText)[0].response_id
    shown = "".join(event.text for event in c.all(ReplyText) if event.response_id == first).strip()
    assert ANSWER.startswith(shown)
    assert 1 < len(shown.split()) < 60
    roles = [(message.role, message.text) for message in c.script.understander.seen[-1]]
    assert roles == [("user", "word11"), ("assistant", shown), ("user", "")]  # the last is still sound
    assert texts(c)[1] == ("assistant", shown)


def test_an_answer_of_which_nothing_was_shown_is_nothing_to_know_of() -> None:
    def slower(parts: Script) -> None:
        slow(parts)
        parts.understander.token_s = 4.0

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(2.5)
        await c.say(1.0, 22)
        await c.hush(2.0)

    c = converse(story, prepare=slower, spoken=False)
    assert statuses(c)[0] == ("cancelled", "turn_detected")
    (both,) = c.script.understander.seen[-1]
    assert len(both.parts) == 2
