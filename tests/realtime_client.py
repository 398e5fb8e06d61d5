"""A Realtime client that talks in real time and checks every event against the `openai` package's own types."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, cast, get_args

import numpy as np
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from openai.types.realtime import RealtimeSessionCreateRequestParam as SessionParam
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from websockets.exceptions import ConnectionClosed

from voxtral_voice.types import Pcm

Message = dict[str, Any]

FRAME_S = 0.02
_NOISE_S = 0.5  # the first packet may come this much late on a busy machine; test_session knows the very moments
_FADE_S = 0.01  # a step in level would ring in the resampler and be heard as another word
_UNION: Any = Annotated[get_args(RealtimeServerEvent)[0], Field(discriminator="type")]
_EVENTS: TypeAdapter[BaseModel] = TypeAdapter(_UNION)
# Fields that OpenAI's server sends and its package's types leave out.
_EXTRA = {"session.id", "session.object", "session.expires_at"}


def speech(seconds: float, level: int, hz: int = 24_000) -> Pcm:
    """What the scripted engines hear as the word `word<level>`."""
    pcm = np.full(round(seconds * hz), level / 100, np.float32)
    fade = np.linspace(0, 1, round(_FADE_S * hz), dtype=np.float32)
    pcm[: len(fade)] *= fade
    pcm[-len(fade) :] *= fade[::-1]
    return pcm


def encoded(pcm: Pcm) -> str:
    return base64.b64encode((pcm * 32767).astype("<i2").tobytes()).decode()


def check(raw: bytes | str, included: set[str]) -> Message:
    """The event, if it is what a client with the package's types expects."""
    message: Message = json.loads(raw, parse_constant=_refuse_constant)
    kind = message["type"]
    if kind.startswith("voxtral."):
        needed = {"voxtral.output": "output.duck", "voxtral.turn": "turn.metrics", "voxtral.input": "input.partials"}
        assert needed[kind.rpartition(".")[0]] in included, f"{kind} was not asked for"
        return message
    event = _EVENTS.validate_json(json.dumps(_without_extensions(message)), strict=True)
    unknown = set(_unknown(event, "")) - _EXTRA
    assert not unknown, f"{kind} has fields that no client knows: {unknown}"
    return message


def _without_extensions(message: Message) -> Message:
    """16 kHz and our values of `include` are echoed to those who asked for them; the package knows neither."""
    plain: Message = json.loads(json.dumps(message).replace('"rate": 16000', '"rate": 24000'))
    if plain.get("session", {}).get("include"):
        plain["session"]["include"] = None
    return plain


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _unknown(model: object, path: str) -> list[str]:
    if isinstance(model, list):
        return [name for each in model for name in _unknown(each, path)]
    if not isinstance(model, BaseModel):
        return []
    fields = {**dict(model), **(model.model_extra or {})}
    inside = [name for field, value in fields.items() for name in _unknown(value, f"{path}{field}.")]
    return [*(f"{path}{name}" for name in model.model_extra or {}), *inside]


class Client:
    """One connection. Its microphone is open: silence is sent where nothing is said."""

    def __init__(self, connection: AsyncRealtimeConnection, input_hz: int = 24_000) -> None:
        self.connection = connection
        self.input_hz = input_hz
        self.included: set[str] = set()
        self.log: list[tuple[float, Message]] = []
        self.frames = 0
        """Sent so far, of 20 ms each."""
        self._unsaid: asyncio.Queue[Pcm | asyncio.Event] = asyncio.Queue()
        self._news = asyncio.Event()
        self._cursor = 0
        self._invalid: AssertionError | ValidationError | None = None

    async def listen(self) -> None:
        """Take every event."""
        try:
            while True:
                raw = await self.connection.recv_bytes()
                self.log.append((asyncio.get_running_loop().time(), check(raw, self.included)))
                self._news.set()
        except ConnectionClosed:
            pass
        except (AssertionError, ValidationError) as error:  # raised where the test is
            self._invalid = error
            self._news.set()

    def check_validity(self) -> None:
        """Raises what was wrong with an event."""
        if self._invalid is not None:
            raise self._invalid

    async def talk(self) -> None:
        """Send a frame every 20 ms."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        with suppress(ConnectionClosed):
            while True:
                size = round(FRAME_S * self.input_hz)
                frame: Pcm | asyncio.Event = np.zeros(size, np.float32)
                if not self._unsaid.empty():
                    frame = self._unsaid.get_nowait()
                if isinstance(frame, asyncio.Event):
                    frame.set()
                    continue
                await self.connection.input_audio_buffer.append(audio=encoded(frame))
                self.frames += 1
                due += FRAME_S
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def say(self, seconds: float, level: int) -> None:
        """Returns when the last frame of it has been sent."""
        await self.play(speech(seconds, level, self.input_hz))

    async def play(self, pcm: Pcm) -> None:
        """`pcm` as the microphone hears it, at `input_hz`. Returns when its last frame has been sent."""
        size, said = round(FRAME_S * self.input_hz), asyncio.Event()
        pcm = np.pad(pcm, (0, -len(pcm) % size))
        for start in range(0, len(pcm), size):
            self._unsaid.put_nowait(pcm[start : start + size])
        self._unsaid.put_nowait(said)
        await said.wait()

    async def event(self, kind: str, timeout_s: float = 60.0) -> Message:
        """The next event of this kind; the next call looks behind it."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    while self._cursor < len(self.log):
                        message = self.log[self._cursor][1]
                        self._cursor += 1
                        if message["type"] == kind:
                            return message
                    self.check_validity()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {kind} within {timeout_s} s; there were {self.kinds()[-12:]}") from None

    async def update(self, **session: Any) -> Message:
        """`session.update`; returns the whole session as it then is."""
        self.included |= set(session.get("include") or ())
        await self.connection.session.update(session=cast(SessionParam, {"type": "realtime", **session}))
        updated: Message = (await self.event("session.updated"))["session"]
        return updated

    async def turn(self, level: int, seconds: float = 0.4) -> Message:
        """Say something and hear the whole answer out. Returns the finished response."""
        await self.say(seconds, level)
        done: Message = (await self.event("response.done"))["response"]
        return done

    def all(self, kind: str) -> list[Message]:
        return [message for _, message in self.log if message["type"] == kind]

    def at(self, kind: str) -> list[float]:
        """When events of this kind came."""
        return [at for at, message in self.log if message["type"] == kind]

    def kinds(self) -> list[str]:
        """What came, repeats of one kind in a row once."""
        names = [message["type"] for _, message in self.log]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def errors(self) -> list[tuple[str, str | None]]:
        return [(each["error"]["code"], each["error"]["event_id"]) for each in self.all("error")]

    def deltas(self, response_id: str) -> list[tuple[float, float]]:
        """(when it came, seconds of sound) of each audio delta of a response, at 24 kHz."""
        return [
            (at, len(base64.b64decode(message["delta"])) / 2 / 24_000)
            for at, message in self.log
            if message["type"] == "response.output_audio.delta" and message["response_id"] == response_id
        ]

    def check_order(self) -> None:
        """What clients rely on, whatever was said."""
        active, ended, added, closed = "", set[str](), set[str](), set[str]()
        for _, message in self.log:
            kind = message["type"]
            response = message.get("response_id") or message.get("response", {}).get("id", "")
            if kind == "response.created":
                assert not active, f"{response} began while {active} was in progress"
                active = response
            elif kind.startswith("response."):
                assert response == active, f"{kind} of {response} while {active or 'nothing'} was in progress"
            if kind == "response.done":
                active = ""
                ended.add(response)
                assert added == closed, "an item is still open at the end of the response"
            elif kind == "conversation.item.added":
                assert message["item"]["id"] not in added
                added.add(message["item"]["id"])
            elif kind == "conversation.item.done":
                assert message["item"]["id"] in added - closed
                closed.add(message["item"]["id"])
        ids = [message["event_id"] for _, message in self.log]
        assert len(ids) == len(set(ids))
        assert not active, f"{active} has no end"
        for response in ended:
            self._check_pace(self.deltas(response))

    @staticmethod
    def _check_pace(deltas: list[tuple[float, float]]) -> None:
        sent = 0.0
        for at, seconds in deltas:
            assert 0.02 <= seconds <= 0.2
            sent += seconds
            assert sent - (at - deltas[0][0]) <= 0.3 + _NOISE_S, "sound runs too far ahead of real time"

    def heard(self) -> str:
        """All words of all replies."""
        return "".join(message["delta"] for message in self.all("response.output_audio_transcript.delta"))


@asynccontextmanager
async def connected(
    url: str, *, microphone: bool = True, input_hz: int = 24_000, model: str = "gpt-realtime"
) -> AsyncIterator[Client]:
    """A client of the server at `url` ("http://127.0.0.1:8000")."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x") as openai, openai.realtime.connect(model=model) as wire:
        client = Client(wire, input_hz)
        running = [asyncio.create_task(client.listen(), name="client listens")]
        try:
            await client.event("session.created")
            if microphone:
                running.append(asyncio.create_task(client.talk(), name="client talks"))
            yield client
            client.check_validity()
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
