"""The replies of our own server, in Pipecat: the same words at the same cost."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any

from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


def _last_words(context: LLMContext) -> str:
    return next((str(m["content"]) for m in reversed(context.messages) if m["role"] == "user"), "")


class Template(FrameProcessor):
    """The reply of our own template, word for word and as instant."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        text = " ".join(_last_words(frame.context).split()[:96])
        await self.push_frame(LLMFullResponseStartFrame())
        await self.push_frame(LLMTextFrame("I heard you."))
        await self.push_frame(LLMTextFrame(f" You said: {text}{'' if text[-1:] in '.!?' else '.'}"))
        await self.push_frame(LLMFullResponseEndFrame())


class SmolLM2Reply(FrameProcessor):
    """Our own SmolLM2 on a thread of this process, its text pushed piece by piece as an LLM service does."""

    def __init__(self, model: Any, thread: Executor) -> None:
        """`thread`: the one that the model was made in, whose number of torch's threads it has."""
        from voxtral_voice import config
        from voxtral_voice.types import ReplySettings

        super().__init__()
        self._model, self._thread = model, thread
        chosen = config.load().reply
        self._settings = ReplySettings(
            chosen.instructions,
            language="en",
            max_tokens=chosen.max_tokens,
            temperature=chosen.temperature,
            top_p=chosen.top_p,
        )

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        from voxtral_voice.types import Cancel, Delta, Message, TextPart

        spoken = [m for m in frame.context.messages if m["role"] in ("user", "assistant")]
        messages = tuple(Message(m["role"], (TextPart(str(m["content"])),)) for m in spoken)
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        cancel, loop = Cancel(), asyncio.get_running_loop()

        def write() -> None:
            for each in self._model.reply(messages, self._settings, cancel):
                if isinstance(each, Delta):
                    loop.call_soon_threadsafe(pieces.put_nowait, each.text)
            loop.call_soon_threadsafe(pieces.put_nowait, None)

        writing = loop.run_in_executor(self._thread, write)
        try:
            await self.push_frame(LLMFullResponseStartFrame())
            while (text := await pieces.get()) is not None:
                await self.push_frame(LLMTextFrame(text))
            await self.push_frame(LLMFullResponseEndFrame())
        finally:  # an interruption cancels this method
            cancel.set()
            await asyncio.shield(writing)
