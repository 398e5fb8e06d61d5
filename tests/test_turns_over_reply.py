"""The TurnTaker alone, while a reply is being heard: what stops it, and what only turns it down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from turn_listener import RULES, WINDOW, Listener
from voxtral_voice import config
from voxtral_voice.interjections import Meaning
from voxtral_voice.signals import AskWords, BargedIn, DuckEnded, DuckStarted, Ended, Started
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import HEAR_HZ


def test_over_the_reply_a_cough_ducks_and_unducks_and_stops_nothing() -> None:
    listener = Listener(meaning=Meaning.NOTHING).hear("#" * 6 + "." * 10, over_reply=True)
    assert listener.log == [
        DuckStarted(3 * WINDOW),
        AskWords(5 * WINDOW, 0, 5 * WINDOW),  # so that it is known before its sound decides
        AskWords(11 * WINDOW, 0, 6 * WINDOW),
        DuckEnded(11 * WINDOW),
    ]
    assert not listener.taker.waiting


def test_a_click_over_the_reply_is_not_worth_a_question() -> None:
    assert Listener().hear("##" + "." * 10, over_reply=True).log == []


def test_over_the_reply_300_ms_of_speech_interrupt_it_small_gaps_included() -> None:
    for picture, at in (("#" * 10, 10), ("###..###...####", 15)):
        listener = Listener().hear(picture, over_reply=True)
        assert [signal.at // WINDOW for signal in listener.of(BargedIn)] == [at]
        (barged,) = listener.of(BargedIn)
        assert isinstance(barged, BargedIn)
        assert barged.onset == 0
        assert listener.taker.speaking


@pytest.mark.parametrize(
    "picture",
    ["~" * 20, "#" * 9 + "~" * 4, "~~~~~~~####~~~~~~##~~~~~~##~~~", "~" * 31 + "#" * 10 + "~"],
    ids=["a hum", "mm", "music", "a sung word in it"],
)
def test_what_is_not_surely_speech_for_long_enough_stops_nothing_by_its_sound(picture: str) -> None:
    listener = Listener(meaning=Meaning.NOTHING).hear(picture + "." * 10, over_reply=True)
    assert [name for name, _ in listener.story()] == ["DuckStarted", "DuckEnded"]


def test_with_music_behind_a_voice_stops_the_reply_within_a_second() -> None:
    (barged,) = Listener(meaning=Meaning.NOTHING).hear("~" * 60 + "#" * 31, over_reply=True).of(BargedIn)
    assert barged.at == (60 + 19) * WINDOW  # 0.6 s


def test_a_word_too_short_for_its_sound_to_decide_stops_the_reply_when_it_is_understood() -> None:
    listener = Listener(finished=0.95, meaning=Meaning.CALL).hear("....." + "####~~~" + "." * 20, over_reply=True)
    assert [name for name, _ in listener.story()] == ["DuckStarted", "BargedIn", "Paused", "Ended"]
    (barged,), (ended,) = listener.of(BargedIn), listener.of(Ended)
    assert barged == BargedIn((5 + 7 + 5) * WINDOW, 5 * WINDOW)  # known at the end of the gap, begun with the word
    assert isinstance(ended, Ended)
    assert ended.speech_end == 12 * WINDOW


def test_the_words_of_long_faint_speech_are_asked_for_every_second() -> None:
    asked = Listener(meaning=Meaning.NOTHING).hear("~" * 70 + "." * 10, over_reply=True).of(AskWords)
    assert asked == [
        AskWords(32 * WINDOW, 0, 32 * WINDOW),
        AskWords(64 * WINDOW, 0, 64 * WINDOW),
        AskWords(75 * WINDOW, 0, 70 * WINDOW),
    ]
    understood = Listener(meaning=Meaning.CALL).hear("~" * 70, over_reply=True)
    assert understood.of(BargedIn) == [BargedIn(32 * WINDOW, 0)]
    assert understood.taker.speaking


def test_the_reply_stays_down_until_the_words_are_known() -> None:
    listener = Listener().hear("#" * 6 + "." * 40, over_reply=True)
    assert [name for name, _ in listener.story()] == ["DuckStarted"]
    assert listener.taker.waiting
    beginning, asked = listener.of(AskWords)
    assert listener.taker.words(beginning.at, Meaning.AGREEMENT) == []
    assert listener.taker.words(asked.at, Meaning.NOTHING) == [DuckEnded(46 * WINDOW)]
    assert listener.taker.words(asked.at, Meaning.CALL) == []
    assert not listener.taker.waiting


def test_whoever_goes_on_before_the_words_are_known_has_said_both() -> None:
    listener = Listener().hear("#" * 6 + "." * 8 + "#" * 10, over_reply=True)
    asked = listener.of(AskWords)[-1]
    assert listener.of(BargedIn) == [BargedIn(24 * WINDOW, 0)]
    assert listener.taker.words(asked.at, Meaning.CALL) == []
    twice = Listener().hear("#" * 6 + "." * 8 + "#" * 6 + "." * 8, over_reply=True)
    assert twice.of(AskWords)[-1] == AskWords(25 * WINDOW, 0, 20 * WINDOW)


def test_a_call_that_is_understood_when_there_are_more_words_already_counts() -> None:
    listener = Listener().hear("#" * 6 + "." * 40, over_reply=True)
    beginning, _ = listener.of(AskWords)
    assert listener.taker.words(beginning.at, Meaning.CALL) == [BargedIn(46 * WINDOW, 0)]


def test_of_a_long_hum_only_the_last_seconds_are_in_the_turn() -> None:
    listener = Listener(meaning=Meaning.NOTHING).hear("~" * 2000 + "#" * 40, over_reply=True)
    (barged,) = listener.of(BargedIn)
    assert isinstance(barged, BargedIn)
    assert barged.at - barged.onset == 5 * HEAR_HZ


@pytest.mark.parametrize("meaning", [Meaning.NOTHING, Meaning.AGREEMENT, None])
@pytest.mark.parametrize("picture", ["~" * 600, "~~~~......" * 60, "~~~....~~......" * 40])
def test_only_the_words_of_the_last_seconds_are_asked_for(picture: str, meaning: Meaning | None) -> None:
    asked = Listener(replace(RULES, agreement=60 * HEAR_HZ), meaning=meaning).hear(picture, over_reply=True)
    spans = [question.at - question.onset for question in asked.of(AskWords) if isinstance(question, AskWords)]
    assert 0 < max(spans) <= 5 * HEAR_HZ


def test_a_longer_wait_for_the_sound_than_it_is_kept_account_of_still_ends() -> None:
    patient = config.load(environ={}, overrides={"turns.barge_in_ms": 2000, "turns.barge_in_within_ms": 1000})
    rules = TurnRules.semantic(patient.turns, patient.vad)
    (barged,) = Listener(rules, meaning=Meaning.NOTHING).hear("#" * 80, over_reply=True).of(BargedIn)
    assert barged.at == 63 * WINDOW


def test_agreement_does_not_stop_the_reply_although_it_sounds_like_a_beginning() -> None:
    listener = Listener(meaning=Meaning.AGREEMENT).hear("#" * 20 + "." * 10, over_reply=True)
    assert [name for name, _ in listener.story()] == ["DuckStarted", "DuckEnded"]
    assert [asked.at // WINDOW for asked in listener.of(AskWords)] == [5, 15, 25]
    assert not listener.taker.waiting


def test_agreement_that_goes_on_and_on_stops_the_reply() -> None:
    (barged,) = Listener(meaning=Meaning.AGREEMENT).hear("#" * 40, over_reply=True).of(BargedIn)
    assert barged == BargedIn(32 * WINDOW, 0)
    at_once = Listener(replace(RULES, agreement=0), meaning=Meaning.AGREEMENT).hear("#" * 40, over_reply=True)
    assert at_once.of(BargedIn) == [BargedIn(10 * WINDOW, 0)]


@pytest.mark.parametrize("meaning", [Meaning.CALL, Meaning.NOTHING])
@pytest.mark.parametrize(("picture", "at"), [("#" * 20, 15), ("#" * 14 + "." * 8, 19)], ids=["going on", "over"])
def test_agreement_that_turns_into_more_stops_the_reply_when_that_is_known(
    meaning: Meaning, picture: str, at: int
) -> None:
    listener = Listener(meaning=Meaning.AGREEMENT).hear("#" * 14, over_reply=True)
    listener.meaning = meaning
    listener.hear(picture[14:], over_reply=True)
    assert listener.of(BargedIn) == [BargedIn(at * WINDOW, 0)]


@pytest.mark.parametrize("silence", [2, 8], ids=["in the gap", "before the words are known"])
def test_what_is_said_at_the_very_end_of_a_reply_is_a_turn(silence: int) -> None:
    listener = Listener(finished=0.95).hear("#" * 6 + "." * silence, over_reply=True).hear("." * 20)
    assert [name for name, _ in listener.story()] == ["DuckStarted", "DuckEnded", "Started", "Paused", "Ended"]
    (started,), (ended,) = listener.of(Started), listener.of(Ended)
    assert started == Started((6 + silence + 1) * WINDOW, 0, True)
    assert isinstance(ended, Ended)
    assert ended.speech_end == 6 * WINDOW


def test_a_reply_that_ends_during_a_cough_leaves_no_duck_behind() -> None:
    listener = Listener().hear("####", over_reply=True).hear("##")
    assert listener.story() == [("DuckStarted", 96), ("DuckEnded", 160), ("Started", 160)]


def test_where_nothing_interrupts_speech_over_the_reply_is_a_turn_of_its_own() -> None:
    listener = Listener(replace(RULES, interrupts=False)).hear("###", over_reply=True)
    assert listener.log == [Started(3 * WINDOW, 0, False)]
