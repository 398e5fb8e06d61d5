"""What was spoken before is not spoken again, as long as there is room for it."""

from __future__ import annotations

import numpy as np

from scripted import ScriptedSynthesizer
from voxtral_voice.engines.said_before import SaidBefore
from voxtral_voice.types import SPEAK_HZ, Cancel, Pcm, Voice

HEART = Voice("af_heart")
WORD_BYTES = SPEAK_HZ  # a scripted word lasts a quarter of a second


def say(voice: SaidBefore, clause: str, who: Voice = HEART) -> Pcm:
    return np.concatenate(list(voice.speak(clause, who, Cancel())))


def script() -> ScriptedSynthesizer:
    return ScriptedSynthesizer(sleep=lambda _: None)


def test_a_clause_is_spoken_once_for_each_voice_and_speed() -> None:
    behind = script()
    voice = SaidBefore(behind, most_bytes=1_000_000)
    first = say(voice, "Good morning. ")
    np.testing.assert_array_equal(say(voice, "Good morning."), first)
    assert behind.spoken == ["Good morning. "]
    say(voice, "Good morning.", Voice("bf_emma"))
    say(voice, "Good morning.", Voice("af_heart", speed=1.2))
    assert len(behind.spoken) == 3
    assert voice.bytes == 3 * 2 * WORD_BYTES


def test_the_one_that_was_not_wanted_for_longest_makes_room() -> None:
    behind = script()
    voice = SaidBefore(behind, most_bytes=2 * WORD_BYTES)
    for word in ("One.", "Two.", "One.", "Three.", "One.", "Two."):
        say(voice, word)
    assert behind.spoken == ["One.", "Two.", "Three.", "Two."]
    say(voice, "This one is longer than all the room.")
    assert voice.bytes <= 2 * WORD_BYTES


def test_a_clause_that_was_cut_short_is_not_kept() -> None:
    behind = script()
    voice, cancel = SaidBefore(behind, most_bytes=1_000_000), Cancel()
    parts = voice.speak("Good morning.", HEART, cancel)
    next(parts)
    cancel.set()
    assert list(parts) == []
    assert voice.bytes == 0
    say(voice, "Good morning.")
    assert len(behind.spoken) == 2
