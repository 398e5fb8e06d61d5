"""A running server is asked something aloud and has to answer aloud: does it work, and how long does it take?

    python -m bench.smoke [--url http://127.0.0.1:8000] [--turns 1] [--text "…"] [--json FILE]

The question is spoken by the server itself (`/v1/audio/speech`) and streamed to `/v1/realtime` in real time, as a
microphone would. Voice to voice: from sending the question's last audible sample to receiving the first 10 ms of the
answer above -45 dBFS; through a proxy that includes the way there and back. VOXTRAL_API_KEY is shown where it is set.
Exit code 1, with the reason, where no spoken answer comes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from bench.report import Report
from voxtral_voice import audio
from voxtral_voice.playout import audible
from voxtral_voice.types import SPEAK_HZ, Pcm

_FRAME_S = 0.04
_LONGEST_S = 90.0
_LEAD_S = 0.3
_QUIET = 0.02  # of the peak


class NoAnswerError(Exception):
    """What went wrong."""


@dataclass
class Turn:
    """One question and its answer."""

    question: Pcm
    """24 kHz."""
    asked_at_s: float | None = None
    """When the question's last audible sample was sent."""
    answered_at_s: float | None = None
    heard: str = ""
    answer: str = ""
    sound: list[Pcm] = field(default_factory=list)

    @property
    def voice_to_voice_ms(self) -> float:
        assert self.asked_at_s is not None
        assert self.answered_at_s is not None
        return (self.answered_at_s - self.asked_at_s) * 1000


def key_headers() -> dict[str, str]:
    key = os.environ.get("VOXTRAL_API_KEY")
    return {"Authorization": f"Bearer {key}", "X-API-Key": key} if key else {}


async def spoken(url: str, text: str) -> Pcm:
    """`text` as the server reads it aloud."""
    async with httpx.AsyncClient(base_url=url, headers=key_headers(), timeout=_LONGEST_S) as http:
        answer = await http.post("/v1/audio/speech", json={"input": text, "response_format": "pcm"})
    if answer.status_code != 200:
        raise NoAnswerError(f"/v1/audio/speech answers {answer.status_code}: {answer.text[:300]}")
    pcm = audio.from_pcm16(answer.content)
    if not audible(pcm):
        raise NoAnswerError("/v1/audio/speech sends silence")
    return np.concatenate([np.zeros(round(_LEAD_S * SPEAK_HZ), np.float32), pcm])


async def ask(url: str, question: Pcm) -> Turn:
    """Say `question` and listen until the answer is over. Raises NoAnswerError."""
    turn = Turn(question)
    address = url.replace("http", "ws", 1) + "/v1/realtime"
    async with (
        asyncio.timeout(_LONGEST_S),
        connect(address, additional_headers=key_headers(), open_timeout=60) as socket,
    ):
        speaking = asyncio.create_task(_speak(socket, turn))
        try:
            await _listen(socket, turn)
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
    return turn


async def _speak(socket: ClientConnection, turn: Turn) -> None:
    """The question, then silence, a frame every 40 ms."""
    loop, size = asyncio.get_running_loop(), round(_FRAME_S * SPEAK_HZ)
    last = int(np.flatnonzero(np.abs(turn.question) > _QUIET * np.max(np.abs(turn.question)))[-1])
    due = loop.time()
    for start in itertools.count(0, size):
        frame = np.zeros(size, np.float32)
        part = turn.question[start : start + size]
        frame[: len(part)] = part
        sound = base64.b64encode(audio.to_pcm16(frame)).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))
        if start <= last < start + size:  # it would have left a microphone when it was said, not with its whole frame
            turn.asked_at_s = loop.time() - (start + size - last) / SPEAK_HZ
        due += _FRAME_S
        await asyncio.sleep(max(0.0, due - loop.time()))


async def _listen(socket: ClientConnection, turn: Turn) -> None:
    loop = asyncio.get_running_loop()
    async for raw in socket:
        event = json.loads(raw)
        match event["type"]:
            case "error":
                raise NoAnswerError(f"{event['error']['code']}: {event['error']['message']}")
            case "conversation.item.input_audio_transcription.completed":
                turn.heard = f"{turn.heard} {event['transcript'].strip()}".strip()
            case "response.created":  # a question with a pause in it may be answered a second time, in whole
                turn.sound, turn.answer, turn.answered_at_s = [], "", None
            case "response.output_audio_transcript.delta":
                turn.answer += event["delta"]
            case "response.output_audio.delta":
                turn.sound.append(audio.from_pcm16(base64.b64decode(event["delta"])))
                if turn.answered_at_s is None and audible(turn.sound[-1]):
                    turn.answered_at_s = loop.time()
            case "response.done" if event["response"]["status"] != "cancelled":
                status = event["response"]["status"]
                if turn.answered_at_s is None or turn.asked_at_s is None:
                    raise NoAnswerError(f"the response is {status} without a sound")
                return
    raise NoAnswerError(f"the server closes the conversation: {socket.close_code} {socket.close_reason}")


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the server (default: %(default)s)")
    parser.add_argument("--text", default="How old is the Brooklyn Bridge?", help="what to ask (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=1, help="how often, each in a conversation of its own (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    chosen = parser.parse_args()
    url = chosen.url.split("#")[0].rstrip("/")
    try:
        question = await spoken(url, chosen.text)
        turns = [await ask(url, question) for _ in range(chosen.turns)]
    except (NoAnswerError, OSError, httpx.HTTPError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
        reason = str(error) or f"no answer within {_LONGEST_S:g} s"
        print(f"no spoken answer from {url}: {reason}", file=sys.stderr)
        return 1
    for turn in turns:
        print(f"asked:    {chosen.text}\nheard:    {turn.heard}\nanswered: {turn.answer.strip()}")
    if chosen.turns == 1 and chosen.json is None:  # a trial, no measurement: one figure says nothing of the next
        print(f"voice to voice, received: {turns[0].voice_to_voice_ms:.0f} ms, this once")
        return 0
    report = Report("smoke", {"url": url, "text": chosen.text})
    report.values("voice to voice, received", [turn.voice_to_voice_ms for turn in turns])
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
