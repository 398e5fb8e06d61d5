"""A conversation through a Pipecat pipeline.

    arecord -q -t raw -f S16_LE -r 24000 | python examples/pipecat_talk.py | aplay -q -t raw -f S16_LE -r 24000

Sound is 24 kHz, 16 bit, mono; what is said comes as text on standard error. Needs `pip install 'pipecat-ai[openai]'`.
With one of Pipecat's transports in place of `Microphone` and `Loudspeaker` the same pipeline answers in a room or on a
telephone.
"""

import asyncio
import os
import sys

from loguru import logger
from pipecat.frames.frames import EndWorkerFrame, InputAudioRawFrame, LLMRunFrame, OutputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 24_000
FRAME_BYTES = 960  # 20 ms


class Microphone(BaseInputTransport):
    """Standard input."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self.create_task(self._listen())

    async def _listen(self) -> None:
        while sound := await asyncio.to_thread(sys.stdin.buffer.read, FRAME_BYTES):
            await self.push_audio_frame(InputAudioRawFrame(sound, RATE_HZ, 1))
        await self.push_frame(EndWorkerFrame(), FrameDirection.UPSTREAM)


class Loudspeaker(BaseOutputTransport):
    """Standard output, no faster than it is heard: what Pipecat still holds it can take back."""

    _due = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        sys.stdout.buffer.write(frame.audio)
        sys.stdout.buffer.flush()
        now = asyncio.get_running_loop().time()
        self._due = max(now, self._due) + frame.num_frames / frame.sample_rate
        await asyncio.sleep(self._due - now)
        return True


async def main() -> None:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    url = os.environ.get("URL", "http://127.0.0.1:8000").replace("http", "ws")
    llm = OpenAIRealtimeLLMService(
        base_url=f"{url}/v1/realtime",
        api_key=os.environ.get("VOXTRAL_API_KEY", "none"),
        settings=OpenAIRealtimeLLMService.Settings(system_instruction="Answer in one short sentence."),
    )
    params = TransportParams(audio_in_enabled=True, audio_out_enabled=True, audio_out_end_silence_secs=0)
    context = LLMContext([{"role": "user", "content": "Say hello."}])
    user, assistant = LLMContextAggregatorPair(context)

    @user.event_handler("on_user_turn_message_added")
    async def heard(_, message) -> None:
        print("you:", message.content, file=sys.stderr)

    @assistant.event_handler("on_assistant_turn_stopped")
    async def said(_, message) -> None:
        print("it:", message.content, file=sys.stderr)

    worker = PipelineWorker(
        Pipeline([Microphone(params), user, llm, Loudspeaker(params), assistant]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
    )

    @worker.event_handler("on_pipeline_started")
    async def started(*_) -> None:
        print("listening", file=sys.stderr)
        await worker.queue_frames([LLMRunFrame()])  # Pipecat hands its context over with the first answer, so it begins

    runner = WorkerRunner()
    await runner.add_workers(worker)
    await runner.run()


asyncio.run(main())
