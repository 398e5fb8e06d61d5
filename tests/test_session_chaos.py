"""Clients and users that do anything at any moment: whatever happens, what a listener relies on holds.

Random conversations in virtual time. A seed that fails is printed; `converse_at_random(seed)` plays it again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest

from conversation import Conversation, converse
from scripted import Script
from voxtral_voice import config
from voxtral_voice.events import (
    Committed,
    Ducked,
    Failed,
    ItemAdded,
    ItemDeleted,
    ReplyAudio,
    ReplyBegun,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Transcribed,
    Unducked,
    UserStarted,
)
from voxtral_voice.history import Item
from voxtral_voice.server.server_events import Translator
from voxtral_voice.server.wire_session import WireSession
from voxtral_voice.settings import Overrides
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import SPEAK_HZ, AudioPart, TextPart

SEEDS = 12
STEPS = 40
LEAD_S = 0.3
CONFIG = config.load(environ={})
EXPECTED_ERRORS = {
    "invalid_event",
    "conversation_already_has_active_response",
    "response_cancel_not_active",
    "input_audio_buffer_commit_empty",
    "item_retrieve_invalid_item_id",
}


class Chaos:
    """One random conversation."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.did: list[str] = []

    def prepare(self, parts: Script) -> None:
        chance = self.chance
        parts.endpoint.value = chance.choice([0.05, 0.3, 0.95])
        parts.understander.hear_s = chance.choice([0.01, 0.1, 0.8])
        parts.understander.token_s = chance.choice([0.001, 0.02, 0.1])
        parts.synthesizer.clause_s = chance.choice([0.02, 0.1, 0.6])
        parts.synthesizer.word_s = chance.choice([0.05, 0.25])
        long = "So it goes on and on, and on. " * 4
        parts.understander.answer = lambda said: chance.choice([long, long, long, long, "Yes.", "fail"])

    async def story(self, c: Conversation) -> None:
        acts = (
            [self.say] * 3 + [self.hush] * 3 + [self.meddle] * 3 + [self.stall, self.burst, self.command, self.settle]
        )
        c.session.configure(replace(c.session.settings, ducks=True, partials=True))
        for _ in range(STEPS):
            await self.chance.choice(acts)(c)
        # Whatever came before, a plain turn works.
        c.session.clear()
        semantic = TurnRules.semantic(CONFIG.turns, CONFIG.vad)
        c.session.configure(replace(c.session.settings, rules=semantic, create_response=True))
        c.script.understander.answer = lambda said: "It works."
        c.script.endpoint.value = 0.95
        await c.hush(30.0)
        self.quiet_at = c.now
        await c.say(0.6, 77)
        await c.hush(10.0)

    async def say(self, c: Conversation) -> None:
        await c.say(self.chance.choice([0.06, 0.12, 0.2, 0.4, 1.2]), self.chance.randrange(10, 90))

    async def hush(self, c: Conversation) -> None:
        await c.hush(self.chance.choice([0.04, 0.1, 0.3, 0.6, 1.5]))

    async def settle(self, c: Conversation) -> None:
        await c.hush(4.0)

    async def stall(self, c: Conversation) -> None:
        await c.wait(self.chance.choice([0.05, 0.3, 1.0]))

    async def burst(self, c: Conversation) -> None:
        for _ in range(self.chance.randrange(1, 4)):
            loud = self.chance.random() < 0.6
            c.session.hear(np.full(self.chance.randrange(1, 20_000), 0.42 if loud else 0.0, np.float32))

    async def command(self, c: Conversation) -> None:
        """Several at once now and then: nothing happens between them."""
        for _ in range(self.chance.choice([1, 1, 1, 2, 4])):
            act = self.chance.choice(COMMANDS)
            self.did.append(f"{c.now:.2f} {act.__name__}")
            act(self, c)

    async def meddle(self, c: Conversation) -> None:
        """Over a reply, with a cough and without."""
        c.session.respond()
        await c.hush(self.chance.choice([0.3, 1.0, 1.5]))
        if self.chance.random() < 0.5:
            await c.say(0.18)
        await self.command(c)

    def commit(self, c: Conversation) -> None:
        c.session.commit()

    def clear(self, c: Conversation) -> None:
        c.session.clear()

    def respond(self, c: Conversation) -> None:
        c.session.respond(Overrides(spoken=self.chance.choice([None, None, False])))

    def cancel(self, c: Conversation) -> None:
        c.session.cancel()

    def add(self, c: Conversation) -> None:
        item_id = self.chance.choice([f"item_{self.chance.randrange(12)}", self.any_item(c)])
        sound = AudioPart(np.full(4_000, 0.5, np.float32))
        part = sound if self.chance.random() < 0.5 else TextPart("hello")
        after = self.chance.choice([None, None, "root", self.any_item(c)])
        c.session.add(Item(item_id, "user", part, spoken=part is sound), after)

    def delete(self, c: Conversation) -> None:
        c.session.delete(self.any_item(c))

    def truncate(self, c: Conversation) -> None:
        c.session.truncate(self.any_item(c), 0, self.chance.randrange(3000))

    def configure(self, c: Conversation) -> None:
        interrupts = self.chance.random() < 0.7
        semantic = TurnRules.semantic(CONFIG.turns, CONFIG.vad, interrupts=interrupts)
        silence = TurnRules.silence(
            CONFIG.turns, CONFIG.vad, threshold=0.5, prefix_ms=300, silence_ms=200, interrupts=interrupts
        )
        change: dict[str, object] = self.chance.choice(
            [
                {"rules": self.chance.choice([None, semantic, silence])},
                {"create_response": self.chance.random() < 0.7},
                {"ducks": self.chance.random() < 0.7},
                {"partials": self.chance.random() < 0.7},
            ]
        )
        c.session.configure(replace(c.session.settings, **change))  # type: ignore[arg-type]

    def any_item(self, c: Conversation) -> str:
        known = [item.id for item in c.session.items()]
        opened = [event.item_id for event in c.all(UserStarted)[-1:]]
        begun = [event.item_id for event in c.all(ReplyBegun)[-1:]]
        return self.chance.choice([*known, *opened * 3, *begun * 3, "item_none"])


COMMANDS: list[Callable[[Chaos, Conversation], None]] = [
    Chaos.commit,
    Chaos.clear,
    Chaos.respond,
    Chaos.respond,
    Chaos.cancel,
    Chaos.add,
    Chaos.delete,
    Chaos.truncate,
    Chaos.configure,
    Chaos.configure,
]


def converse_at_random(seed: int) -> tuple[Chaos, Conversation]:
    chaos = Chaos(seed)
    story: Callable[[Conversation], Awaitable[None]] = chaos.story
    return chaos, converse(story, prepare=chaos.prepare, metrics=True)


def check_replies(c: Conversation) -> None:
    """One at a time, each begun and ended once, its words and sound inside."""
    active, begun = "", ""
    for _, event in c.log:
        match event:
            case ReplyStarted():
                assert active == "", "two replies at once"
                active, begun = event.response_id, ""
            case ReplyBegun():
                assert (event.response_id, begun) == (active, "")
                begun = event.item_id
            case ReplyText() | ReplyAudio():
                assert (event.response_id, event.item_id) == (active, begun)
            case ReplyDone():
                assert event.response_id == active
                active = ""
    assert active == "", "a reply without an end"


def check_loudspeaker(c: Conversation) -> None:
    """All replies come out of one: never more than the lead is waiting to be heard."""
    play_end = 0.0
    for at, event in c.log:
        if isinstance(event, ReplyAudio):
            play_end = max(play_end, at) + len(event.pcm) / SPEAK_HZ
            assert play_end - at <= LEAD_S + 1e-3
        elif isinstance(event, UserStarted) or (isinstance(event, ReplyDone) and event.status == "cancelled"):
            play_end = min(play_end, at)


def check_ducks(c: Conversation) -> None:
    told = [type(event) for _, event in c.log if isinstance(event, (Ducked, Unducked))]
    assert told == [Ducked, Unducked] * (len(told) // 2)


def check_words(c: Conversation) -> None:
    """Every spoken turn is written down, once."""
    written = [event.item_id for event in c.all(Transcribed)]
    deleted = {event.item_id for event in c.all(ItemDeleted)}
    assert len(written) == len(set(written)) or deleted
    missing = {event.item_id for event in c.all(Committed)} - set(written) - deleted
    assert not missing, f"never written down: {missing}"


def check_items(c: Conversation) -> None:
    """What the client has been told of is what there is."""
    told: list[str] = []
    for _, event in c.log:
        if isinstance(event, ItemAdded):
            told.append(event.item.id)
        elif isinstance(event, ReplyBegun):
            told.append(event.item_id)
        elif isinstance(event, ItemDeleted):
            told.remove(event.item_id)
    assert sorted(told) == sorted(item.id for item in c.session.items())
    assert all(item.status != "in_progress" for item in c.session.items())


def check_wire(c: Conversation) -> None:
    """Every event has its message, and every item that is added in a response is closed in it."""
    translator = Translator(WireSession(CONFIG, "test").object)
    opened: set[str] = set()
    for _, event in c.log:
        for message in translator.translate(event):
            kind = message["type"]
            if kind == "response.output_item.added":
                opened.add(message["item"]["id"])
            elif kind == "response.output_item.done":
                opened.remove(message["item"]["id"])
            elif kind == "response.done":
                assert not opened


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_what_a_listener_relies_on_holds(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chaos, c = converse_at_random(seed)
    assert {event.code for event in c.all(Failed)} <= EXPECTED_ERRORS
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    for check in (check_replies, check_loudspeaker, check_ducks, check_words, check_items, check_wire):
        check(c)
    last = c.all(ReplyDone)[-1]
    assert last.status == "completed"
    assert last.item is not None
    assert last.item.text == "It works."
    assert [at for at in c.times(ReplyDone) if at > chaos.quiet_at], "the last turn had no answer"
    assert not c.session.busy
    assert c.script.understander.running == 0
