"""A few words over a reply: do they ask for the floor?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from conversation import Conversation, converse, statuses
from scripted import Script
from voxtral_voice.events import Ducked, Transcribed, Unducked, UserStarted
from voxtral_voice.interjections import interrupts
from voxtral_voice.types import HEAR_HZ, AudioPart, Cancel, Heard, Pcm, VoiceError


@pytest.mark.parametrize(
    "text",
    [
        "Stop.",
        "Wait, wait.",
        "No!",
        "What?",
        "Oh, but why?",
        "Hold on.",
        "tell me about Paris",  # no call, but a sentence
        "Ja, aber",
        "¡Espera!",
        "Attendez…",
        "Aspetta un attimo",
        "Não.",
        "Halt!",
        "नहीं।",
        "रुकिए",
        "待ってください",
        "等一下。",
        "我想知道天气",
    ],
)
def test_a_call_and_a_sentence_interrupt(text: str) -> None:
    assert interrupts(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "Mm-hmm.",
        "Uh-huh, yeah.",
        "Okay, okay, okay, okay.",
        "Yeah, I see.",
        "That’s right, of course.",
        "Emma",  # a hum, as a recogniser writes it
        "ठीक है।",
        "うん、うん",
        "好的。",
    ],
)
def test_agreement_and_what_is_heard_in_a_hum_do_not(text: str) -> None:
    assert not interrupts(text)


def test_a_short_word_over_the_reply_stops_it_once_it_is_understood_and_is_all_in_the_turn() -> None:
    said: list[Pcm] = []

    def hears_stop(script: Script) -> None:
        def transcribe(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            said.append(pcm)
            script.understander.sleep(0.1)
            yield Heard("Stop.", 0, "en")

        script.understander.transcribe = transcribe  # type: ignore[method-assign]

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(2.0)
        await c.say(0.2, 22)
        await c.hush(6.0)

    c = converse(story, prepare=hears_stop, ducks=True)
    assert statuses(c) == [("cancelled", "turn_detected"), ("completed", "")]
    names = [type(e).__name__ for _, e in c.log if isinstance(e, (Ducked, Unducked, UserStarted))]
    assert names == ["UserStarted", "Ducked", "UserStarted", "Unducked"]
    assert [event.text for event in c.all(Transcribed)] == ["word11", "word22"]
    turn = c.script.understander.seen[-1][-1].parts[0]
    assert isinstance(turn, AudioPart)
    for pcm in (*said, turn.pcm):
        assert np.count_nonzero(np.abs(pcm) > 0.2) == round(0.2 * HEAR_HZ)
    assert len(said) == 1


def test_where_the_words_over_a_reply_cannot_be_had_it_plays_on() -> None:
    def fails(script: Script) -> None:
        def transcribe(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            raise VoiceError("out_of_memory", "no memory left")
            yield

        script.understander.transcribe = transcribe  # type: ignore[method-assign]

    async def story(c: Conversation) -> None:
        await c.say(1.0)
        await c.hush(1.5)
        await c.say(0.2)
        await c.hush(4.0)

    c = converse(story, prepare=fails, ducks=True)
    assert statuses(c) == [("completed", "")]
    assert len(c.all(Ducked)) == len(c.all(Unducked)) == 1
