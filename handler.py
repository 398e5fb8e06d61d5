"""The worker of a RunPod serverless queue.

A job's input is one of these; what is marked ? may be left out (docs/api.md has examples):

    {"type": "converse",   "audio"? | "text"?: one of the two, "history"?: [{"role": "user" | "assistant" | "system",
                           "text"}], "voice"?, "language"?, "speed"?: 0.5-2, "instructions"?, "output_format"?}
    {"type": "transcribe", "audio", "language"?}
    {"type": "speak",      "text", "voice"?, "language"?, "speed"?, "output_format"?}
    {"type": "info"}

    audio: {"data": base64, "format"?: "wav" | "pcm16" (little-endian, mono), "sample_rate_hz": of pcm16}
    output_format: "wav" | "pcm16"; both 24 kHz, 16 bit, mono

It yields items, and the job's output is the list of them. The last one is `done` or `error`:

    {"type": "transcript", "seq", "text", "language"}
    {"type": "audio",      "seq", "text", "format", "sample_rate_hz", "duration_ms", "data"}     a clause each
    {"type": "reply",      "seq", "text", "reason": "stop" | "length" | "nothing_heard"}
    {"type": "done",       "seq", "history", "latency_ms", "info"?}
    {"type": "error",      "seq", "code", "message"}
"""

from __future__ import annotations

import sys

from voxtral_voice import config, logs
from voxtral_voice.config import ConfigError
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.types import VoiceError
from voxtral_voice.worker.run import run


def main() -> int:
    """Returns the exit code: 0 after a signal, 1 where the models cannot be had, 2 for wrong settings or usage."""
    try:
        settings = config.load()
        logs.configure(settings.logging)
        return run(settings, ModelManager(settings))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except VoiceError as error:
        sys.stderr.write(f"{error.code}: {error.message}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
