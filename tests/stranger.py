"""A Realtime client that does anything at any moment, and the door it stands at, in virtual time.

The door, the wire and the session are the server's own, only the network and the engines are not. A seed is a story.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from realtime_server import ScriptedManager
from scripted import Script
from strange_settings import FORMATS, a_change
from virtual_time import VirtualLoop, run
from virtual_worker import Took, script
from voxtral_voice import config
from voxtral_voice.config import Config
from voxtral_voice.metrics import Metrics
from voxtral_voice.server.door import Admission
from voxtral_voice.server.realtime import RealtimeWire
from voxtral_voice.server.sockets import SocketDoor
from voxtral_voice.server.sound import Format

Message = dict[str, Any]

_LONG = "So it goes on and on, and on. " * 4
_ANSWERS = [_LONG, _LONG, _LONG, "Yes.", "One, two, three. Four is enough.", "\N{PARTY POPPER}", "", "fail"]
_CONFIGS: list[dict[str, object]] = [{}, {"playout.packet_ms": 100, "playout.duck_lead_ms": 200}]


@functools.cache
def configuration(number: int) -> Config:
    return config.load(overrides=_CONFIGS[number], environ={})


@functools.cache
def metrics() -> Metrics:
    """One process's, as the server has them; they take longer to make than some conversations."""
    return Metrics()


@dataclass
class Stranger:
    """One random conversation; `sent` and `log` are all that went over the wire, each with its second."""

    seed: int
    steps: int = 14
    sent: list[tuple[float, Message]] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)
    closed: int | None = None
    leaves_early: bool = False
    quiet_from: int = 0
    """Index into `log` from which on the plain turn at the end is all that happens."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.input = Format()
        self.sent_ms = 0.0
        self.items = ["item_none"]
        self.responses = ["resp_none"]
        self.word_s = self.chance.choice([0.05, 0.25])
        self.transcribes = self.chance.random() < 0.1
        self.leaves_early = self.chance.random() < 0.15
        self._to_server: asyncio.Queue[Message] = asyncio.Queue()
        self._read = 0

    def meet(self) -> ScriptedManager:
        """Let it all happen. Returns the manager with the engines that were used."""
        loop = VirtualLoop()
        parts = script(Took())
        return run(self._meet(parts), loop, [])

    async def _meet(self, parts: Script) -> ScriptedManager:
        self._prepare(parts)
        manager = ScriptedManager(parts, "ready")
        chosen = configuration(self.chance.randrange(len(_CONFIGS)))
        door = SocketDoor(manager, chosen, metrics(), Admission(None))
        query = b"model=gpt-realtime" + (b"&intent=transcription" if self.transcribes else b"")
        scope = {"type": "websocket", "path": "/v1/realtime", "query_string": query, "headers": [], "subprotocols": []}
        socket = WebSocket(scope, self._to_server.get, self._from_server)
        self._to_server.put_nowait({"type": "websocket.connect"})
        served = asyncio.create_task(door.serve(socket, RealtimeWire), name="served")
        await self._live(parts)
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await served
        async with asyncio.timeout(60):
            while any(worker.busy for worker in parts.workers):  # noqa: ASYNC110 (what was cancelled ends its step)
                await asyncio.sleep(0.1)
        return manager

    def _prepare(self, parts: Script) -> None:
        chance = self.chance
        parts.endpoint.value = chance.choice([0.05, 0.3, 0.95])
        parts.understander.hear_s = chance.choice([0.01, 0.1, 0.4])
        parts.understander.token_s = chance.choice([0.001, 0.02, 0.1])
        parts.synthesizer.clause_s = chance.choice([0.02, 0.1, 0.6])
        parts.synthesizer.word_s = self.word_s
        parts.understander.answer = lambda said: chance.choice(_ANSWERS)

    async def _from_server(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.closed = message["code"]
        elif message["type"] == "websocket.send":
            self.log.append((asyncio.get_running_loop().time(), message["text"]))

    def _look(self) -> None:
        """Remember ids that have been told."""
        for _, text in self.log[self._read :]:
            if '"conversation.item.added"' in text:
                self.items.append(json.loads(text)["item"]["id"])
            elif '"response.created"' in text:
                self.responses.append(json.loads(text)["response"]["id"])
            elif '"input_audio_buffer.speech_started"' in text:
                self.items.append(json.loads(text)["item_id"])
        self._read = len(self.log)

    # What it does.

    async def _live(self, parts: Script) -> None:
        await asyncio.sleep(0.01)
        acts = [self._say] * 3 + [self._hush] * 3 + [self._meddle] * 3 + [self._burst] + [self._command] * 2
        for _ in range(self.chance.randrange(2, self.steps) if self.leaves_early else self.steps):
            await self.chance.choice([*acts, self._wait])()
        if self.leaves_early:
            return
        # Whatever came before, a plain turn works.
        parts.understander.answer = lambda said: "It works."
        parts.endpoint.value = 0.95
        plain = {"turn_detection": {"type": "semantic_vad", "create_response": True}, "format": FORMATS[0]}
        self.tell("input_audio_buffer.clear")
        self._look()
        for response in self.responses:  # those out of band would go on for long
            self.tell("response.cancel", response_id=response)
        self.update({"type": "realtime", "output_modalities": ["audio"], "audio": {"input": plain}})
        await self._frames(12.0, 0, 0.5)
        self.quiet_from = len(self.log)
        await self._frames(0.6, 77)
        await self._frames(8.0, 0, 0.25)
        self._look()
        for item in dict.fromkeys(self.items):
            self.tell("conversation.item.retrieve", item_id=item)
        await asyncio.sleep(1.0)

    def tell(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"event_{len(self.sent)}", **fields}
        self._send(event)

    def _send(self, event: Message) -> None:
        self.sent.append((asyncio.get_running_loop().time(), event))
        self._to_server.put_nowait({"type": "websocket.receive", "text": json.dumps(event)})

    async def _frames(self, seconds: float, level: int, frame_s: float = 0.1) -> None:
        """In real time."""
        frame = np.full(round(frame_s * self.input.hz), level / 100, np.float32)
        for _ in range(round(seconds / frame_s)):
            self._sound(frame)
            await asyncio.sleep(frame_s)

    def _sound(self, pcm: Any) -> None:
        self.sent_ms += len(pcm) * 1000 / self.input.hz
        audio = base64.b64encode(self.input.encode(pcm)).decode()
        self._to_server.put_nowait(
            {"type": "websocket.receive", "text": f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'}
        )

    async def _say(self) -> None:
        await self._frames(self.chance.choice([0.1, 0.2, 0.4, 1.2]), self.chance.randrange(10, 90))

    async def _hush(self) -> None:
        await self._frames(self.chance.choice([0.1, 0.3, 0.6, 1.5, 4.0]), 0)

    async def _wait(self) -> None:
        """Muted: no frames at all."""
        await asyncio.sleep(self.chance.choice([0.05, 0.3, 1.0, 3.0]))

    async def _burst(self) -> None:
        for _ in range(self.chance.randrange(1, 4)):
            level = self.chance.choice([0.42, 0.42, 0.0])
            self._sound(np.full(self.chance.randrange(0, 15_000), level, np.float32))

    async def _meddle(self) -> None:
        """Over a reply, with a cough and without."""
        self.respond()
        await self._frames(self.chance.choice([0.3, 1.0, 1.5]), 0)
        if self.chance.random() < 0.5:
            await self._frames(0.2, 50)
        await self._command()

    async def _command(self) -> None:
        """Several at once now and then: nothing happens between them."""
        self._look()
        for _ in range(self.chance.choice([1, 1, 1, 2, 4])):
            self.chance.choice(WISHES)(self)

    # Its wishes.

    def commit(self) -> None:
        self.tell("input_audio_buffer.commit")

    def clear(self) -> None:
        self.tell("input_audio_buffer.clear")

    def respond(self) -> None:
        chance = self.chance
        response: Message = {"metadata": {"event": f"event_{len(self.sent)}"}}
        if chance.random() < 0.3:
            response["conversation"] = chance.choice(["none", "none", "auto"])
        if chance.random() < 0.3:
            response["output_modalities"] = [chance.choice(["text", "audio"])]
        if chance.random() < 0.2:
            response["max_output_tokens"] = chance.choice([1, 3, "inf"])
        if chance.random() < 0.2:
            response["instructions"] = "Be brief."
        if chance.random() < 0.2:
            response["audio"] = {"output": {"format": chance.choice(FORMATS), "voice": "marin"}}
        if chance.random() < 0.2:
            known = {"type": "item_reference", "id": self.an_item()}
            response["input"] = chance.choice([[], [self.an_item_of_its_own()], [known, self.an_item_of_its_own()]])
        self.tell("response.create", response=response)

    def cancel(self) -> None:
        which = {"response_id": self.chance.choice(self.responses[-3:])} if self.chance.random() < 0.5 else {}
        self.tell("response.cancel", **which)

    def create(self) -> None:
        after = self.chance.choice([None, None, "root", self.an_item()])
        item = {**self.an_item_of_its_own(), "id": self.chance.choice([f"item_{len(self.sent)}", self.an_item()])}
        self.tell("conversation.item.create", item=item, **({} if after is None else {"previous_item_id": after}))

    def delete(self) -> None:
        self.tell("conversation.item.delete", item_id=self.an_item())

    def retrieve(self) -> None:
        self.tell("conversation.item.retrieve", item_id=self.an_item())

    def truncate(self) -> None:
        end_ms = self.chance.choice([0, 300, 3000, 10**9])
        self.tell("conversation.item.truncate", item_id=self.an_item(), content_index=0, audio_end_ms=end_ms)

    def nonsense(self) -> None:
        self.tell(self.chance.choice(["output_audio_buffer.clear", "conversation.explode"]))

    def an_item(self) -> str:
        return self.chance.choice([*self.items, *self.items[-2:] * 3])

    def an_item_of_its_own(self) -> Message:
        pcm = np.full(self.chance.randrange(800, 8000), 0.5, np.float32)
        sound = {"type": "input_audio", "audio": base64.b64encode(self.input.encode(pcm)).decode()}
        role, content = self.chance.choice(
            [
                ("user", sound),
                ("user", {"type": "input_text", "text": "hello"}),
                ("system", {"type": "input_text", "text": "Be kind."}),
                ("assistant", {"type": "output_text", "text": "I was here."}),
                ("assistant", {"type": "output_audio", "transcript": "I said so."}),
            ]
        )
        return {"type": "message", "role": role, "content": [content]}

    def update(self, session: Message) -> None:
        self.tell("session.update", session=session)
        written = session.get("audio", {}).get("input", {}).get("format")
        if written is not None:  # all of these are accepted: what is sent from here on is in the other format
            self.input = Format.of(written)

    def reconfigure(self) -> None:
        self.update(a_change(self.chance))


WISHES = [
    Stranger.commit,
    Stranger.clear,
    Stranger.respond,
    Stranger.respond,
    Stranger.respond,
    Stranger.cancel,
    Stranger.create,
    Stranger.create,
    Stranger.delete,
    Stranger.retrieve,
    Stranger.truncate,
    Stranger.nonsense,
    Stranger.reconfigure,
    Stranger.reconfigure,
    Stranger.reconfigure,
]
