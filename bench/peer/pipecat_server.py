"""Pipecat as the peer: one WebSocket pipeline with the same models, run by the Python of Pipecat's own environment.

    PIPECAT/bin/python bench/peer/pipecat_server.py --port 8090 --models FOLDER

Raw 16-bit PCM goes both ways in binary messages, 16 kHz in and 24 kHz out, the cheapest serializer there is; JSON tells
of turns. Whisper and Kokoro are loaded once and shared by all sessions. It writes `ready` when it can be talked to, and
answers each line on its standard input with its event loop's lag since the last one; the end of that input ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    TTSSpeakFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.services.kokoro import tts as kokoro
from pipecat.services.whisper import stt as whisper
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy, TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from uvicorn.loops.auto import auto_loop_factory

sys.path.insert(0, str(Path(__file__).parent))
import pipecat_replies  # noqa: E402
import pipecat_zero_cost  # noqa: E402

_HEAR_HZ = 16_000
_TICK_S = 0.05
_TIMEOUT_S = {"smart-turn": 1.0, "default": 3.0}
"""Of silence after which smart-turn's refusal counts no more."""
_TUNINGS = ("smart-turn", "silence", "default", "zero-cost", "zero-cost-real")


class Raw(FrameSerializer):
    """PCM as it is; JSON for what the client wants to know."""

    async def serialize(self, frame: Frame) -> bytes | str | None:
        if isinstance(frame, OutputAudioRawFrame):
            return bytes(frame.audio)
        if isinstance(frame, InterruptionFrame):
            return json.dumps({"type": "interrupted"})
        if isinstance(frame, OutputTransportMessageUrgentFrame):
            return json.dumps(frame.message)
        return None

    async def deserialize(self, data: bytes | str) -> Frame | None:
        if isinstance(data, bytes):
            return InputAudioRawFrame(audio=data, sample_rate=_HEAR_HZ, num_channels=1)
        return TTSSpeakFrame(json.loads(data)["say"])


class Marks(FrameProcessor):
    """Tells the client when a turn has ended and when the voice has come to its end."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        kind = {UserStoppedSpeakingFrame: "turn_ended", BotStoppedSpeakingFrame: "silent"}.get(type(frame))
        if kind is not None:
            await self.push_frame(OutputTransportMessageUrgentFrame({"type": kind}))


class Models:
    """What all sessions share."""

    def __init__(self, folder: Path, reply: str) -> None:
        heard = whisper.WhisperModel(str(folder / "whisper_english"), device="cpu", compute_type="int8")
        whisper.WhisperModel = lambda *_, **__: heard
        self._voices = Path(tempfile.mkdtemp()) / "voices.npz"
        shapes = {
            file.stem: np.fromfile(file, np.float32).reshape(-1, 1, 256)
            for file in (folder / "kokoro_voices").glob("*.bin")
        }
        np.savez(self._voices, **shapes)  # type: ignore[arg-type]  # its last argument may also be a flag
        self._kokoro = str(folder / "kokoro_onnx" / "kokoro-v1.0.int8.onnx")
        spoken = kokoro.Kokoro(self._kokoro, str(self._voices))
        kokoro.Kokoro = lambda *_, **__: spoken
        list(heard.transcribe(np.zeros(_HEAR_HZ, np.float32), language="en")[0])
        for text in ("I heard you.", "This sentence is said once so that nothing is slow the first time."):
            spoken.create(text, voice="af_heart")
        self._thread, self._smollm2 = ThreadPoolExecutor(max_workers=1), None
        if reply == "smollm2":
            self._smollm2 = self._thread.submit(_smollm2, folder / "smollm2").result()

    def hearing(self) -> FrameProcessor:
        return whisper.WhisperSTTService(device="cpu", compute_type="int8", settings=_settings(whisper, model="shared"))

    def answering(self) -> FrameProcessor:
        if self._smollm2 is None:
            return pipecat_replies.Template()
        return pipecat_replies.SmolLM2Reply(self._smollm2, self._thread)

    def speaking(self) -> FrameProcessor:
        return kokoro.KokoroTTSService(
            model_path=self._kokoro,
            voices_path=str(self._voices),
            settings=kokoro.KokoroTTSService.Settings(voice="af_heart"),
            stop_frame_timeout_s=20.0,  # its 3 s would drop a long sentence that a busy machine takes longer to say
        )


def _smollm2(folder: Path) -> Any:
    """As our server has it, in the thread that will run it: torch counts its threads for each of its callers."""
    import torch

    from voxtral_voice import config
    from voxtral_voice.engines.smollm2 import SmolLM2
    from voxtral_voice.types import Cancel, Message, ReplySettings, TextPart

    torch.set_num_threads(1)
    reply = config.load().reply
    model = SmolLM2(folder, context_tokens=reply.context_tokens)
    settings = ReplySettings(reply.instructions, language="en", max_tokens=8)
    list(model.reply((Message("user", (TextPart("Hello."),)),), settings, Cancel()))
    return model


def _settings(module: Any, **chosen: Any) -> Any:
    return module.WhisperSTTService.Settings(**chosen)


def turns(tuning: str) -> tuple[Any, UserTurnStrategies]:
    """The voice detector and how it is decided that somebody has finished."""
    if tuning.startswith("zero-cost"):
        real = tuning == "zero-cost-real"
        detector = SileroVADAnalyzer() if real else pipecat_zero_cost.Energy()
        analyzer = LocalSmartTurnAnalyzerV3() if real else pipecat_zero_cost.SureTurn()
        return detector, UserTurnStrategies(stop=[TurnAnalyzerUserTurnStopStrategy(turn_analyzer=analyzer)])
    if tuning == "silence":
        return SileroVADAnalyzer(), UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0)])
    analyzer = LocalSmartTurnAnalyzerV3(params=SmartTurnParams(stop_secs=_TIMEOUT_S[tuning]))
    return SileroVADAnalyzer(), UserTurnStrategies(stop=[TurnAnalyzerUserTurnStopStrategy(turn_analyzer=analyzer)])


async def converse(socket: WebSocket, models: Models | None, tuning: str) -> None:
    """One session, from handshake to close."""
    await socket.accept()
    transport = FastAPIWebsocketTransport(
        websocket=socket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_10ms_chunks=2,
            serializer=Raw(),
        ),
    )
    detector, strategies = turns(tuning)
    aggregators = LLMContextAggregatorPair(
        LLMContext(), user_params=LLMUserAggregatorParams(vad_analyzer=detector, user_turn_strategies=strategies)
    )
    pipeline = Pipeline(
        [
            transport.input(),
            pipecat_zero_cost.Hearing() if models is None else models.hearing(),
            aggregators.user(),
            pipecat_zero_cost.Answering() if models is None else models.answering(),
            pipecat_zero_cost.Speaking() if models is None else models.speaking(),
            Marks(),
            transport.output(),
            aggregators.assistant(),
        ]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(audio_in_sample_rate=_HEAR_HZ, audio_out_sample_rate=24_000),
        enable_rtvi=False,  # what is not needed is left out: it costs the peer time
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )

    @worker.event_handler("on_pipeline_started")
    async def started(*_: Any) -> None:
        await socket.send_text(json.dumps({"type": "ready"}))

    @transport.event_handler("on_client_disconnected")
    async def gone(*_: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


async def _sample_lag(lags_ms: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _TICK_S
        await asyncio.sleep(_TICK_S)
        lags_ms.append(max(0.0, loop.time() - due) * 1000)


def _answer_lines(lags_ms: list[float], stop: Callable[[], None]) -> None:
    for _ in sys.stdin:
        found, lags_ms[:] = sorted(lags_ms), []
        p99 = found[int(0.99 * len(found))] if found else 0.0
        print(json.dumps({"n": len(found), "p99_ms": p99}), flush=True)
    stop()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--models", type=Path, help="where our store keeps its models")
    parser.add_argument("--tuning", choices=_TUNINGS, default="smart-turn")
    parser.add_argument("--reply", choices=["template", "smollm2"], default="template")
    parser.add_argument("--also", action="append", default=[], help="folders to import from, after this environment's")
    chosen = parser.parse_args()
    sys.path.extend(chosen.also)
    logger.remove()
    logger.add(sys.stderr, level=os.environ.get("PEER_LOG", "WARNING"))
    zero = chosen.tuning.startswith("zero-cost")
    models = None if zero else Models(chosen.models, chosen.reply)
    app = FastAPI()

    @app.websocket("/ws")
    async def talk(socket: WebSocket) -> None:
        await converse(socket, models, chosen.tuning)

    settings = uvicorn.Config(
        app, host="127.0.0.1", port=chosen.port, log_level="error", ws_per_message_deflate=False, ws_max_size=2**20
    )
    server = uvicorn.Server(settings)
    lags_ms: list[float] = []
    serving, sampling = asyncio.create_task(server.serve()), asyncio.create_task(_sample_lag(lags_ms))
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.call_soon_threadsafe(setattr, server, "should_exit", True)

    threading.Thread(target=_answer_lines, args=(lags_ms, stop), daemon=True).start()
    await serving
    sampling.cancel()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:  # uvloop, as ours
        runner.run(main())
