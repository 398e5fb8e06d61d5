"""What no reply listens to, written down: partial words, turns without an answer, messages that the client sends."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import pytest

from conversation import Conversation, converse, statuses
from scripted import Script
from voxtral_voice.events import Transcribed
from voxtral_voice.history import Item
from voxtral_voice.types import HEAR_HZ, AudioPart, Cancel, Heard, Pcm, Step, TextPart


def spoken(item_id: str, level: int) -> Item:
    return Item(item_id, "user", AudioPart(np.full(8_000, level / 100, np.float32)), spoken=True)


def written(item_id: str) -> Item:
    return Item(item_id, "user", TextPart("hello"))


def test_partial_words_are_given_up_when_the_user_pauses() -> None:
    running: list[int] = []

    def slow(script: Script) -> None:
        def transcribe(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard | Step]:
            running.append(1)
            try:
                for _ in range(100):
                    script.understander.sleep(0.05)
                    yield Step()
                yield Heard("never", 0, "en")
            finally:
                running.pop()

        script.understander.transcribe = transcribe  # type: ignore[method-assign,assignment]

    async def story(c: Conversation) -> None:
        await c.say(1.5)
        assert running
        await c.hush(0.3)
        assert not running
        await c.hush(5.0)

    c = converse(story, prepare=slow, partials=True)
    assert statuses(c) == [("completed", "")]


def test_of_what_is_said_over_a_reply_one_bit_is_recognised_at_a_time_and_then_the_latest() -> None:
    begun: list[str] = []
    told: list[str] = []

    def slow(script: Script) -> None:
        def transcribe(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            begun.append(str(len(pcm)))
            script.understander.sleep(0.5)
            yield Heard(str(len(pcm)), 0, "en")

        script.understander.transcribe = transcribe  # type: ignore[method-assign]

    async def story(c: Conversation) -> None:
        for samples in (100, 200, 300):
            item = Item("", "user", AudioPart(np.zeros(samples, np.float32)), spoken=True)
            c.session._floor._scribe.overhear(item, told.append)
        await c.hush(3.0)

    converse(story, prepare=slow)
    assert begun == told == ["100", "300"]


def test_turns_without_an_answer_are_written_down_one_at_a_time() -> None:
    most: list[int] = []

    def counted(script: Script) -> None:
        transcribe, running = script.understander.transcribe, list[int]()

        def counting(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            running.append(1)
            most.append(len(running))
            yield from transcribe(pcm, language, cancel)
            running.pop()

        script.understander.transcribe = counting  # type: ignore[method-assign]
        script.understander.hear_s = 2.0

    async def story(c: Conversation) -> None:
        for level in (11, 22, 33):
            await c.say(0.4, level)
            c.session.commit()
        await c.wait(8.0)

    c = converse(story, prepare=counted, rules=None)
    assert [event.text for event in c.all(Transcribed)] == ["word11", "word22", "word33"]
    assert most == [1, 1, 1]


def test_a_spoken_message_of_the_clients_is_written_down_once_something_stands_behind_it() -> None:
    async def story(c: Conversation) -> None:
        c.session.add(spoken("item_1", 11))
        await c.wait(1.0)
        assert c.all(Transcribed) == []  # whoever asks for an answer next gets one that has heard it
        c.session.add(written("item_2"))
        await c.wait(1.0)

    c = converse(story)
    assert [(event.item_id, event.text.split()[0]) for event in c.all(Transcribed)] == [("item_1", "word11")]


def test_a_spoken_message_that_an_answer_was_made_without_hearing_is_written_down_after_it() -> None:
    async def story(c: Conversation) -> None:
        c.session.add(spoken("item_1", 11))
        c.session.add(written("item_2"))
        c.session.add(spoken("item_3", 33))
        c.session.respond()
        await c.wait(6.0)

    c = converse(story)
    assert {event.item_id for event in c.all(Transcribed)} == {"item_1", "item_3"}
    assert len(c.all(Transcribed)) == 2


async def forget(c: Conversation) -> None:
    c.session.clear()
    await c.wait(0.5)


async def leave(c: Conversation) -> None:
    pass


@pytest.mark.parametrize("act", [forget, leave], ids=lambda act: act.__name__)
@pytest.mark.filterwarnings("error")
def test_partial_words_may_be_given_up_before_they_are_begun(act: Callable[[Conversation], Awaitable[None]]) -> None:
    async def story(c: Conversation) -> None:
        await c.say(0.3)
        c.session.hear(np.full(HEAR_HZ, 0.42, np.float32))  # enough for the words so far to be asked for
        await act(c)

    converse(story, partials=True)
    gc.collect()  # a coroutine that nobody awaited complains here
