"""What clients ask of a session, and what it tells them: whole conversations in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import numpy as np
import pytest

from conversation import Conversation, converse, one_turn, statuses, texts
from scripted import Script
from voxtral_voice import config
from voxtral_voice.events import (
    BufferCleared,
    Committed,
    Failed,
    PartialTranscript,
    ReplyAudio,
    ReplyBegun,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Transcribed,
    UserStarted,
    UserStopped,
)
from voxtral_voice.history import Item
from voxtral_voice.settings import Overrides, SessionSettings
from voxtral_voice.types import AudioPart, TextPart


def test_without_interruptions_the_reply_plays_on_and_the_next_one_waits_for_its_end() -> None:
    rules = SessionSettings.of(config.load(environ={})).rules
    assert rules is not None

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(1.0)
        await c.say(0.5, 22)
        await c.hush(8.0)

    c = converse(story, rules=replace(rules, interrupts=False))
    assert statuses(c) == [("completed", "")] * 2
    assert c.times(ReplyStarted)[1] == pytest.approx(c.times(ReplyDone)[0], abs=0.01)
    assert c.most_ahead_s() <= 0.3 + 1e-3  # nor is it heard over the end of the one before
    assert texts(c)[-1][1].startswith("You said word22")


def test_a_client_without_turn_detection_commits_and_asks_for_the_answer() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 33)
        c.session.commit()
        await c.wait(0.5)
        assert c.all(ReplyStarted) == []
        c.session.respond()
        await c.wait(5.0)

    c = converse(story, rules=None)
    assert c.kinds()[:4] == ["Committed", "ItemAdded", "Transcribed", "ReplyStarted"]
    assert c.all(UserStarted) == []
    assert texts(c)[0][1].startswith("word33")


def test_turns_that_get_no_answer_yet_are_written_down_all_the_same() -> None:
    async def story(c: Conversation) -> None:
        for level in (11, 22):
            await c.say(1.0, level)
            await c.hush(1.5)
        c.session.respond()
        await c.wait(5.0)

    c = converse(story, create_response=False)
    assert len(c.all(Transcribed)) == 2
    assert [message.text.split()[0] for message in c.script.understander.seen[-1]] == ["word11", "word22"]
    assert statuses(c) == [("completed", "")]


def test_a_commit_of_nothing_is_an_error_and_the_next_turn_works() -> None:
    async def story(c: Conversation) -> None:
        c.session.commit("event_1")
        c.session.cancel(event_id="event_2")
        await one_turn(c)

    c = converse(story, rules=None)
    assert [(e.code, e.event_id) for e in c.all(Failed)] == [
        ("input_audio_buffer_commit_empty", "event_1"),
        ("response_cancel_not_active", "event_2"),
    ]


def test_clear_forgets_the_turn_under_way() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(0.15)
        c.session.clear()
        await c.hush(2.0)
        await c.say(1.0, 22)
        await c.hush(5.0)

    c = converse(story)
    assert len(c.all(BufferCleared)) == 1
    assert [event.text for event in c.all(Transcribed)] == ["word22"]


def test_a_written_message_is_answered_aloud_or_in_writing() -> None:
    async def story(c: Conversation) -> None:
        for spoken in (True, False):
            c.session.add(Item(f"item_{spoken}", "user", TextPart("hello")))
            c.session.respond(Overrides(spoken=spoken, metadata={"topic": "greeting"}))
            await c.wait(5.0)

    c = converse(story)
    aloud, written = c.all(ReplyDone)
    assert c.audio_s(aloud.response_id) > 2
    assert c.audio_s(written.response_id) == 0
    assert [event.metadata for event in c.all(ReplyStarted)] == [{"topic": "greeting"}] * 2
    assert texts(c)[1][1] == texts(c)[3][1] == "You said hello. That is all I know about it."


def test_a_second_response_at_once_is_refused_and_a_cancelled_one_ends() -> None:
    async def story(c: Conversation) -> None:
        c.session.add(Item("item_1", "user", TextPart("hello")))
        c.session.respond()
        c.session.respond()
        await c.wait(1.0)
        c.session.cancel()
        await c.wait(1.0)

    c = converse(story)
    assert [event.code for event in c.all(Failed)] == ["conversation_already_has_active_response"]
    assert statuses(c) == [("cancelled", "client_cancelled")]


def test_the_client_knows_best_what_was_heard_of_a_reply() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(1.5)
        c.session.cancel()
        await c.hush(0.1)
        (begun,) = c.all(ReplyBegun)
        c.session.truncate(begun.item_id, 0, 500)
        await c.hush(0.1)
        assert texts(c)[-1] == ("assistant", "You said")
        c.session.truncate(begun.item_id, 0, 10_000_000)
        await c.hush(0.1)

    c = converse(story)
    assert c.all(Failed) == []
    assert texts(c)[-1][1].startswith("You said word42.")


def test_a_changed_session_discards_the_draft() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(0.15)
        c.session.configure(replace(c.session.settings, max_tokens=3))
        await c.hush(5.0)

    c = converse(story)
    assert statuses(c) == [("incomplete", "max_output_tokens")]
    assert texts(c)[-1][1] == "You said word42."


def test_an_engine_that_fails_fails_that_reply_alone() -> None:
    def fails_once(script: Script) -> None:
        answers = iter(["fail"])
        script.understander.answer = lambda said: next(answers, "It works again.")

    async def story(c: Conversation) -> None:
        for _ in range(2):
            await c.say(1.0)
            await c.hush(4.0)

    c = converse(story, prepare=fails_once)
    assert statuses(c) == [("failed", "out_of_memory"), ("completed", "")]


def test_partial_words_come_while_the_user_speaks_for_clients_that_asked() -> None:
    async def story(c: Conversation) -> None:
        await c.say(3.0)
        await c.hush(1.0)

    c = converse(story, partials=True)
    partials = c.all(PartialTranscript)
    assert len(partials) >= 2
    assert partials[1].text.startswith(partials[0].text)
    assert c.times(PartialTranscript)[-1] < c.times(Committed)[0]
    assert converse(story).all(PartialTranscript) == []


@pytest.mark.parametrize("at", [0.3, 1.05, 1.15, 1.25, 1.6, 2.5, 4.0])
def test_a_client_may_leave_at_any_moment(at: float) -> None:
    async def story(c: Conversation) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(one_turn(c), at)

    c = converse(story)  # `run` fails where a task is left behind
    assert c.script.understander.running == 0
    assert not any(worker.busy for worker in c.script.workers)


def test_deleting_the_reply_that_is_being_spoken_ends_it() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(1.5)
        c.session.delete(c.all(ReplyBegun)[0].item_id)
        await c.hush(2.0)

    c = converse(story)
    assert statuses(c) == [("cancelled", "client_cancelled")]
    assert [role for role, _ in texts(c)] == ["user"]
    assert c.times(ReplyAudio)[-1] <= c.times(ReplyDone)[0]


def test_detection_switched_off_in_mid_turn_keeps_what_was_said_for_the_commit() -> None:
    async def story(c: Conversation) -> None:
        before = c.session.settings
        await c.say(1.0, 11)
        c.session.configure(replace(before, rules=None))
        await c.say(1.0, 11)
        c.session.commit()
        c.session.respond()
        await c.wait(5.0)
        await c.say(1.0, 22)
        c.session.configure(before)
        await c.hush(2.0)

    c = converse(story)
    assert c.kinds(ReplyText, ReplyAudio)[:4] == ["UserStarted", "UserStopped", "Committed", "ItemAdded"]
    assert c.all(UserStarted)[0].item_id == c.all(UserStopped)[0].item_id == c.all(Committed)[0].item_id
    part = c.script.understander.seen[-1][0].parts[0]
    assert isinstance(part, AudioPart)
    assert len(part.pcm) == pytest.approx(2 * 16_000, abs=1_000)
    assert len(c.all(BufferCleared)) == 1  # what was said and not committed is gone, and the client knows


def test_the_words_of_a_turn_whose_reply_was_cancelled_are_written_down() -> None:
    def slow(script: Script) -> None:
        script.understander.hear_s = 1.0

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(0.6)
        c.session.cancel()
        await c.hush(4.0)

    c = converse(story, prepare=slow)
    assert statuses(c) == [("cancelled", "client_cancelled")]
    assert texts(c)[0][1].startswith("word11")
    assert len(c.all(Transcribed)) == 1


def test_what_the_client_says_was_heard_stays_what_was_heard() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(2.0)
        c.session.truncate(c.all(ReplyBegun)[0].item_id, 0, 500)
        await c.hush(0.2)
        c.session.cancel()
        await c.hush(0.2)

    assert texts(converse(story))[-1] == ("assistant", "You said")


def test_frames_of_half_a_second_have_no_holes() -> None:
    async def story(c: Conversation) -> None:
        for _ in range(6):
            c.session.hear(np.full(8_000, 0.42, np.float32))
            await c.wait(0.5)
        await c.hush(5.0)

    c = converse(story)
    assert len(c.all(Committed)) == 1
    assert c.all(UserStopped)[0].at_ms == pytest.approx(3000, abs=40)


def test_a_reply_stands_behind_what_it_answers_though_the_user_spoke_meanwhile() -> None:
    def slow(script: Script) -> None:
        script.synthesizer.clause_s = 2.5

    rules = SessionSettings.of(config.load(environ={})).rules
    assert rules is not None

    async def story(c: Conversation) -> None:
        await c.say(0.5, 11)
        await c.hush(0.5)
        await c.say(0.5, 22)
        await c.hush(16.0)

    c = converse(story, prepare=slow, rules=replace(rules, interrupts=False))
    assert statuses(c) == [("completed", "")] * 2
    assert [role for role, _ in texts(c)] == ["user", "assistant"] * 2
    assert texts(c)[3][1].startswith("You said word22")
