"""The worker with scripted engines in place of models: `python scripted_worker.py NOTES [loading | ready | failed]`.

They write into the file NOTES when they begin, when they are told to stop and when they are free again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parent))

from realtime_server import ScriptedManager, State
from scripted import ScriptedSynthesizer, ScriptedUnderstander, script
from voxtral_voice import config, logs
from voxtral_voice.types import Cancel, Delta, Finished, Heard, Message, Pcm, ReplySettings, Voice
from voxtral_voice.worker.run import run

NOTES = Path(sys.argv[1])


def note(what: str, text: str) -> None:
    with NOTES.open("a") as file:
        file.write(json.dumps({"what": what, "text": text, "at_s": time.time()}) + "\n")


class Synthesizer(ScriptedSynthesizer):
    """A clause takes 0.04 s; with the word "calmly" 1.5 s, "slowly" 4 s, in steps of 0.02 s. "break" breaks it."""

    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        self.clause_s = 4.0 if "slowly" in clause else 1.5 if "calmly" in clause else 0.04
        self.word_s = 30.0 if "forever" in clause else 0.12
        if "break" in clause:
            raise RuntimeError(f"{NOTES}: broken")
        cancel.on_set(lambda: note("cancel", clause))
        note("begun", clause)
        try:
            yield from super().speak(clause, voice, cancel)
        finally:
            note("free", clause)


class Understander(ScriptedUnderstander):
    """Answers with what was written, or heard; to "hush" with nothing."""

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Heard | Finished]:
        text = messages[-1].text
        cancel.on_set(lambda: note("cancel", f"reply: {text}"))
        self.token_s = 0.02 if "think" in text else 0.002
        note("begun", f"reply: {text}")
        note("asked", " | ".join(f"{message.role}: {message.text}" for message in messages))
        try:
            yield from super().reply(messages, settings, cancel)
        finally:
            note("free", f"reply: {text}")


if __name__ == "__main__":
    settings = config.load()
    logs.configure(settings.logging)
    parts = script()
    synthesizer, understander = Synthesizer(), Understander(hear_s=0.02, answer=lambda said: said.removeprefix("hush"))
    engines = parts.engines.__class__(
        **{**vars(parts.engines), "synthesizer": synthesizer, "understander": understander}
    )
    state = sys.argv[2] if len(sys.argv) > 2 else "ready"
    manager = ScriptedManager(parts.__class__(**{**vars(parts), "engines": engines}), cast(State, state))
    sys.exit(run(settings, manager))
