"""A few words over a reply: do they ask for the floor?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from conversation import Conversation, converse, statuses
from scripted import Script
from voxtral_voice.events import Ducked, Transcribed, Unducked, UserStarted
from voxtral_voice.interjections import Meaning, meaning
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
    assert meaning(text) is Meaning.CALL


@pytest.mark.parametrize(
    "text",
    [
        "Mm-hmm.",
        "Uh-huh, yeah.",
        "Okay, okay, okay, okay.",
        "Yeah, I see.",
        "That’s right, of course.",
        "Got it, thank you.",
        "ठीक है।",
        "うん、うん",
        "好的。",
    ],
)
def test_agreement_does_not(text: str) -> None:
    assert meaning(text) is Meaning.AGREEMENT


def test_words_of_the_reply_itself_are_its_echo() -> None:
    reply = "You said Rome. But why? That's all I know about it."
    assert meaning("But why?", reply) is meaning("that’s all I know", reply) is Meaning.NOTHING
    assert meaning("But why Rome?", reply) is Meaning.CALL
    assert meaning("Why?", reply) is Meaning.CALL


@pytest.mark.parametrize("text", ["", "...", "Emma", "I", "So that is", "Okay, Tom.", "Paris", "うんパリ"])
def test_of_no_words_and_of_one_that_a_hum_is_taken_for_nothing_is_known(text: str) -> None:
    assert meaning(text) is Meaning.NOTHING


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
        await c.say(0.12, 22)
        await c.hush(6.0)

    c = converse(story, prepare=hears_stop, ducks=True)
    assert statuses(c) == [("cancelled", "turn_detected"), ("completed", "")]
    names = [type(e).__name__ for _, e in c.log if isinstance(e, (Ducked, Unducked, UserStarted))]
    assert names == ["UserStarted", "Ducked", "UserStarted", "Unducked"]
    assert [event.text for event in c.all(Transcribed)] == ["word11", "word22"]
    turn = c.script.understander.seen[-1][-1].parts[0]
    assert isinstance(turn, AudioPart)
    for pcm in (*said, turn.pcm):
        assert np.count_nonzero(np.abs(pcm) > 0.2) == round(0.12 * HEAR_HZ)
    assert len(said) == 1


@pytest.mark.parametrize(("words", "stops"), [("Yeah, right.", False), ("Yeah, right, tell me about Rome", True)])
def test_a_yeah_as_long_as_an_interruption_turns_the_reply_down_and_stops_nothing(words: str, stops: bool) -> None:
    """The recogniser hears the words one after the other, each quarter of a second."""

    def hears(script: Script) -> None:
        def transcribe(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            script.understander.sleep(0.05)
            said_s = np.count_nonzero(np.abs(pcm) > 0.2) / HEAR_HZ
            yield Heard(" ".join(words.split()[: 1 + int(said_s / 0.25)]), 0, "en")

        script.understander.transcribe = transcribe  # type: ignore[method-assign]
        script.understander.answer = lambda said: f"You said {said}. " + "And so on and on. " * 4

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(2.0)
        await c.say(0.25 * len(words.split()), 22)
        await c.hush(14.0)

    c = converse(story, prepare=hears, ducks=True, overrides={"turns.agreement_ms": 5000})
    assert statuses(c)[0] == (("cancelled", "turn_detected") if stops else ("completed", ""))
    assert len(c.all(UserStarted)) == 1 + stops
    assert len(c.all(Ducked)) == len(c.all(Unducked)) == 1


@pytest.mark.parametrize(("heard", "stops"), [("all I know about", False), ("all I know about ancient Rome", True)])
def test_a_reply_does_not_stop_for_its_own_words_out_of_the_loudspeaker(heard: str, stops: bool) -> None:
    def hears(script: Script) -> None:
        def transcribe(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            yield Heard(heard, 0, "en")

        script.understander.transcribe = transcribe  # type: ignore[method-assign]

    async def story(c: Conversation) -> None:
        await c.say(1.0, 11)
        await c.hush(2.0)
        await c.say(0.2, 22)
        await c.hush(6.0)

    assert statuses(converse(story, prepare=hears))[0][0] == ("cancelled" if stops else "completed")


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
