"""What a Realtime client may ask for beyond a plain turn: whole conversations at the real door, in virtual time."""

from __future__ import annotations

import pytest

from scripted import Script
from visitor import Visitor, said, visit
from voxtral_voice.types import VoiceError

ECHO = "You said word42. That is all I know about it."


def slow(parts: Script) -> None:
    """Ten words a second, and many of them."""
    parts.understander.token_s = 0.1
    parts.understander.answer = lambda what: f"You said {what}. " + "And so it goes on and on. " * 3


# Responses out of band, and on something else than the conversation.


def test_an_answer_out_of_band_runs_beside_the_conversations_and_leaves_no_trace_in_it() -> None:
    async def story(v: Visitor) -> None:
        v.write("hello")
        v.ask()
        v.ask(conversation="none", output_modalities=["text"], metadata={"topic": "mood"}, instructions="Classify.")
        await v.hush(12.0)
        aside = next(response for response in v.done() if response["conversation_id"] is None)
        v.tell("conversation.item.retrieve", item_id=aside["output"][0]["id"])
        await v.turn(22)

    v = visit(story)
    assert [created["response"]["conversation_id"] is None for created in v.all("response.created")] == [
        False,
        True,
        False,
    ]
    aside = next(response for response in v.done() if response["conversation_id"] is None)
    assert said(aside) == "You said hello. That is all I know about it."
    assert aside["metadata"] == {"topic": "mood", "event": "event_2"}
    assert v.errors() == [("item_retrieve_invalid_item_id", "event_3")]
    assert len(v.all("conversation.item.added")) == 4
    last = [(message.role, message.text) for message in v.parts.understander.seen[-1]]
    assert [role for role, _ in last] == ["user", "assistant", "user"]


def test_speech_interrupts_the_conversations_answer_and_not_the_one_beside_it() -> None:
    async def story(v: Visitor) -> None:
        v.write("hello")
        v.ask()
        v.ask(conversation="none")
        await v.hush(1.5)
        await v.say(0.8)
        await v.hush(12.0)

    v = visit(story)
    beside = [response["status"] for response in v.done() if response["conversation_id"] is None]
    others = [response["status"] for response in v.done() if response["conversation_id"] is not None]
    assert (beside, others) == (["completed"], ["cancelled", "completed"])


def test_only_its_own_id_cancels_an_answer_out_of_band() -> None:
    async def story(v: Visitor) -> None:
        v.write("hello")
        v.ask(conversation="none")
        await v.hush(1.5)
        v.tell("response.cancel")
        v.tell("response.cancel", response_id=v.all("response.created")[0]["response"]["id"])
        await v.hush(1.0)

    v = visit(story, prepare=slow)
    assert v.errors() == [("response_cancel_not_active", "event_2")]
    (done,) = v.done()
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")


def test_four_answers_out_of_band_at_once_are_the_most() -> None:
    async def story(v: Visitor) -> None:
        v.write("hello")
        for _ in range(5):
            v.ask(conversation="none", output_modalities=["text"])
        await v.hush(20.0)

    v = visit(story)
    assert v.errors() == [("conversation_already_has_active_response", "event_5")]
    assert [response["status"] for response in v.done()] == ["completed"] * 4


def test_input_takes_the_place_of_the_conversation() -> None:
    async def story(v: Visitor) -> None:
        v.write("hello", "item_1")
        v.write("goodbye", "item_2")
        own = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "and now"}]}
        v.ask(input=[{"type": "item_reference", "id": "item_1"}, own])
        await v.hush(8.0)
        v.ask(input=[], output_modalities=["text"])
        await v.hush(3.0)
        v.ask(input=[{"type": "item_reference", "id": "item_none"}])
        v.ask(input=[{"type": "item_reference", "id": "item_1"}] * 2)
        await v.hush(1.0)

    v = visit(story)
    shown = [[message.text for message in seen] for seen in v.parts.understander.seen]
    assert shown == [["hello", "and now"], []]
    assert v.errors() == [("invalid_event", "event_4"), ("invalid_event", "event_5")]
    added = [event["item"]["role"] for event in v.all("conversation.item.added")]
    assert added == ["user", "user", "assistant", "assistant"]  # the answers are part of the conversation


def test_one_response_may_have_a_voice_a_format_and_a_length_of_its_own() -> None:
    async def story(v: Visitor) -> None:
        v.write("hello")
        output = {"voice": "coral", "format": {"type": "audio/pcmu"}}
        v.ask(audio={"output": output}, max_output_tokens=3)
        await v.hush(4.0)
        v.ask()
        await v.hush(6.0)

    v = visit(story)
    first, second = v.done()
    assert first["audio"]["output"] == {"voice": "coral", "format": {"type": "audio/pcmu"}}
    assert (first["status"], said(first)) == ("incomplete", "You said hello.")
    assert second["audio"]["output"] == {"voice": "af_heart", "format": {"type": "audio/pcm", "rate": 24_000}}
    assert second["max_output_tokens"] == "inf"


def test_a_reply_cut_short_counts_the_words_that_had_been_written() -> None:
    async def story(v: Visitor) -> None:
        v.write("hello")
        v.ask()
        await v.hush(1.0)
        v.tell("response.cancel")
        await v.hush(0.5)

    v = visit(story, prepare=slow)
    usage = v.done()[0]["usage"]
    assert 5 <= usage["output_tokens"] <= 11
    assert usage["output_token_details"] == {"text_tokens": usage["output_tokens"], "audio_tokens": 0}


# Sessions that only write down.


@pytest.mark.parametrize("by_url", [True, False])
def test_a_transcription_session_writes_down_what_is_said_and_answers_nothing(by_url: bool) -> None:
    async def story(v: Visitor) -> None:
        transcription = {"model": "gpt-4o-transcribe", "language": "en"}
        v.update({"type": "transcription", "audio": {"input": {"transcription": transcription}}})
        await v.turn(11)
        await v.turn(22)
        v.ask()
        await v.hush(0.5)

    v = visit(story, transcribes=by_url)
    words = v.all("conversation.item.input_audio_transcription.completed")
    assert [event["transcript"].split()[0] for event in words] == ["word11", "word22"]
    assert v.errors() == [("invalid_event", "event_1")]
    assert v.all("response.created") == []
    created, updated = v.all("session.created")[0]["session"], v.all("session.updated")[0]["session"]
    assert created["type"] == ("transcription" if by_url else "realtime")
    assert updated["object"] == "realtime.transcription_session"
    assert set(updated) == {"type", "object", "id", "expires_at", "include", "audio"}
    assert set(updated["audio"]) == {"input"}


def test_words_that_cannot_be_written_down_are_told_once_for_each_turn() -> None:
    def broken(parts: Script) -> None:
        def transcribe(*_: object) -> object:
            raise VoiceError("out_of_memory", "no memory left for this turn")

        parts.understander.transcribe = transcribe  # type: ignore[method-assign,assignment]

    async def story(v: Visitor) -> None:
        await v.turn(11)
        await v.turn(22)

    v = visit(story, transcribes=True, prepare=broken)
    failed = v.all("conversation.item.input_audio_transcription.failed")
    assert [event["item_id"] for event in failed] == [
        event["item_id"] for event in v.all("input_audio_buffer.committed")
    ]
    assert failed[0]["error"]["code"] == "internal_error"


# Silence.


def idle(v: Visitor, timeout_ms: int | None) -> None:
    v.update({"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": timeout_ms}}}})


def test_a_silence_after_a_reply_is_committed_and_answered() -> None:
    async def story(v: Visitor) -> None:
        idle(v, 3000)
        await v.hush(5.0)  # nothing has been said yet
        await v.turn()
        await v.hush(2.0)

    def short(parts: Script) -> None:
        parts.understander.answer = lambda said: "Yes, I am here."

    v = visit(story, prepare=short)
    kinds = v.kinds()
    at = kinds.index("input_audio_buffer.timeout_triggered")
    assert kinds[at:][:6] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
    ]
    (silence,) = v.all("input_audio_buffer.timeout_triggered")
    assert silence["audio_end_ms"] - silence["audio_start_ms"] == pytest.approx(3000, abs=150)
    first, second = v.done()
    reply_s = len(said(first).split()) * v.word_s
    assert silence["audio_start_ms"] == pytest.approx(5600 + 500 + reply_s * 1000, abs=600)
    assert second["status"] == "completed"
    assert [message.role for message in v.parts.understander.seen[-1]] == ["user", "assistant", "system"]
    assert [event["item"]["role"] for event in v.all("conversation.item.added")] == ["user", "assistant"] * 2


def test_who_speaks_in_time_is_not_asked() -> None:
    async def story(v: Visitor) -> None:
        idle(v, 3000)
        for _ in range(3):
            await v.say(0.6)
            await v.hush(4.5)
        idle(v, None)
        await v.hush(10.0)

    v = visit(story)
    assert v.all("input_audio_buffer.timeout_triggered") == []
    assert len(v.done()) == 3


# The session object.


def test_null_clears_what_may_be_empty_and_resets_what_may_not() -> None:
    async def story(v: Visitor) -> None:
        v.update({"instructions": "Be brief.", "audio": {"output": {"voice": "coral", "speed": 1.5}}})
        v.update({"instructions": None, "tools": None, "audio": {"output": {"voice": None, "speed": None}}})
        v.update({"audio": {"input": {"turn_detection": None, "transcription": None}}})
        await v.hush(0.1)

    v = visit(story)
    created, _, reset, cleared = (event["session"] for event in v.events)
    assert reset == created
    assert cleared["audio"]["input"]["turn_detection"] is None


@pytest.mark.parametrize("voice", ["cosmo-v2", "af_hart", {"id": "voice_1234"}])
def test_a_voice_of_somebody_elses_is_mapped_and_handed_back_as_it_was_written(voice: object) -> None:
    async def story(v: Visitor) -> None:
        v.update({"audio": {"output": {"voice": voice}}})
        await v.turn()

    v = visit(story)
    assert v.errors() == []
    assert v.all("session.updated")[0]["session"]["audio"]["output"]["voice"] == voice
    assert said(v.done()[0]) == ECHO
