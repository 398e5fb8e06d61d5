"""What a conversation lets go of, so that an hour of it takes as little memory as a minute."""

from __future__ import annotations

import gc
import logging
import tracemalloc

import pytest

from conversation import Conversation, converse
from scripted import Script
from voxtral_voice.events import Committed, Transcribed
from voxtral_voice.types import AudioPart

A_TURN_BYTES = 64_000  # a second of the user's sound in floats; its answer is four times that


async def turns(c: Conversation, count: int) -> None:
    for _ in range(count):
        await c.say(1.0)
        await c.hush(4.0)


def sounds(c: Conversation) -> list[bool]:
    """Of each turn of the user's, whether its sound is kept."""
    return [isinstance(item.part, AudioPart) for item in c.session.items() if item.role == "user"]


def test_sound_goes_once_its_words_are_known() -> None:
    c = converse(lambda c: turns(c, 3))
    assert sounds(c) == [False] * 3
    assert [item.text for item in c.session.items() if item.role == "user"] == ["word42"] * 3


def test_a_model_that_hears_the_last_turns_again_finds_their_sound() -> None:
    def hears_two(parts: Script) -> None:
        parts.understander.audio_turns = 2

    c = converse(lambda c: turns(c, 4), prepare=hears_two)
    assert sounds(c) == [False, False, True, True]


def test_a_long_conversation_takes_no_more_memory_than_a_short_one() -> None:
    taken: list[int] = []

    def look(c: Conversation) -> None:
        c.log.clear()  # what the listener and the engine of this test remember
        c.script.understander.seen.clear()
        gc.collect()
        taken.append(tracemalloc.get_traced_memory()[0])

    async def story(c: Conversation) -> None:
        for _ in range(3):
            await turns(c, 6)
            await c.hush(30.0)
            look(c)
        c.script.understander.answer = lambda said: "one more word of very many " * 10
        await c.say(20.0)
        await c.hush(30.0)
        look(c)

    logging.disable()  # the tests remember every line
    tracemalloc.start()
    try:
        converse(story)
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)
    assert len(taken) == 4
    assert max(taken) - taken[0] < A_TURN_BYTES  # no sound of twelve turns, of the long one, its answer


def test_what_detection_took_for_silence_can_be_committed_as_far_as_it_is_kept() -> None:
    async def story(c: Conversation) -> None:
        await c.hush(90.0)  # longer than any turn may be
        await c.say(0.06)  # too short for detection
        c.session.commit()
        await c.hush(3.0)

    c = converse(story)
    assert len(c.all(Committed)) == 1
    (heard,) = c.all(Transcribed)
    assert heard.text == "word42"
    assert heard.seconds == pytest.approx(3.5, abs=0.4)
