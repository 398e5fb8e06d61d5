"""A job on this machine, through the code that does it on RunPod."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np

from voxtral_voice import audio
from voxtral_voice.config import Config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.types import SPEAK_HZ, Pcm, VoiceError
from voxtral_voice.worker.answer import answer
from voxtral_voice.worker.items import Item

_SHOWN = 12


def read_file(path: Path) -> object:
    """The `input` of a file that holds what is sent to RunPod: {"input": {…}}. Raises VoiceError("invalid_json")."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VoiceError("invalid_json", f"{path}: {error}") from None
    if not isinstance(body, dict) or "input" not in body:
        raise VoiceError("invalid_json", f'{path}: expected {{"input": {{"type": …}}}}, as it is sent to RunPod')
    return body["input"]


async def do(given: object, config: Config) -> AsyncGenerator[Item, None]:
    """Load the models and do one job. Raises VoiceError("model_failed") when there are none."""
    manager = ModelManager(config)
    try:
        await manager.load()
        async with aclosing(answer(given, manager, config, "here")) as items:
            async for item in items:
                yield item
    finally:
        manager.close()


def line(item: Item) -> str:
    """An item as a line of JSON, its sound shortened."""
    if "data" in item:
        data = item["data"]
        item = {**item, "data": f"{data[:_SHOWN]}… ({len(data)} characters)"}
    return json.dumps(item, ensure_ascii=False)


def sound(items: Sequence[Item]) -> Pcm:
    """All that was spoken: shape [samples], 24 kHz."""
    parts = [np.zeros(0, np.float32)]
    for item in items:
        if item["type"] == "audio":
            data = base64.b64decode(item["data"])
            parts.append(audio.read(data, SPEAK_HZ) if item["format"] == "wav" else audio.from_pcm16(data))
    return np.concatenate(parts)
