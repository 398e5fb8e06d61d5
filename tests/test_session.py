"""Whole conversations in virtual time: what happens, in which order, and when."""

from __future__ import annotations

import numpy as np
import pytest

from conversation import Conversation, converse, one_turn, statuses, texts
from scripted import Script
from voxtral_voice.events import (
    Committed,
    Ducked,
    Event,
    ReplyAudio,
    ReplyBegun,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Transcribed,
    TurnMetrics,
    Unducked,
    UserStarted,
    UserStopped,
)
from voxtral_voice.history import Item
from voxtral_voice.types import AudioPart, Pcm, TextPart

PLAIN_TURN = [
    "UserStarted",
    "UserStopped",
    "Committed",
    "ItemAdded",
    "Transcribed",
    "ReplyStarted",
    "ReplyBegun",
    "ReplyText",
    "ReplyAudio",
]


def test_a_plain_turn_is_heard_answered_and_remembered() -> None:
    c = converse(one_turn)
    kinds = c.kinds()
    assert kinds[:9] == PLAIN_TURN
    assert kinds[-1] == "ReplyDone"
    assert statuses(c) == [("completed", "")]
    assert texts(c) == [("user", "word42"), ("assistant", "You said word42. That is all I know about it.")]


def test_thinking_hides_behind_the_pause_so_that_sound_follows_the_turns_end_at_once() -> None:
    c = converse(one_turn, metrics=True)
    stopped, first_sound = c.times(UserStopped)[0], c.times(ReplyAudio)[0]
    assert stopped == pytest.approx(1.5 + 0.3, abs=0.07)  # the sentence sounds finished: 300 ms of silence
    assert first_sound - stopped < 0.2  # the draft began 100 ms into the silence
    (metrics,) = c.all(TurnMetrics)
    order = ["think_start", "heard", "first_delta", "first_clause", "first_pcm", "first_sent"]
    assert [metrics.marks_ms[stage] for stage in order] == sorted(metrics.marks_ms[stage] for stage in order)
    assert metrics.marks_ms["voice_to_voice_sent_ms"] == pytest.approx((first_sound - 1.5) * 1000, abs=40)


def test_sound_goes_out_at_most_300_ms_ahead_of_real_time() -> None:
    c = converse(one_turn)
    assert 0.2 < c.most_ahead_s() <= 0.3 + 1e-3
    assert all(0.02 <= len(event.pcm) / 24_000 <= 0.2 for event in c.all(ReplyAudio))


def test_a_pause_inside_a_thought_does_not_end_the_turn_and_its_draft_is_never_seen() -> None:
    def unfinished(script: Script) -> None:
        script.endpoint.value = 0.05

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(0.7)
        await c.say(0.5, 22)
        await c.hush(4.0)

    c = converse(story, prepare=unfinished)
    assert len(c.all(Committed)) == len(c.all(ReplyStarted)) == 1
    assert [event.text for event in c.all(Transcribed)] == ["word22"]
    assert c.times(UserStopped)[0] == pytest.approx(1.0 + 0.7 + 0.5 + 1.0, abs=0.1)
    assert len(c.script.understander.seen) == 2  # the retracted draft, and the answer
    assert len(c.script.understander.seen[1]) == 1


def test_speech_right_after_the_end_joins_both_parts_into_one_turn() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(0.6)
        await c.say(1.0, 22)
        await c.hush(5.0)

    c = converse(story)
    assert statuses(c) == [("cancelled", "turn_detected"), ("completed", "")]
    assert len(c.all(Committed)) == 2
    last = c.script.understander.seen[-1]
    assert [message.role for message in last] == ["user"]
    assert [part.text for part in last[0].parts] == ["word11", None]
    assert "word11 word22" in texts(c)[-1][1]


def test_an_interruption_stops_the_reply_and_leaves_in_memory_what_was_heard() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(2.0)
        await c.say(0.8, 22)
        await c.hush(6.0)

    c = converse(story)
    assert statuses(c) == [("cancelled", "turn_detected"), ("completed", "")]
    second_start = c.times(UserStarted)[1]
    assert second_start == pytest.approx(3.0 + 0.3, abs=0.06)  # 300 ms of speech confirm it
    assert [event.turn for event in c.all(UserStarted)] == [event.turn for event in c.all(ReplyDone)] == [1, 2]
    first, second = c.all(ReplyDone)
    stale = [at for at, e in c.log if isinstance(e, ReplyAudio) and e.response_id == first.response_id]
    assert max(stale) <= second_start + 0.001
    heard = first.item
    assert heard is not None
    assert heard.status == "incomplete"
    assert heard.text
    assert "You said word11. That is all I know about it.".startswith(heard.text)
    played_s = second_start - c.times(ReplyBegun)[0]
    assert len(heard.text.split()) == pytest.approx(played_s / 0.25, abs=1.5)
    shown = c.script.understander.seen[-1]
    assert [(message.role, message.text) for message in shown][:2] == [("user", "word11"), ("assistant", heard.text)]


def test_events_of_an_interruption_come_in_an_order_that_clients_can_follow() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(2.0)
        await c.say(0.8)
        await c.hush(2.0)

    names = converse(story).kinds(ReplyText, ReplyAudio)
    interruption = names.index("UserStarted", 1)
    assert names[interruption : interruption + 6] == [
        "UserStarted",
        "ReplyDone",
        "UserStopped",
        "Committed",
        "ItemAdded",
        "Transcribed",
    ]


@pytest.mark.parametrize("ducks", [True, False])
def test_a_cough_turns_the_reply_down_for_clients_that_asked_and_stops_nothing(ducks: bool) -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(1.5)
        await c.say(0.2)
        await c.hush(4.0)

    c = converse(story, ducks=ducks)
    assert statuses(c) == [("completed", "")]
    assert len(c.all(UserStarted)) == 1
    assert len(c.all(Ducked)) == len(c.all(Unducked)) == int(ducks)


def test_a_cough_outside_a_reply_starts_nothing() -> None:
    async def story(c: Conversation) -> None:
        await c.say(0.06)
        await c.hush(2.0)

    assert converse(story).log == []


def test_two_quick_turns_get_two_answers() -> None:
    async def story(c: Conversation) -> None:
        for level in (11, 22):
            await c.say(0.6, level)
            await c.hush(5.0)

    c = converse(story)
    assert statuses(c) == [("completed", "")] * 2
    assert [role for role, _ in texts(c)] == ["user", "assistant"] * 2


def test_a_long_monologue_is_answered_at_the_limit_and_what_follows_is_not_lost() -> None:
    async def story(c: Conversation) -> None:
        await c.say(7.0)
        await c.hush(8.0)

    c = converse(story, overrides={"turns.max_turn_ms": 5000})
    assert statuses(c) == [("completed", "")] * 2
    assert c.times(UserStopped)[0] == pytest.approx(5.0, abs=0.1)
    assert c.times(UserStarted)[1] < 5.3


def test_silence_says_nothing() -> None:
    async def story(c: Conversation) -> None:
        await c.hush(10.0)

    c = converse(story)
    assert c.log == []
    assert c.script.understander.seen == []


def test_frames_that_stop_in_mid_speech_end_the_turn_and_do_not_count_on_the_clients_clock() -> None:
    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.wait(6.0)
        await c.say(1.0, 22)
        await c.wait(6.0)

    c = converse(story)
    assert statuses(c) == [("completed", "")] * 2
    assert c.times(UserStopped)[0] == pytest.approx(1.3, abs=0.1)
    first, second = c.all(UserStarted)
    assert first.at_ms == 0
    assert second.at_ms == pytest.approx(1000, abs=40)  # six seconds without frames are none of the client's audio
    assert c.all(UserStopped)[1].at_ms == pytest.approx(2000, abs=40)


def test_a_burst_after_a_stall_is_heard_on_the_sample_clock() -> None:
    async def story(c: Conversation) -> None:
        await c.say(0.5)
        await c.wait(0.15)
        for _ in range(50):
            c.session.hear(_frame(0.42))
        await c.hush(6.0)

    c = converse(story)
    assert statuses(c) == [("completed", "")]
    assert c.all(UserStopped)[0].at_ms == pytest.approx(1500, abs=40)


def test_a_whole_recording_at_once_is_answered() -> None:
    async def story(c: Conversation) -> None:
        c.session.hear(np.concatenate([np.full(24_000, 0.42, np.float32), np.zeros(3200, np.float32)]))
        await c.wait(6.0)

    assert statuses(converse(story)) == [("completed", "")]


def test_a_reply_of_a_minute_plays_through_without_a_stall() -> None:
    def long(script: Script) -> None:
        script.understander.answer = lambda said: "This is a sentence of eight words here. " * 30

    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.wait(75.0)

    c = converse(story, prepare=long, max_tokens=4096)
    assert statuses(c) == [("completed", "")]
    (done,) = c.all(ReplyDone)
    assert c.audio_s(done.response_id) == pytest.approx(60, abs=0.1)
    gaps = [b - a for a, b in zip(c.times(ReplyAudio), c.times(ReplyAudio)[1:], strict=False)]
    assert max(gaps) < 0.1


def test_sixty_turns_later_the_model_is_still_shown_the_first() -> None:
    async def story(c: Conversation) -> None:
        c.session.add(Item("item_fact", "user", TextPart("my name is Ada")))
        c.session.respond()
        await c.wait(6.0)
        for turn in range(59):
            if turn % 2:
                c.session.add(Item(f"item_{turn}", "user", TextPart(f"question {turn}")))
                c.session.respond()
                await c.wait(4.0)
            else:
                await c.say(0.5)
                await c.hush(4.0)

    c = converse(story)
    assert statuses(c) == [("completed", "")] * 60
    shown = c.script.understander.seen[-1]
    assert len(shown) == 119
    assert shown[0].text == "my name is Ada"
    assert sum(isinstance(part, AudioPart) for message in shown for part in message.parts) <= 5  # memory stays small


def _frame(level: float) -> Pcm:
    return np.full(320, level, np.float32)


def test_every_event_says_its_turn() -> None:
    c = converse(one_turn)
    assert all(isinstance(event, Event) and event.turn > 0 for _, event in c.log)
