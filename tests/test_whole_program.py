"""Real speech through the real program: heard, answered aloud, interrupted."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import jiwer
import numpy as np
import pytest
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

from model_fixtures import recordings
from voxtral_voice.events import Event, ReplyAudio, ReplyDone, UserStarted
from voxtral_voice.metrics import Metrics
from voxtral_voice.session import Session
from voxtral_voice.talk import Talk, talk
from voxtral_voice.types import HEAR_HZ, Pcm
from whole_program import Program

pytestmark = pytest.mark.models
normalise = EnglishTextNormalizer({})


def words_wrong(truth: str, hypothesis: str) -> float:
    return float(jiwer.wer(normalise(truth), normalise(hypothesis) or "nothing"))


async def converse(program: Program, pcm: Pcm, **settings: object) -> Talk:
    return await talk(pcm, program.engines, program.config, replace(program.settings, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("voice", "sentence"),
    [
        ("af_heart", "How many people live in New York?"),
        ("bf_emma", "I would like a cup of tea with milk."),
    ],
)
async def test_a_sentence_comes_back_as_the_sound_of_its_answer(program: Program, voice: str, sentence: str) -> None:
    result = await converse(program, await program.say(sentence, voice))
    assert words_wrong(sentence, " ".join(result.heard)) <= 0.12
    (answer,) = result.answers
    assert answer.status == "completed"
    assert words_wrong(answer.text, await program.write_down(answer.pcm)) <= 0.12


async def test_recorded_speech_is_heard_and_answered(program: Program) -> None:
    """With VOXTRAL_TEST_AUDIO the recordings there, else a voice that the other tests do not use."""
    named = {"g_brooklyn", "katie_heard", "sb_dog"}
    clips = [(clip.text, clip.pcm) for clip in recordings() if clip.name in named]
    if not clips:
        clips = [
            (
                "The child almost hurt the small dog.",
                await program.say("The child almost hurt the small dog.", "bm_george"),
            )
        ]
    for text, pcm in clips:
        result = await converse(program, np.concatenate([pcm, np.zeros(2 * HEAR_HZ, np.float32)]))
        assert words_wrong(text, " ".join(result.heard)) <= 0.3
        assert result.answers[-1].status == "completed"


HINDI = [
    "नमस्ते, आप कैसे हैं?",
    "आज मौसम बहुत अच्छा है।",
    "मुझे चाय पीना पसंद है।",
    "मेरा नाम राहुल है।",
    "क्या आप मेरी मदद कर सकते हैं?",
]


async def test_hindi_is_heard_as_hindi_and_answered_in_a_hindi_voice(program: Program) -> None:
    plain = BasicTextNormalizer()
    truths, heard = [], []
    for number, sentence in enumerate(HINDI):
        pcm = await program.say(sentence, ("hf_alpha", "hm_omega")[number % 2])
        truths.append(plain(sentence))
        heard.append(plain(await program.write_down(pcm, HEAR_HZ, "hi")))
    assert jiwer.cer(truths, heard) <= 0.30, list(zip(truths, heard, strict=True))

    result = await converse(program, await program.say(HINDI[1], "hf_alpha"), language="auto")
    answer = result.answers[-1]
    assert any("\u0900" <= letter <= "\u097f" for letter in answer.text)
    spoken = await program.write_down(answer.pcm, language="auto")
    assert any("\u0900" <= letter <= "\u097f" for letter in spoken), spoken


async def test_twenty_interruptions_of_the_real_voice_let_nothing_of_the_old_turn_out(program: Program) -> None:
    session = Session(program.engines, program.config, Metrics(), program.settings)
    owner, events = asyncio.create_task(session.run()), asyncio.Queue[tuple[float, Event]]()
    loop, chance = asyncio.get_running_loop(), random.Random(5)

    async def listen() -> None:
        async for event in session.events():
            events.put_nowait((loop.time(), event))

    listener = asyncio.create_task(listen())
    question = (await program.say("Tell me about the old bridge.", "af_heart"))[HEAR_HZ // 2 :]
    frame = HEAR_HZ // 20
    stop = asyncio.Event()

    async def speak() -> None:
        """The question again and again, sometimes into the middle of its answer."""
        for _ in range(21):
            for at in range(0, len(question) - 2 * HEAR_HZ, frame):
                session.hear(question[at : at + frame])
                await asyncio.sleep(0.05)
            silent_s = chance.uniform(0.9, 2.2)
            for _ in range(round(silent_s / 0.05)):
                session.hear(np.zeros(frame, np.float32))
                await asyncio.sleep(0.05)
        stop.set()

    await asyncio.gather(speak(), stop.wait())
    session.close()
    await asyncio.gather(owner, listener)
    happened = [events.get_nowait() for _ in range(events.qsize())]
    cancelled = [(at, e) for at, e in happened if isinstance(e, ReplyDone) and e.status == "cancelled"]
    assert len(cancelled) >= 10, "the story interrupts too rarely to prove anything"
    for at, done in cancelled:
        started = max(when for when, e in happened if isinstance(e, UserStarted) and when <= at + 0.001)
        sound = [when for when, e in happened if isinstance(e, ReplyAudio) and e.response_id == done.response_id]
        assert [when for when in sound if when > started] == []


async def test_five_people_at_once_are_each_answered_on_their_own_words(program: Program) -> None:
    sentences = {
        "af_heart": "My favourite fruit is the apple.",
        "am_michael": "The train to London is late.",
        "bf_emma": "I bought a green umbrella.",
        "bm_george": "We are going to the mountains.",
        "af_bella": "He plays the piano every day.",
    }
    spoken = [await program.say(text, voice) for voice, text in sentences.items()]
    results = await asyncio.gather(*(converse(program, pcm) for pcm in spoken))
    own = ("apple", "train", "umbrella", "mountains", "piano")
    for word, result in zip(own, results, strict=True):
        said = " ".join(answer.text for answer in result.answers if answer.status == "completed").lower()
        assert word in said
        assert not any(other in said for other in own if other != word)
