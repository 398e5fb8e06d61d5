"""A conversation through LiveKit's agents, without a room.

    arecord -q -t raw -f S16_LE -r 24000 | python examples/livekit_talk.py | aplay -q -t raw -f S16_LE -r 24000

Sound is 24 kHz, 16 bit, mono; what is said comes as text on standard error. Needs
`pip install livekit-agents livekit-plugins-openai`. In a room `session.start(agent, room=...)` brings both ends of the
sound, and `Microphone` and `Loudspeaker` go.
"""

import asyncio
import os
import sys
import time

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.plugins import openai

RATE_HZ = 24_000
FRAME_BYTES = 960  # 20 ms


class Microphone(io.AudioInput):
    """Standard input."""

    def __init__(self) -> None:
        super().__init__(label="stdin")
        self.closed = asyncio.Event()

    async def __anext__(self) -> rtc.AudioFrame:
        sound = await asyncio.to_thread(sys.stdin.buffer.read, FRAME_BYTES)
        if not sound:
            self.closed.set()
            raise StopAsyncIteration
        return rtc.AudioFrame(sound, RATE_HZ, 1, len(sound) // 2)


class Loudspeaker(io.AudioOutput):
    """Standard output, no faster than it is heard; what waits can be taken back."""

    def __init__(self) -> None:
        super().__init__(label="stdout", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE_HZ)
        self._waiting: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue()
        self._played_s = 0.0
        self._playing = asyncio.create_task(self._play())

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._waiting.put_nowait(frame)

    def flush(self) -> None:
        super().flush()
        self._waiting.put_nowait(None)

    def clear_buffer(self) -> None:
        if self._waiting.empty() and not self._played_s:
            return
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._finished(interrupted=True)

    async def _play(self) -> None:
        due = 0.0
        while True:
            frame = await self._waiting.get()
            if frame is None:
                self._finished(interrupted=False)
                continue
            if not self._played_s:
                self.on_playback_started(created_at=time.time())
            sys.stdout.buffer.write(frame.data)
            sys.stdout.buffer.flush()
            self._played_s += frame.duration
            due = max(time.monotonic(), due) + frame.duration
            await asyncio.sleep(due - time.monotonic())

    def _finished(self, interrupted: bool) -> None:
        self.on_playback_finished(playback_position=self._played_s, interrupted=interrupted)
        self._played_s = 0.0


async def main() -> None:
    url, key = os.environ.get("URL", "http://127.0.0.1:8000"), os.environ.get("VOXTRAL_API_KEY", "none")
    model = openai.realtime.RealtimeModel(base_url=f"{url}/v1", api_key=key)
    turns = {"turn_detection": "realtime_llm", "interruption": {"resume_false_interruption": False}}
    session: AgentSession = AgentSession(llm=model, vad=None, turn_handling=turns)
    microphone = session.input.audio = Microphone()
    session.output.audio = Loudspeaker()

    @session.on("conversation_item_added")
    def added(event) -> None:
        if event.item.type == "message":
            print("you:" if event.item.role == "user" else "it:", event.item.text_content, file=sys.stderr)

    @session.on("error")
    def failed(event) -> None:
        print("error:", event.error, file=sys.stderr)

    await session.start(Agent(instructions="Answer in one short sentence."))
    print("listening", file=sys.stderr)
    await microphone.closed.wait()
    await session.aclose()
    await model.aclose()


asyncio.run(main())
