"""Whatever a client sends: a typed error with its event_id, no crash, and the next turn works."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from realtime_client import Client, connected, encoded, speech
from realtime_server import serving

Message = dict[str, Any]


@dataclass(frozen=True)
class Bad:
    """One thing to send, and the error that answers it."""

    text: str | bytes
    code: str
    event_id: str | None = "event_x"


def event(kind: str, code: str, event_id: str | None = "event_x", **fields: Any) -> Bad:
    return Bad(json.dumps({"type": kind, "event_id": "event_x", **fields}), code, event_id)


def append(audio: object, code: str = "invalid_audio") -> Bad:
    return event("input_audio_buffer.append", code, audio=audio)


def update(session: object, code: str = "invalid_event") -> Bad:
    return event("session.update", code, session=session)


def update_text(session: str, code: str, event_id: str | None) -> Bad:
    """For what json.dumps would not write."""
    return Bad(f'{{"type":"session.update","event_id":"event_x","session":{session}}}', code, event_id)


def item(**fields: Any) -> Message:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}], **fields}


def create(code: str, content: Message, **fields: Any) -> Bad:
    return event("conversation.item.create", code, item=content, **fields)


def deep(depth: int) -> str:
    return '{"x":' * depth + "1" + "}" * depth


BAD = {
    # Sound that is none.
    "half a sample": append(base64.b64encode(b"\0" * 321).decode()),
    "not base64": append("this is not base64!"),
    "base64 with a stray character": append("AAAA*AAA"),
    "a list for audio": append([0, 1, 2], "invalid_event"),
    "null for audio": append(None, "invalid_event"),
    "binary frame": Bad(b"\0" * 640, "invalid_event", None),
    "plain text": Bad("hello there", "invalid_json", None),
    # JSON that is none, or none that anybody could mean.
    "garbage": Bad('{"type": "response.create", ', "invalid_json", None),
    "empty": Bad("", "invalid_json", None),
    "a list": Bad("[1, 2]", "invalid_event", None),
    "a number": Bad("7", "invalid_event", None),
    "half a surrogate": Bad('{"type": "x", "event_id": "\\ud800"}', "invalid_json", None),
    "NaN": update_text('{"audio": {"output": {"speed": NaN}}}', "invalid_json", None),
    "1e400": update_text('{"audio": {"output": {"speed": 1e400}}}', "invalid_event", "event_x"),
    "1e400 where nobody looks": update_text('{"tracing": {"x": [1e400]}}', "invalid_event", "event_x"),
    "a number of 5000 digits": update_text('{"x": ' + "9" * 5000 + "}", "invalid_json", None),
    "nesting of 100 000": Bad("[" * 100_000 + "]" * 100_000, "invalid_json", None),
    # Events that are none.
    "unknown type": event("conversation.explode", "invalid_event"),
    "no type": Bad('{"event_id": "event_x"}', "invalid_event"),
    "type is a number": Bad('{"type": 3, "event_id": "event_x"}', "invalid_event"),
    "WebRTC only": event("output_audio_buffer.clear", "invalid_event"),
    "event_id is a number": Bad('{"type": "response.cancel", "event_id": 5}', "invalid_event", None),
    "event_id of 10 kB": Bad(
        json.dumps({"type": "response.cancel", "event_id": "e" * 10_000}), "invalid_event", "e" * 512
    ),
    # Settings that make no sense; the session stays as it was.
    "session is text": update("loud"),
    "session is missing": event("session.update", "invalid_event"),
    "audio is a list": update({"audio": []}),
    "both modalities": update({"output_modalities": ["audio", "text"]}),
    "speed of 9": update({"audio": {"output": {"speed": 9}}}),
    "speed in words": update({"audio": {"output": {"speed": "fast"}}}),
    "44.1 kHz": update({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 44100}}}}),
    "unknown detection": update({"audio": {"input": {"turn_detection": {"type": "psychic_vad"}}}}),
    "negative silence": update(
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": -1}}}}
    ),
    "a language nobody hears": update({"audio": {"input": {"transcription": {"language": "xx-YY"}}}}),
    "a session of 300 kB": update({"tracing": {"note": "x" * 300_000}}),
    # Things that are not there.
    "commit of nothing": event("input_audio_buffer.commit", "input_audio_buffer_commit_empty"),
    "cancel of nothing": event("response.cancel", "response_cancel_not_active"),
    "cancel of another": event("response.cancel", "response_cancel_not_active", response_id="resp_other"),
    "delete of nothing": event("conversation.item.delete", "invalid_event", item_id="item_none"),
    "retrieve of nothing": event("conversation.item.retrieve", "item_retrieve_invalid_item_id", item_id="item_none"),
    "behind nothing": create("invalid_event", item(id="item_1"), previous_item_id="item_none"),
    "an item without words": create("invalid_event", item(content=[{"type": "input_text", "text": ""}])),
    "an item without content": create("invalid_event", item(content=[])),
    "an item of half a sample": create("invalid_audio", item(content=[{"type": "input_audio", "audio": "AAAA"}])),
    "an item of text and sound": create(
        "invalid_event",
        item(content=[{"type": "input_text", "text": "hello"}, {"type": "input_audio", "audio": "AAAA" * 2}]),
    ),
    "an item of no sound": create("invalid_event", item(content=[{"type": "input_audio", "audio": ""}])),
    "truncate to before the start": event(
        "conversation.item.truncate", "invalid_event", item_id="item_1", content_index=0, audio_end_ms=-5
    ),
    "two modalities at once": event(
        "response.create", "invalid_event", response={"output_modalities": ["audio", "text"]}
    ),
    "no tokens": event("response.create", "invalid_event", response={"max_output_tokens": 0}),
    "much metadata": event("response.create", "invalid_event", response={"metadata": {"a": "x" * 1000}}),
    "metadata of numbers": event("response.create", "invalid_event", response={"metadata": {"a": 1}}),
}


async def send_raw(client: Client, message: str | bytes) -> None:
    await client.connection._connection.send(message)  # past the package's own checks


async def speaks(client: Client) -> None:
    """The next turn works."""
    done = await client.turn(42, 0.3)
    assert done["status"] == "completed"
    assert done["output"][0]["content"][0]["transcript"] == "You said word42. That is all."


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_each_bad_input_gets_its_error_and_the_next_turn_works(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, connected(server.url) as client:
        session = client.all("session.created")[0]["session"]
        for name, bad in BAD.items():
            await send_raw(client, bad.text)
            error = (await client.event("error"))["error"]
            assert (error["code"], error["event_id"]) == (bad.code, bad.event_id), name
            assert error["type"] == "invalid_request_error"
            assert len(error["message"]) < 500, name
            assert not any(word in error["message"] for word in ("Traceback", "/src/", ".py", "object at 0x")), name
        assert await client.update() == session  # nothing of it has stuck
        await speaks(client)
        assert len(client.errors()) == len(BAD)
        client.check_order()
    assert complaints(caplog) == []


LENIENT: dict[str, Callable[[Client], Any]] = {
    # GA servers ignore what they do not know.
    "unknown fields": lambda c: send_raw(
        c, '{"type": "session.update", "mood": 1, "session": {"type": "realtime", "mood": {"a": [null]}}}'
    ),
    "a voice misspelled": lambda c: c.update(audio={"output": {"voice": "af_hart"}}),
    "a voice of somebody else": lambda c: c.update(audio={"output": {"voice": "cosmo-v2"}}),
    "a region of a language": lambda c: c.update(audio={"input": {"transcription": {"language": "en-GB"}}}),
    "unknown extras": lambda c: send_raw(
        c, '{"type": "session.update", "session": {"include": ["item.input_audio_transcription.logprobs"]}}'
    ),
    "an empty frame": lambda c: send_raw(c, '{"type": "input_audio_buffer.append", "audio": ""}'),
    "a null response": lambda c: send_raw(c, '{"type": "input_audio_buffer.clear", "response": null}'),
    "a nested joke": lambda c: send_raw(c, f'{{"type": "input_audio_buffer.clear", "joke": {deep(150)}}}'),
}


async def test_what_is_unknown_but_harmless_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, connected(server.url) as client:
        for send in LENIENT.values():
            await send(client)
        await speaks(client)
        assert client.errors() == []
    assert complaints(caplog) == []


async def test_a_language_nobody_hears_is_told_with_those_that_are() -> None:
    async with serving() as server, connected(server.url) as client:
        await send_raw(client, update({"audio": {"input": {"transcription": {"language": "haw"}}}}).text)
        error = (await client.event("error"))["error"]
        assert error["param"] == "session.audio.input.transcription.language"
        assert error["message"] == "'haw' is not heard; auto and these are: en"


async def test_a_session_does_not_grow_by_what_is_added_to_it() -> None:
    async with serving() as server, connect(server.socket_url) as socket:
        kinds = [json.loads(await socket.recv())["type"]]
        for index in range(4):
            await socket.send(update({"tracing": {f"x{index}": "y" * 100_000}}).text)
            kinds.append(json.loads(await socket.recv())["type"])
        assert kinds == ["session.created", "session.updated", "session.updated", "error", "error"]


async def test_an_item_id_can_be_used_once() -> None:
    async with serving() as server, connected(server.url) as client:
        for _ in range(2):
            await send_raw(client, create("", item(id="item_1")).text)
        error = (await client.event("error"))["error"]
        assert (error["code"], error["event_id"], error["param"]) == ("invalid_event", "event_x", "item.id")
        assert len(client.all("conversation.item.added")) == 1
        await speaks(client)


async def test_a_second_answer_at_once_is_refused_and_the_first_goes_on() -> None:
    async with serving() as server, connected(server.url) as client:
        await send_raw(client, create("", item(id="item_1")).text)
        for _ in range(2):
            await send_raw(client, event("response.create", "").text)
        done = await client.event("response.done")
        assert done["response"]["status"] == "completed"
        assert client.errors() == [("conversation_already_has_active_response", "event_x")]
        await asyncio.sleep(0.35)  # until it has been played
        await speaks(client)


async def test_a_message_beyond_the_limit_closes_that_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(overrides={"server.message_bytes": 65_536}) as server, connected(server.url) as witness:
        async with connect(server.socket_url) as socket:
            await socket.recv()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 70_000}))
            with pytest.raises(ConnectionClosedError) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        await speaks(witness)
        async with connected(server.url) as client:
            await speaks(client)
    assert complaints(caplog) == []


async def test_the_longest_message_allowed_is_heard() -> None:
    async with serving() as server, connected(server.url, microphone=False) as client:
        await client.update(audio={"input": {"turn_detection": None}})
        most = speech(15.0, 42)  # 960 kB of base64
        await client.connection.input_audio_buffer.append(audio=encoded(most))
        await client.connection.input_audio_buffer.commit()
        (await client.event("conversation.item.done"))
        await client.connection.response.create()
        heard = await client.event("conversation.item.input_audio_transcription.completed")
        assert (heard["transcript"], heard["usage"]["seconds"]) == ("word42", pytest.approx(15.0, abs=0.05))
        await client.event("response.done")
