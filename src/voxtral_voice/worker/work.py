"""The jobs themselves, through the same pieces that serve a conversation. What comes of them goes to an Outlet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

from voxtral_voice import __version__, settings
from voxtral_voice.config import Config
from voxtral_voice.metrics import Marks
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.pipeline import Mark, Output, Spoken, respond
from voxtral_voice.speech import read_clauses
from voxtral_voice.transcript import write_down
from voxtral_voice.types import Delta, Finished, Heard, VoiceError
from voxtral_voice.voices import SPOKEN_LANGUAGES, VOICES
from voxtral_voice.worker.items import Outlet
from voxtral_voice.worker.job_input import Converse, Info, Job, Said, Speak, Transcribe, read


class Work:
    """One job. The last item it says is `done`, unless it raises."""

    def __init__(self, manager: ModelManager, config: Config, out: Outlet) -> None:
        self._manager = manager
        self._engines = manager.engines
        self._config = config
        self._out = out
        self._marks = Marks()
        self._mark("start")

    async def do(self, given: object) -> None:
        """`given`: the job's `input`. Raises VoiceError, alone or in an ExceptionGroup."""
        job: Job = await asyncio.to_thread(read, given, self._config, self._engines.understander.languages)
        match job:
            case Converse():
                await self._converse(job)
            case Transcribe():
                await self._transcribe(job)
            case Speak():
                await self._speak(job)
            case Info():
                self._done(info=self._info())

    async def _converse(self, job: Converse) -> None:
        turn = _Turn(job, self._out, self._mark)
        await respond(job.request, self._engines, settings.chunk_rules(self._config), turn.take, self._out.room)
        if not turn.reply and turn.finished.reason != "nothing_heard":
            raise VoiceError("internal_error", "the reply has no words")
        self._out.say("reply", text=turn.reply, reason=turn.finished.reason)
        said = [Said("user", turn.user), Said("assistant", turn.reply)]
        self._done(history=(*job.history, *(each for each in said if each.text)))

    async def _transcribe(self, job: Transcribe) -> None:
        count = 0
        async with aclosing(write_down(job.pcm, job.language, self._engines)) as stretches:
            async for heard in stretches:
                self._mark("transcript")
                self._out.say("transcript", text=heard.text, language=heard.language)
                count += 1
        if not count:
            self._out.say("transcript", text="", language="")
        self._done()

    async def _speak(self, job: Speak) -> None:
        spoken = False
        async with aclosing(read_clauses(job.text, job.voice, self._engines, self._config)) as clauses:
            async for clause in clauses:
                spoken = True
                self._mark("first_pcm")
                self._out.sound(clause.clause, clause.pcm, job.sound)
                await self._out.room()
        if not spoken:
            raise VoiceError("invalid_event", "text: nothing in it can be spoken")
        self._done()

    def _info(self) -> dict[str, object]:
        return {
            "version": __version__,
            "profile": self._manager.profile,
            "models": {name: state.state for name, state in self._manager.states.items()},
            "voices": [{"name": v.name, "language": v.language, "gender": v.gender} for v in VOICES.values()],
            "languages": {
                "heard": sorted(self._engines.understander.languages),
                "spoken": sorted(SPOKEN_LANGUAGES),
            },
        }

    def _done(self, *, history: tuple[Said, ...] = (), **more: object) -> None:
        self._mark("total")
        told = [{"role": said.role, "text": said.text} for said in history]
        self._out.say("done", history=told, latency_ms=self._marks.since("start"), **more)

    def _mark(self, stage: str) -> None:
        self._marks.set(stage, time.monotonic())


class _Turn:
    """One answer as the engines make it, turned into items."""

    def __init__(self, job: Converse, out: Outlet, mark: Callable[[str], None]) -> None:
        self._sound = job.sound
        self._out = out
        self._mark = mark
        self._words: list[str] = []
        self.user = job.text or ""
        self.finished = Finished()

    @property
    def reply(self) -> str:
        return "".join(self._words).strip()

    def take(self, output: Output) -> None:
        match output:
            case Heard():
                self._mark("transcript")
                self.user = output.text
                self._out.say("transcript", text=output.text, language=output.language)
            case Mark():
                self._mark(output.stage)
            case Delta():
                self._words.append(output.text)
            case Spoken():
                self._words.append(output.clause)
                if len(output.pcm):
                    self._mark("first_pcm")
                    self._out.sound(output.clause, output.pcm, self._sound)
            case Finished():
                self.finished = output
