"""Things that happen in the middle of other things: what a client asks while the user speaks, and the reverse."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from conversation import Conversation, converse, one_turn, statuses, texts
from scripted import Script
from voxtral_voice import config
from voxtral_voice.events import (
    BufferCleared,
    Committed,
    Ducked,
    Event,
    Failed,
    ItemAdded,
    ItemDeleted,
    ReplyAudio,
    ReplyBegun,
    ReplyDone,
    ReplyStarted,
    Transcribed,
    Unducked,
    UserStarted,
)
from voxtral_voice.history import Item
from voxtral_voice.settings import SessionSettings
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, AudioPart, Cancel, Heard, Pcm, Step, TextPart


def rules(*, interrupts: bool = True) -> TurnRules:
    found = SessionSettings.of(config.load(environ={})).rules
    assert found is not None
    return replace(found, interrupts=interrupts)


def spoken(item_id: str, level: int) -> Item:
    return Item(item_id, "user", AudioPart(np.full(8_000, level / 100, np.float32)), spoken=True)


def written(item_id: str, text: str = "hello") -> Item:
    return Item(item_id, "user", TextPart(text))


def unfinished(script: Script) -> None:
    script.endpoint.value = 0.05


# A response asked for while the user speaks.


@pytest.mark.parametrize("interrupts", [True, False])
def test_a_response_asked_for_in_mid_speech_ends_when_the_user_goes_on_after_a_pause(interrupts: bool) -> None:
    async def story(c: Conversation) -> None:
        c.session.add(written("item_1"))
        await c.say(0.5, 11)
        c.session.respond()
        await c.say(0.5, 11)
        await c.hush(0.3)
        await c.say(1.0, 11)
        await c.hush(9.0)

    c = converse(story, prepare=unfinished, rules=rules(interrupts=interrupts))
    first = ("cancelled", "turn_detected") if interrupts else ("completed", "")
    assert statuses(c) == [first, ("completed", "")]
    assert texts(c)[-1][1].startswith("You said word11")
    if interrupts:
        assert c.times(ReplyDone)[0] == pytest.approx(1.3 + 0.1, abs=0.05)


def test_a_response_asked_for_in_mid_speech_gives_way_to_the_answer_to_all_of_it() -> None:
    async def story(c: Conversation) -> None:
        c.session.add(written("item_1"))
        await c.say(0.5, 11)
        c.session.respond()
        await c.say(0.5, 11)
        await c.hush(5.0)

    c = converse(story)
    assert statuses(c) == [("cancelled", "turn_detected"), ("completed", "")]
    assert c.times(ReplyStarted)[1] == pytest.approx(1.0 + 0.35, abs=0.1)
    assert texts(c)[-1][1].startswith("You said word11")


def test_where_the_client_decides_on_answers_the_end_of_speech_stops_none() -> None:
    async def story(c: Conversation) -> None:
        c.session.add(written("item_1"))
        await c.say(0.5, 11)
        c.session.respond()
        await c.say(0.5, 11)
        await c.hush(5.0)

    c = converse(story, create_response=False)
    assert statuses(c) == [("completed", "")]


def test_whoever_talked_past_the_limit_hears_the_answer_to_the_first_part_out() -> None:
    async def story(c: Conversation) -> None:
        await c.say(5.5)
        await c.hush(0.3)
        await c.say(0.5)
        await c.hush(9.0)

    c = converse(story, prepare=unfinished, overrides={"turns.max_turn_ms": 5000})
    assert statuses(c) == [("completed", "")] * 2


# Replies one behind the other.


def test_a_reply_that_waited_is_not_heard_over_the_end_of_the_one_before() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(1.0)
        await c.say(0.5, 22)
        await c.hush(8.0)

    c = converse(story, rules=rules(interrupts=False))
    start, sent = c.times(ReplyAudio)[0], 0.0
    for at, event in c.log:
        if isinstance(event, ReplyAudio):
            sent += len(event.pcm) / SPEAK_HZ
            assert sent - (at - start) <= 0.3 + 1e-6  # both replies on one loudspeaker


def test_an_interruption_silences_the_end_of_the_reply_before_as_well() -> None:
    def one_word(script: Script) -> None:
        script.understander.answer = lambda said: "Yes indeed."
        script.synthesizer.clause_s = 0.02

    async def story(c: Conversation) -> None:
        c.session.add(written("item_1"))
        c.session.respond()
        while len(c.all(ReplyDone)) < 1:  # noqa: ASYNC110 (in virtual time)
            await c.wait(0.01)
        c.session.respond()
        await c.wait(0.1)
        c.session.cancel()
        await c.wait(0.2)

    c = converse(story, prepare=one_word)
    assert statuses(c) == [("completed", ""), ("cancelled", "client_cancelled")]
    assert texts(c)[1] == ("assistant", "Yes")  # its last 300 ms were still to be heard


def test_turns_count_up_without_a_gap_over_an_interruption() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(2.0)
        await c.say(0.8, 22)
        await c.hush(6.0)

    c = converse(story)
    assert [event.turn for event in c.all(UserStarted)] == [event.turn for event in c.all(ReplyDone)] == [1, 2]


# Turning the reply down, and up again.


async def switch_off(c: Conversation) -> None:
    c.session.configure(replace(c.session.settings, rules=None))


async def clear(c: Conversation) -> None:
    c.session.clear()


async def want_it_no_more(c: Conversation) -> None:
    c.session.configure(replace(c.session.settings, ducks=False))


async def go_on(c: Conversation) -> None:
    await c.say(0.4)


@pytest.mark.parametrize("act", [switch_off, clear, want_it_no_more, go_on], ids=lambda act: act.__name__)
def test_whoever_turned_the_reply_down_is_told_to_turn_it_up_again(
    act: Callable[[Conversation], object],
) -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(1.5)
        await c.say(0.2)
        assert len(c.all(Ducked)) == 1
        await act(c)  # type: ignore[misc]
        await c.hush(4.0)

    c = converse(story, ducks=True)
    names = [type(e).__name__ for _, e in c.log if isinstance(e, (Ducked, Unducked, UserStarted, BufferCleared))]
    assert names.count("Ducked") == names.count("Unducked")
    if act is go_on:  # after the flush: what is about to be thrown away must not come back loud
        assert names[1:] == ["Ducked", "UserStarted", "Unducked"]


# Words that nobody's reply listens to.


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


# What a conversation holds.


def test_an_item_that_is_refused_does_not_cost_the_draft() -> None:
    async def story(c: Conversation) -> None:
        c.session.add(written("item_1"))
        await c.say(1.0)
        await c.hush(0.2)
        c.session.add(written("item_1", "again"), event_id="event_1")
        await c.hush(5.0)

    c = converse(story)
    assert [event.event_id for event in c.all(Failed)] == ["event_1"]
    assert len(c.script.understander.seen) == 1


def test_the_id_of_the_turn_under_way_cannot_be_taken() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(0.2)
        c.session.add(written(c.all(UserStarted)[0].item_id), event_id="event_1")
        await c.hush(5.0)

    c = converse(story)
    assert [(event.code, event.event_id) for event in c.all(Failed)] == [("invalid_event", "event_1")]
    assert len(c.all(Committed)) == 1
    assert statuses(c) == [("completed", "")]


def test_a_full_conversation_takes_no_more_of_the_clients_items() -> None:
    async def story(c: Conversation) -> None:
        for index in range(18):
            c.session.add(written(f"item_{index}"))
        c.session.delete("item_0")
        c.session.add(written("item_18"))
        c.session.delete("item_18")
        c.session.add(written("item_large", "x" * (1 << 20)))
        await c.wait(0.1)

    c = converse(story, overrides={"limits.conversation_items": 16, "limits.conversation_bytes": 1 << 20})
    assert [(event.code, event.param) for event in c.all(Failed)] == [
        ("invalid_event", "item"),
        ("invalid_event", "item"),
        ("invalid_event", "item.content"),
    ]
    assert len(c.all(ItemAdded)) == 17


def test_in_a_full_conversation_what_is_said_makes_the_oldest_items_go_and_the_client_is_told() -> None:
    async def story(c: Conversation) -> None:
        for index in range(16):
            c.session.add(written(f"item_{index}"))
        await one_turn(c)

    c = converse(story, overrides={"limits.conversation_items": 16})
    assert statuses(c) == [("completed", "")]
    assert [event.item_id for event in c.all(ItemDeleted)] == ["item_0", "item_1"]
    assert len(c.session.items()) == 16
    (begun,) = c.all(ReplyBegun)
    assert c.session.items()[-1].id == begun.item_id
    assert all(isinstance(event, Event) for _, event in c.log)


def test_a_reply_under_way_stays_when_the_oldest_items_go() -> None:
    def long(script: Script) -> None:
        script.understander.answer = lambda said: "And so on and on. " * 10

    async def story(c: Conversation) -> None:
        c.session.add(written("item_1"))
        c.session.respond()
        await c.wait(1.0)
        for _ in range(20):
            await c.say(0.1)
            c.session.commit()
        await c.wait(12.0)

    c = converse(story, prepare=long, rules=None, overrides={"limits.conversation_items": 16})
    (done,) = c.all(ReplyDone)
    assert done.item is not None
    assert len(c.all(ItemDeleted)) == 6
    assert done.item.id not in [event.item_id for event in c.all(ItemDeleted)]
    assert len(c.session.items()) == 16


# What has not begun when it is given up.


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


def test_a_silence_longer_than_the_longest_turn_does_not_cost_its_first_words() -> None:
    patient = replace(rules(), grades=((0.0, 60 * HEAR_HZ),), asks_endpoint=False)

    async def story(c: Conversation) -> None:
        await c.say(0.5, 11)
        await c.say(3.0, 22)
        await c.wait(14.0)

    c = converse(story, rules=replace(patient, longest=5 * HEAR_HZ), overrides={"turns.max_turn_ms": 5000})
    part = c.script.understander.seen[-1][0].parts[0]
    assert isinstance(part, AudioPart)
    assert np.count_nonzero(part.pcm > 0.1) == round(3.5 * HEAR_HZ)
    assert len(c.all(Committed)) == 1
