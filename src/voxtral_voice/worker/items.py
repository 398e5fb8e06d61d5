"""What a job's stream says: JSON items, numbered, each small enough for the platform and so are all together."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from voxtral_voice import audio
from voxtral_voice.types import SPEAK_HZ, Pcm, VoiceError
from voxtral_voice.worker.job_input import HISTORY_BYTES, SoundFormat

Item = dict[str, Any]

_LONGEST_SAMPLES = 10 * SPEAK_HZ
"""Of sound in one item: 640 kB in base64, where the platform splits what is over 1 MB."""
_AHEAD = 2
"""Items that may wait for the client before synthesis waits for it too."""
RESERVED_BYTES = HISTORY_BYTES + 100_000
"""For what comes after the sound: the reply's text, the conversation, an error."""


class Outlet:
    """The items of one job on their way out."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: what all items may have together as one JSON list."""
        self._waiting: asyncio.Queue[Item | None] = asyncio.Queue()
        self._taken = asyncio.Event()
        self._left_bytes = most_bytes - RESERVED_BYTES
        self._count = 0

    def say(self, kind: str, **fields: object) -> None:
        """One item without sound."""
        self._put({"type": kind, "seq": self._count, **fields})

    def sound(self, text: str, pcm: Pcm, form: SoundFormat) -> None:
        """A clause and its sound (shape [samples], 24 kHz), in several items when it is long: the first has the text.

        Raises VoiceError("message_too_large") when the job's items would be more than the platform takes.
        """
        for at in range(0, len(pcm), _LONGEST_SAMPLES):
            part = pcm[at : at + _LONGEST_SAMPLES]
            data = audio.to_wav(part, SPEAK_HZ) if form == "wav" else audio.to_pcm16(part)
            item: Item = {
                "type": "audio",
                "seq": self._count,
                "text": text if at == 0 else "",
                "format": form,
                "sample_rate_hz": SPEAK_HZ,
                "duration_ms": len(part) * 1000 // SPEAK_HZ,
                "data": base64.b64encode(data).decode(),
            }
            self._left_bytes -= _size(item)
            if self._left_bytes < 0:
                raise VoiceError(
                    "message_too_large",
                    f"one job may not return more sound than the {self._count} items before this one; "
                    "ask for less at once",
                )
            self._put(item)

    def end(self) -> None:
        self._waiting.put_nowait(None)

    async def room(self) -> None:
        """Until the client has taken what is there, all but a little."""
        while self._waiting.qsize() >= _AHEAD:
            self._taken.clear()
            await self._taken.wait()

    async def take(self) -> Item | None:
        """The next item; None after the last."""
        item = await self._waiting.get()
        self._taken.set()
        return item

    def _put(self, item: Item) -> None:
        self._count += 1
        self._waiting.put_nowait(item)


def _size(item: Item) -> int:
    return len(json.dumps(item, ensure_ascii=False).encode()) + 2
