"""What is read aloud over HTTP is understood over HTTP, with the real models."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI

from loaded_server import loaded
from voxtral_voice.encode import Encoding
from whole_program import Program
from worlds import LAMP, LONG, words_wrong

STORY = (
    "In the evening the wind turned, and rain came over the hills. Nobody had expected a storm so early in the year. "
    "The fishermen pulled their nets on board and sailed home before it was dark. Only one small boat was missing, "
    "and her name was not in the book. So the keeper lit his lamp, sat down at the window and waited until the morning."
)
pytestmark = pytest.mark.models
FORMATS: tuple[Encoding, ...] = ("mp3", "opus")


async def test_what_was_read_aloud_is_written_down_again(program: Program) -> None:
    async with loaded(program) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        for encoding in FORMATS:
            spoken = await client.audio.speech.create(
                model="tts-1", voice="alloy", input=LAMP, response_format=encoding, speed=1.0
            )
            told = await client.audio.transcriptions.create(model="whisper-1", file=("x", spoken.content))
            assert words_wrong(LAMP, told.text) <= 0.2, (encoding, told.text)


@pytest.mark.slow  # 15 s
async def test_a_long_text_comes_back_whole_with_the_times_of_its_segments(program: Program) -> None:
    text = f"{LONG} {LAMP} {STORY}"  # more than one stretch
    async with loaded(program) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        spoken = await client.audio.speech.create(model="tts-1", voice="alloy", input=text)
        told = await client.audio.transcriptions.create(
            model="whisper-1", file=("x.mp3", spoken.content), response_format="verbose_json"
        )
        assert told.segments is not None
        assert len(told.segments) > 1
        ends = [0.0, *(segment.end for segment in told.segments)]
        assert [segment.start for segment in told.segments] == ends[:-1]
        assert ends[-1] == pytest.approx(told.duration, abs=0.01)
        assert words_wrong(text, told.text) <= 0.2
