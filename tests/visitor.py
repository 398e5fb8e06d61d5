"""A Realtime client with a plan, at the same door and in the same virtual time as `stranger.Stranger`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from conformance import Conformance
from realtime_client import speech
from scripted import Script
from stranger import Message, Stranger

Story = Callable[["Visitor"], Awaitable[None]]


class Visitor(Stranger):
    """Speech of level 0.42 is heard as "word42"; a word of a reply takes 0.25 s to say."""

    def __init__(self, story: Story, *, transcribes: bool = False, prepare: Callable[[Script], None]) -> None:
        super().__init__(seed=0)
        self.transcribes, self.leaves_early, self.word_s = transcribes, True, 0.25
        self._story = story
        self._plan = prepare
        self.parts: Script

    def _prepare(self, parts: Script) -> None:
        self.parts = parts
        self._plan(parts)

    async def _live(self, parts: Script) -> None:
        await asyncio.sleep(0.01)
        await self._story(self)

    @property
    def events(self) -> list[Message]:
        return [json.loads(text) for _, text in self.log]

    def all(self, kind: str) -> list[Message]:
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        """What came, repeats of one kind in a row once."""
        names = [event["type"] for event in self.events]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def done(self) -> list[Message]:
        return [event["response"] for event in self.all("response.done")]

    def errors(self) -> list[tuple[str, str]]:
        return [(event["error"]["code"], event["error"]["event_id"]) for event in self.all("error")]

    async def say(self, seconds: float, level: int = 42) -> None:
        """Fades in and out: a step would ring in the resampler and be heard as another word."""
        pcm, size = speech(seconds, level, self.input.hz), self.input.hz // 10
        for start in range(0, len(pcm), size):
            self._sound(pcm[start : start + size])
            await asyncio.sleep(0.1)

    async def hush(self, seconds: float) -> None:
        await self._frames(seconds, 0)

    async def turn(self, level: int = 42) -> None:
        """Something said, and the time to answer it."""
        await self.say(0.6, level)
        await self.hush(6.0)

    def ask(self, **response: Any) -> None:
        """The metadata says which event asked, so that every answer can be held against it."""
        metadata = {**response.get("metadata", {}), "event": f"event_{len(self.sent)}"}
        self.tell("response.create", response={**response, "metadata": metadata})

    def write(self, text: str, item_id: str = "item_written") -> None:
        content = [{"type": "input_text", "text": text}]
        self.tell(
            "conversation.item.create", item={"id": item_id, "type": "message", "role": "user", "content": content}
        )


def visit(story: Story, *, transcribes: bool = False, prepare: Callable[[Script], None] = lambda _: None) -> Visitor:
    """Let the story happen; every event of it is checked as those of a random one are."""
    visitor = Visitor(story, transcribes=transcribes, prepare=prepare)
    visitor.meet()
    Conformance(visitor).check()
    return visitor


def said(response: Message) -> str:
    """The words of a finished response."""
    (item,) = response["output"]
    (content,) = item["content"]
    text: str = content.get("transcript", content.get("text"))
    return text
