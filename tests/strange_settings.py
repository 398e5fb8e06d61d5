"""What a stranger asks of its session: any field, with any value that makes sense."""

from __future__ import annotations

import random
from typing import Any

Message = dict[str, Any]

FORMATS: list[Message] = [
    {"type": "audio/pcm", "rate": 24_000},
    {"type": "audio/pcm", "rate": 16_000},
    {"type": "audio/pcmu"},
    {"type": "audio/pcma"},
]


def a_change(chance: random.Random) -> Message:
    """One `session` of a session.update."""
    vad = {"create_response": chance.random() < 0.8, "interrupt_response": chance.random() < 0.7}
    silence = {"type": "server_vad", "silence_duration_ms": 200, **vad}
    extras = chance.sample(["turn.metrics", "input.partials", "output.duck"], chance.randrange(4))
    change: Message = chance.choice(
        [
            {"audio": {"input": {"turn_detection": None}}},
            {"audio": {"input": {"turn_detection": silence}}},
            {"audio": {"input": {"turn_detection": {**silence, "idle_timeout_ms": 1500}}}},
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high", **vad}}}},
            {"audio": {"input": {"format": chance.choice(FORMATS)}}},
            {"audio": {"output": {"format": chance.choice(FORMATS), "voice": chance.choice(["alloy", "nobody"])}}},
            {"output_modalities": [chance.choice(["text", "audio"])]},
            {"instructions": "Be brief.", "max_output_tokens": chance.choice([5, "inf"])},
            {"include": extras, "audio": {"output": {"speed": 1.25}}},
            {"type": chance.choice(["realtime", "realtime", "transcription"])},
            {"audio": {"input": {"transcription": {"model": "whisper-1", "language": "en"}}}},
        ]
    )
    return change
