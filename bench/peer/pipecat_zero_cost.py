"""Pipecat's own base classes around models that cost nothing: what is left is the framework."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from pipecat.audio.turn.smart_turn.base_smart_turn import BaseSmartTurn
from pipecat.audio.vad.vad_analyzer import VADAnalyzer
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language

REPLY_S = 2.0
_TONE = (np.full(int(REPLY_S * 24_000), 0.3) * 32767).astype("<i2").tobytes()


class Energy(VADAnalyzer):
    """Speech is what is loud, 512 samples at a time, as silero has them."""

    def num_frames_required(self) -> int:
        return 512

    def voice_confidence(self, buffer: bytes) -> float:
        return 1.0 if np.abs(np.frombuffer(buffer, np.int16)).mean() > 1600 else 0.0


class SureTurn(BaseSmartTurn):
    """Every pause is the end."""

    def _predict_endpoint(self, audio_array: Any) -> dict[str, Any]:
        return {"prediction": 1, "probability": 0.95}


class Hearing(SegmentedSTTService):
    @property
    def wants_wav_segments(self) -> bool:
        return False

    def __init__(self) -> None:
        super().__init__(settings=STTSettings(model=None, language=Language.EN), ttfs_p99_latency=0.5)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        yield TranscriptionFrame("something", "", "", Language.EN)


class Answering(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        await self.push_frame(LLMTextFrame("That is all."))
        await self.push_frame(LLMFullResponseEndFrame())


class Speaking(TTSService):
    def __init__(self) -> None:
        settings = TTSSettings(model=None, voice="tone", language=Language.EN)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=settings)

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        yield TTSAudioRawFrame(audio=_TONE, sample_rate=24_000, num_channels=1, context_id=context_id)
