"""A conversation through OpenAI's own client.

    arecord -q -t raw -f S16_LE -r 24000 | python examples/openai_talk.py | aplay -q -t raw -f S16_LE -r 24000

Sound is 24 kHz, 16 bit, mono; what is said comes as text on standard error. Needs `pip install 'openai[realtime]'`.
"""

import asyncio
import base64
import os
import sys

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

FRAME_BYTES = 960  # 20 ms


async def listen(talk: AsyncRealtimeConnection) -> None:
    """The microphone, until it is closed."""
    while frame := await asyncio.to_thread(sys.stdin.buffer.read, FRAME_BYTES):
        await talk.input_audio_buffer.append(audio=base64.b64encode(frame).decode())
    await talk.close()


async def main() -> None:
    url, key = os.environ.get("URL", "http://127.0.0.1:8000"), os.environ.get("VOXTRAL_API_KEY", "none")
    async with (
        AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as client,
        client.realtime.connect(model="voxtral-voice") as talk,
    ):
        listening = asyncio.create_task(listen(talk))
        async for event in talk:
            match event.type:
                case "session.created":
                    print("listening", file=sys.stderr)
                case "conversation.item.input_audio_transcription.completed":
                    print("you:", event.transcript, file=sys.stderr)
                case "response.output_audio.delta":  # at most 0.3 s ahead of real time, so nothing has to be taken back
                    sys.stdout.buffer.write(base64.b64decode(event.delta))
                    sys.stdout.buffer.flush()
                case "response.output_audio_transcript.done":
                    print("it:", event.transcript, file=sys.stderr)
                case "error":
                    print("error:", event.error.code, event.error.message, file=sys.stderr)
        await listening


asyncio.run(main())
