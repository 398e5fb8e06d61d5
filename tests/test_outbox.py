"""The last hop before a client: what is stale dies here, and who does not read is noticed."""

from __future__ import annotations

import asyncio

import numpy as np

from voxtral_voice.events import Event, ItemRetrieved, ReplyAudio, ReplyDone, ReplyText, UserStarted
from voxtral_voice.history import Item
from voxtral_voice.outbox import Outbox
from voxtral_voice.types import TextPart


def sound(turn: int, samples: int = 960) -> ReplyAudio:
    return ReplyAudio(turn, f"resp_{turn}", "item", np.zeros(samples, np.float32))


def words(turn: int) -> ReplyText:
    return ReplyText(turn, f"resp_{turn}", "item", "hello")


def done(turn: int) -> ReplyDone:
    return ReplyDone(turn, f"resp_{turn}", None, "cancelled", "turn_detected")


async def all_of(box: Outbox) -> list[Event]:
    box.close()
    return [event async for event in box.events()]


async def test_events_come_in_order_and_end_when_it_is_closed() -> None:
    box = Outbox(1 << 20)
    put = [UserStarted(1, "item", 0), words(1), sound(1), done(1)]
    for event in put:
        box.put(event)
    assert await all_of(box) == put


async def test_who_waits_is_woken_by_what_comes() -> None:
    box, seen = Outbox(1 << 20), list[Event]()

    async def listen() -> None:
        async for event in box.events():
            seen.append(event)

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    for turn in (1, 2):
        box.put(done(turn))
        await asyncio.sleep(0.01)
        assert len(seen) == turn
    box.close()
    await task


async def test_sound_and_words_of_an_old_turn_are_dropped_and_nothing_else() -> None:
    box = Outbox(1 << 20)
    for event in (done(1), words(1), sound(1), UserStarted(2, "item", 0)):
        box.put(event)
    box.drop_before(2)
    for event in (sound(1), done(1), words(2), sound(2)):  # what was still on its way, too
        box.put(event)
    assert [(type(event).__name__, event.turn) for event in await all_of(box)] == [
        ("ReplyDone", 1),
        ("UserStarted", 2),
        ("ReplyDone", 1),
        ("ReplyText", 2),
        ("ReplyAudio", 2),
    ]


async def test_a_decision_between_two_packets_stops_the_second() -> None:
    box = Outbox(1 << 20)
    for _ in range(2):
        box.put(sound(1))
    events = box.events()
    await anext(events)
    box.drop_before(2)
    box.close()
    assert [event async for event in events] == []


async def test_sound_that_is_not_taken_fills_it_up_and_what_is_taken_does_not() -> None:
    box = Outbox(100_000)
    events = box.events()
    for _ in range(200):
        box.put(sound(1))
        await anext(events)
    assert not box.overfull.is_set()
    for _ in range(60):
        box.put(sound(1))
    assert box.overfull.is_set()


async def test_answers_without_sound_fill_it_up_too() -> None:
    many = Outbox(100_000)
    for _ in range(1000):
        many.put(done(1))
    assert many.overfull.is_set()
    long = Outbox(100_000)
    long.put(ItemRetrieved(1, Item("item", "user", TextPart("x" * 200_000))))
    assert long.overfull.is_set()
