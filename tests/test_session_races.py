"""Things that happen in the middle of other things: what a client asks while the user speaks, and the reverse."""

from __future__ import annotations

from collections.abc import Callable
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
    Failed,
    ItemAdded,
    ItemDeleted,
    ReplyBegun,
    ReplyDone,
    ReplyStarted,
    Unducked,
    UserStarted,
)
from voxtral_voice.history import Item
from voxtral_voice.settings import SessionSettings
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import HEAR_HZ, AudioPart, TextPart


def rules(*, interrupts: bool = True) -> TurnRules:
    found = SessionSettings.of(config.load(environ={})).rules
    assert found is not None
    return replace(found, interrupts=interrupts)


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


def test_the_id_of_a_turn_is_free_again_once_its_item_is_deleted_or_the_turn_forgotten() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(5.0)
        said = c.all(UserStarted)[0].item_id
        c.session.delete(said)
        c.session.add(written(said))
        await c.say(1.0)
        c.session.clear()
        await c.wait(0.1)
        c.session.add(written(c.all(UserStarted)[1].item_id))
        await c.wait(0.1)

    assert converse(story).all(Failed) == []


def test_a_turn_that_waits_behind_a_reply_is_answered_when_that_replys_item_is_deleted() -> None:
    rules = SessionSettings.of(config.load(environ={})).rules
    assert rules is not None

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(1.0)
        await c.say(0.5, 22)
        await c.hush(0.5)
        (reply,) = [item.id for item in c.session.items() if item.role == "assistant"]
        c.session.delete(reply)
        await c.hush(8.0)

    c = converse(story, rules=replace(rules, interrupts=False))
    assert statuses(c) == [("cancelled", "client_cancelled"), ("completed", "")]
    assert texts(c)[-1][1].startswith("You said word22")


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
