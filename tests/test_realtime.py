"""The Realtime API as the official Python client meets it. Every event is checked against the client's own types."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from openai.types.realtime.realtime_audio_formats_param import AudioPCM

from realtime_client import Client, Message, connected, encoded, speech
from realtime_server import quick, serving
from scripted import Script

LONG = "You said {}. " + "And this goes on for quite a while. " * 8

PCM_24: AudioPCM = {"type": "audio/pcm", "rate": 24_000}

TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def talkative(parts: Script) -> None:
    quick(parts)
    parts.understander.answer = LONG.format


def transcript(response: Message) -> str:
    text: str = response["output"][0]["content"][0]["transcript"]
    return text


async def retrieved(client: Client, item_id: str) -> Message:
    await client.connection.conversation.item.retrieve(item_id=item_id)
    item: Message = (await client.event("conversation.item.retrieved"))["item"]
    return item


async def write(client: Client, text: str, item_id: str = "item_written", **more: Any) -> None:
    item = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await client.connection.conversation.item.create(item=item, **more)  # type: ignore[arg-type]


async def test_one_turn_comes_in_the_order_and_with_the_ids_that_clients_were_built_for() -> None:
    async with serving() as server, connected(server.url) as client:
        response = await client.turn(42)
        words_of_the_user = "conversation.item.input_audio_transcription.completed"  # come when they come
        assert [kind for kind in client.kinds() if kind != words_of_the_user] == ["session.created", *TURN]
        started, stopped, committed = (client.all(kind)[0] for kind in TURN[:3])
        user, reply = client.all("conversation.item.added")
        assert started["item_id"] == stopped["item_id"] == committed["item_id"] == user["item"]["id"]
        assert committed["previous_item_id"] is None
        assert stopped["audio_end_ms"] - started["audio_start_ms"] == pytest.approx(400, abs=60)
        assert reply["previous_item_id"] == user["item"]["id"]
        (heard,) = client.all(words_of_the_user)
        assert (heard["item_id"], heard["transcript"]) == (user["item"]["id"], "word42")
        for _, message in client.log:
            if message["type"].startswith("response.") and "response" not in message:
                assert message["response_id"] == response["id"]
                assert (message.get("item_id") or message["item"]["id"]) == reply["item"]["id"]
        assert transcript(response) == "You said word42. That is all."
        assert response["usage"]["total_tokens"] == response["usage"]["input_tokens"] + 6
        sound = sum(seconds for _, seconds in client.deltas(response["id"]))
        assert sound == pytest.approx(6 * server.script.synthesizer.word_s, abs=0.001)
        client.check_order()


async def test_of_three_turns_the_second_is_interrupted_and_remembered_as_far_as_it_was_heard() -> None:
    def long_second(parts: Script) -> None:
        quick(parts)
        parts.understander.answer = lambda said: LONG.format(said) if said == "word22" else f"It was {said}."

    async with serving(long_second) as server, connected(server.url) as client:
        assert transcript(await client.turn(11)) == "It was word11."
        await asyncio.sleep(0.35)  # until it has been played

        await client.say(0.4, 22)
        begun = await client.event("response.output_item.added")
        await asyncio.sleep(1.3)  # later than a turn that goes on: this is an interruption
        await client.say(0.6, 33)
        stopped_at = client.at("input_audio_buffer.speech_started")[2]
        cut = (await client.event("response.done"))["response"]
        assert (cut["status"], cut["status_details"]["reason"]) == ("cancelled", "turn_detected")
        assert all(at <= stopped_at for at, _ in client.deltas(cut["id"]))

        last = (await client.event("response.done"))["response"]
        assert last["status"] == "completed"
        assert transcript(last) == "It was word33."
        item = await retrieved(client, begun["item"]["id"])
        heard, whole = item["content"][0]["transcript"], LONG.format("word22")
        assert item["status"] == "incomplete"
        assert whole.startswith(heard)
        assert 3 <= len(heard.split()) < len(whole.split())
        shown = server.script.understander.seen[-1]
        assert [message.text for message in shown if message.role == "assistant"][1] == heard
        client.check_order()


async def test_a_written_turn_is_answered_in_writing_with_its_metadata_handed_back() -> None:
    async with serving() as server, connected(server.url, microphone=False) as client:
        await write(client, "hello")
        added = await client.event("conversation.item.added")
        assert added["item"]["content"] == [{"type": "input_text", "text": "hello"}]
        await client.connection.response.create(
            response={"output_modalities": ["text"], "metadata": {"topic": "greeting"}}
        )
        created = (await client.event("response.created"))["response"]
        done = (await client.event("response.done"))["response"]
        for response in (created, done):
            assert response["metadata"] == {"topic": "greeting"}
            assert response["output_modalities"] == ["text"]
        assert done["output"][0]["content"] == [{"type": "output_text", "text": "You said hello. That is all."}]
        assert "".join(delta["delta"] for delta in client.all("response.output_text.delta")).strip() == (
            client.all("response.output_text.done")[0]["text"].strip()
        )
        assert client.all("response.output_audio.delta") == []
        client.check_order()


async def test_cancel_stops_the_reply_and_a_truncation_beyond_its_end_is_clamped() -> None:
    async with serving(talkative) as server, connected(server.url, microphone=False) as client:
        await write(client, "hello")
        begun_at = asyncio.get_running_loop().time()
        await client.connection.response.create()
        begun = await client.event("response.output_item.added")
        await client.event("response.output_audio.delta")
        await asyncio.sleep(0.4)
        await client.connection.response.cancel()
        done = (await client.event("response.done"))["response"]
        heard_ms = (asyncio.get_running_loop().time() - begun_at) * 1000
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        item_id = begun["item"]["id"]
        await client.connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=3_600_000)
        assert 300 < (await client.event("conversation.item.truncated"))["audio_end_ms"] <= heard_ms + 300  # sent ahead
        await client.connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=250)
        assert (await client.event("conversation.item.truncated"))["audio_end_ms"] == 250
        assert (await retrieved(client, item_id))["content"][0]["transcript"] == "You said"
        assert client.errors() == []
        client.check_order()


async def test_an_update_changes_what_it_names_and_null_leaves_the_turns_to_the_client() -> None:
    async with serving() as server, connected(server.url, microphone=False) as client:
        before = client.all("session.created")[0]["session"]
        session = await client.update(
            instructions="Be brief.",
            audio={"input": {"turn_detection": None}, "output": {"voice": "marin", "speed": 1.5}},
        )
        assert session["instructions"] == "Be brief."
        assert session["audio"]["input"]["turn_detection"] is None
        assert session["audio"]["input"]["format"] == before["audio"]["input"]["format"]
        assert (session["audio"]["output"]["voice"], session["audio"]["output"]["speed"]) == ("marin", 1.5)
        assert {**session, "instructions": "", "audio": {}} == {**before, "instructions": "", "audio": {}}

        await client.connection.input_audio_buffer.append(audio=encoded(speech(0.5, 33)))
        await client.connection.input_audio_buffer.commit()
        await client.event("conversation.item.done")
        await asyncio.sleep(0.3)
        assert client.all("response.created") == []
        await client.connection.response.create()
        done = (await client.event("response.done"))["response"]
        assert transcript(done) == "You said word33. That is all."
        assert client.all("input_audio_buffer.speech_started") == []
        client.check_order()


async def test_an_update_is_told_behind_what_was_said_before_it() -> None:
    async with serving() as server, connected(server.url, microphone=False) as client:
        pcm = np.concatenate([speech(0.5, 42), np.zeros(24_000, np.float32)])
        await client.connection.input_audio_buffer.append(audio=encoded(pcm))
        await client.connection.session.update(
            session={"type": "realtime", "audio": {"output": {"voice": "marin", "format": PCM_24}}}
        )
        await client.event("response.done")
        kinds = client.kinds()
        assert kinds.index("input_audio_buffer.speech_started") < kinds.index("session.updated")
        assert client.all("response.created")[0]["response"]["audio"]["output"]["voice"] == "marin"


async def test_server_vad_waits_exactly_as_long_as_it_is_told() -> None:
    async def one(url: str, silence_ms: int) -> None:
        async with connected(url) as client:
            detection = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": silence_ms}
            session = await client.update(audio={"input": {"turn_detection": detection}})
            assert {**session["audio"]["input"]["turn_detection"], **detection} == session["audio"]["input"][
                "turn_detection"
            ]
            waits = []
            for _ in range(3):  # the best of three: the machine may be busy
                await client.say(0.3, 42)
                said = client.frames
                await client.event("input_audio_buffer.committed")
                waits.append((client.frames - said) * 20)
                await client.connection.response.cancel()
                await client.event("response.done")
            assert min(abs(wait - silence_ms) for wait in waits) < 80, waits
            assert all(wait > silence_ms - 60 for wait in waits), waits

    async with serving() as server, asyncio.TaskGroup() as tasks:
        for silence_ms in (200, 600):
            tasks.create_task(one(server.url, silence_ms))


async def test_16_khz_in_and_out_sounds_as_long_as_24_khz() -> None:
    async with serving() as server, connected(server.url, input_hz=16_000, microphone=False) as client:
        sixteen = {"type": "audio/pcm", "rate": 16_000}
        session = await client.update(
            audio={"input": {"format": sixteen, "turn_detection": None}, "output": {"format": sixteen}}
        )
        assert session["audio"]["output"]["format"] == sixteen
        await client.connection.input_audio_buffer.append(audio=encoded(speech(0.5, 42, 16_000)))
        await client.connection.input_audio_buffer.commit()
        await client.connection.response.create()
        done = (await client.event("response.done"))["response"]
        (heard,) = client.all("conversation.item.input_audio_transcription.completed")
        assert (heard["transcript"], heard["usage"]["seconds"]) == ("word42", 0.5)
        seconds = [seconds * 1.5 for _, seconds in client.deltas(done["id"])]
        assert sum(seconds) == pytest.approx(6 * server.script.synthesizer.word_s, abs=0.02)
        assert all(0.0199 <= each <= 0.2 for each in seconds), seconds


async def test_what_is_deleted_or_cleared_is_forgotten() -> None:
    async with serving() as server, connected(server.url) as client:
        await write(client, "first", "item_1")
        await write(client, "second", "item_2", previous_item_id="root")
        await client.connection.conversation.item.delete(item_id="item_1")
        assert (await client.event("conversation.item.deleted"))["item_id"] == "item_1"
        await client.say(0.4, 11)
        await client.connection.input_audio_buffer.clear()
        await client.event("input_audio_buffer.cleared")
        assert (await client.turn(22))["status"] == "completed"
        shown = server.script.understander.seen[-1]
        assert [message.text for message in shown] == ["second", ""]  # the last has no transcript yet
        assert "word22" in client.heard()
        assert "word11" not in client.heard()


async def test_extras_come_to_those_who_asked_for_them_alone() -> None:
    def chatty(parts: Script) -> None:
        quick(parts)
        parts.understander.answer = lambda said: "This takes a little more than one second to say. " * 2

    async def story(client: Client) -> set[str]:
        """A turn and a cough over its reply."""
        await client.say(0.6, 42)
        await client.event("response.output_audio.delta")
        await asyncio.sleep(0.2)
        await client.say(0.16, 42)
        await client.event("response.done")
        client.check_order()
        extra = {"conversation.item.input_audio_transcription.delta"}
        return {kind for kind in client.kinds() if kind.startswith("voxtral.") or kind in extra}

    expected = {
        (): set(),
        ("turn.metrics",): {"voxtral.turn.metrics"},
        ("input.partials",): {"conversation.item.input_audio_transcription.delta"},
        ("output.duck",): {"voxtral.output.duck", "voxtral.output.unduck"},
    }

    async def one(url: str, include: tuple[str, ...]) -> None:
        async with connected(url) as client:
            await client.update(include=list(include))
            assert await story(client) == expected[include]

    often: dict[str, object] = {"turns.partial_ms": 200}
    async with serving(chatty, overrides=often) as server, asyncio.TaskGroup() as tasks:
        for include in expected:
            tasks.create_task(one(server.url, include))
