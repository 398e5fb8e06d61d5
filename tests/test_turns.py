"""The TurnTaker alone: probabilities in, signals out. One letter is one window of 32 ms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from voxtral_voice import config
from voxtral_voice.interjections import Meaning
from voxtral_voice.signals import (
    AskEndpoint,
    AskWords,
    BargedIn,
    DuckEnded,
    DuckStarted,
    Ended,
    Paused,
    Resumed,
    Signal,
    Started,
)
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.turns import TurnTaker
from voxtral_voice.types import HEAR_HZ

WINDOW = 512
MS = 32


def graded(*grades: tuple[float, int]) -> list[dict[str, float]]:
    return [{"probability": probability, "silence_ms": silence_ms} for probability, silence_ms in grades]


# The machine is tested here, not how it is tuned: that is what the bench of turn taking is for.
CONFIG = config.load(
    environ={},
    overrides={
        "turns.graded.low": graded((0.0, 1200)),
        "turns.graded.medium": graded((0.9, 200), (0.5, 300), (0.15, 400), (0.0, 1000)),
        "turns.graded.high": graded((0.5, 200), (0.0, 700)),
        "turns.start_ms": 96,
        "turns.draft_ms": 96,
        "turns.draft_early_ms": 96,
        "turns.endpoint_first_ms": 96,
        "turns.endpoint_every_ms": 96,
        "turns.resume_ms": 64,
        "turns.duck_ms": 96,
        "turns.barge_in_ms": 300,
        "turns.barge_in_share": 0.6,
        "turns.barge_in_within_ms": 1000,
        "turns.agreement_ms": 1000,
        "turns.gap_ms": 160,
    },
)
RULES = TurnRules.semantic(CONFIG.turns, CONFIG.vad)
SPEECH = {"#": 0.95, "~": 0.7, "+": 0.4, ".": 0.02}
"""Surely speech; speech; between the thresholds; silence."""


class Listener:
    """Feeds a TurnTaker and answers its questions."""

    def __init__(self, rules: TurnRules = RULES, finished: float | None = None, meaning: Meaning | None = None) -> None:
        """`finished`: what the end-of-turn model says; `meaning`: what any words mean. None: nobody answers."""
        self.taker = TurnTaker(rules)
        self.finished = finished
        self.meaning = meaning
        self.log: list[Signal] = []

    def hear(self, picture: str, *, over_reply: bool = False) -> Listener:
        for letter in picture:
            signals = self.taker.window(SPEECH[letter], WINDOW, reply_heard=over_reply)
            self.log += signals
            for signal in signals:
                if isinstance(signal, AskEndpoint) and self.finished is not None:
                    self.log += self.taker.verdict(self.finished, signal.at)
                elif isinstance(signal, AskWords) and self.meaning is not None:
                    self.log += self.taker.words(signal.at, self.meaning)
        return self

    def story(self) -> list[tuple[str, int]]:
        """(signal, milliseconds at which it became known), without the questions."""
        return [(type(s).__name__, s.at // 16) for s in self.log if not isinstance(s, AskEndpoint | AskWords)]

    def of(self, kind: type[Signal]) -> list[Signal]:
        return [signal for signal in self.log if isinstance(signal, kind)]


def test_a_turn_starts_after_96_ms_of_speech_and_began_with_its_first() -> None:
    listener = Listener().hear("..###")
    assert listener.log == [Started(5 * WINDOW, 2 * WINDOW, True)]


@pytest.mark.parametrize("picture", ["", "." * 50, "##" + "." * 20, "#.....#.....#" + "." * 20, "+" * 50])
def test_what_is_too_short_or_too_soft_starts_nothing(picture: str) -> None:
    listener = Listener().hear(picture)
    assert listener.log == []
    assert not listener.taker.in_turn


def test_between_the_thresholds_it_stays_what_it_was() -> None:
    assert len(Listener().hear("###" + "+" * 30).of(Paused)) == 0
    assert len(Listener().hear("###.+++").of(Paused)) == 1


@pytest.mark.parametrize(
    ("finished", "silence_ms"),
    [(0.95, 200), (0.9, 200), (0.6, 300), (0.2, 400), (0.05, 1000), (None, 1000)],
)
def test_the_turn_ends_after_a_silence_that_depends_on_how_finished_it_sounds(
    finished: float | None, silence_ms: int
) -> None:
    listener = Listener(finished=finished).hear("#" * 20 + "." * 60)
    (ended,) = listener.of(Ended)
    assert isinstance(ended, Ended)
    assert ended.speech_end == 20 * WINDOW
    waited_ms = (ended.at - ended.speech_end) // 16
    assert silence_ms <= waited_ms < silence_ms + MS
    assert not listener.taker.in_turn


@pytest.mark.parametrize(("eagerness", "silence_ms"), [("low", 1200), ("medium", 1000), ("high", 700)])
def test_eagerness_decides_how_long_an_open_sentence_is_waited_for(eagerness: str, silence_ms: int) -> None:
    rules = TurnRules.semantic(CONFIG.turns, CONFIG.vad, eagerness)
    (ended,) = Listener(rules, finished=0.0).hear("#" * 20 + "." * 60).of(Ended)
    assert silence_ms <= ended.at // 16 - 20 * MS < silence_ms + MS


def test_thinking_may_begin_at_the_first_96_ms_of_silence() -> None:
    listener = Listener().hear("#" * 10 + "...")
    assert listener.log[1:] == [Paused(13 * WINDOW, 10 * WINDOW), AskEndpoint(13 * WINDOW)]


def test_thinking_begins_at_the_first_silent_window_as_often_as_the_turn_has_early_drafts() -> None:
    early = replace(RULES, draft_early=32 * 16, early_drafts_per_s=1.0)
    dips = Listener(early).hear("###" + "###." * 6)  # 0.9 s: a draft at the first dip alone, the next one after 96 ms
    assert [signal.at // WINDOW for signal in dips.of(Paused)] == [7]
    assert [signal.at // WINDOW for signal in dips.hear("..").of(Paused)] == [7, 29]
    longer = Listener(early).hear("###" + "###." * 18)  # 2.4 s: one, and one for each whole second
    assert len(longer.of(Paused)) == 3
    assert not longer.of(AskEndpoint)  # which has more silence to judge by


def test_a_word_that_fades_is_drafted_on_and_its_silence_begins_when_it_has_faded() -> None:
    early = replace(RULES, draft_early=32 * 16)
    listener = Listener(early, finished=0.6).hear("#" * 10 + "+++" + "." * 20)
    paused, ended = (listener.of(kind)[0] for kind in (Paused, Ended))
    assert paused.at == 11 * WINDOW
    assert isinstance(ended, Ended)
    assert (ended.speech_end, ended.at) == (13 * WINDOW, 23 * WINDOW)  # 0.3 s
    assert not listener.of(Resumed)
    again = Listener(early, finished=0.6).hear("#" * 10 + "++" + "##" + "." * 20)
    assert [(type(s).__name__, s.at // WINDOW) for s in again.log if isinstance(s, Paused | Resumed)] == [
        ("Paused", 11),
        ("Resumed", 14),
        ("Paused", 17),
    ]


def test_without_an_allowance_a_turn_has_one_early_draft() -> None:
    once = Listener(replace(RULES, draft_early=32 * 16, early_drafts_per_s=0.0)).hear("###" + "###." * 50)
    assert len(once.of(Paused)) == 1


def test_the_end_of_turn_model_is_asked_again_while_the_silence_goes_on() -> None:
    asked = [signal.at // WINDOW for signal in Listener().hear("#" * 10 + "." * 12).of(AskEndpoint)]
    assert asked == [13, 16, 19, 22]


def test_the_end_of_turn_model_is_not_asked_what_it_could_only_answer_too_late() -> None:
    listener = Listener(RULES, finished=0.6).hear("#" * 10 + "." * 12)  # which waits for 300 ms of silence
    assert [signal.at // WINDOW for signal in listener.of(AskEndpoint)] == [13, 16]  # not at 288 ms
    assert listener.of(Ended) == [Ended(20 * WINDOW, 10 * WINDOW)]


def test_speech_in_the_pause_takes_it_back_and_a_click_does_not() -> None:
    listener = Listener(finished=0.0).hear("#" * 10 + "....." + "##" + "." * 40)
    assert listener.story() == [("Started", 96), ("Paused", 416), ("Resumed", 544), ("Paused", 640), ("Ended", 1568)]
    clicked = Listener(finished=0.0).hear("#" * 10 + "....." + "#" + "." * 40)
    assert clicked.of(Resumed) == []


def test_a_verdict_about_an_earlier_pause_is_ignored() -> None:
    listener = Listener().hear("#" * 10 + "...")
    (question,) = listener.of(AskEndpoint)
    listener.hear("..##" + "..........")
    assert listener.taker.verdict(0.99, question.at) == []
    assert listener.taker.in_turn
    assert Listener().taker.verdict(0.99, 0) == []


def test_a_late_verdict_ends_the_turn_at_once_when_the_silence_is_long_enough() -> None:
    listener = Listener().hear("#" * 10 + "." * 8)
    last = listener.of(AskEndpoint)[-1]
    assert listener.taker.verdict(0.95, last.at) == [Ended(18 * WINDOW, 10 * WINDOW)]


def test_a_turn_never_ends_while_speech_may_be_coming_back() -> None:
    listener = Listener().hear("#" * 10 + "." * 30 + "#")
    last = listener.of(AskEndpoint)[-1]
    assert listener.taker.verdict(0.95, last.at) == []
    assert listener.hear("#").of(Resumed)


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
def test_and_only_their_words_are_asked_for(picture: str, meaning: Meaning | None) -> None:
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


def test_a_turn_at_the_limit_is_ended_and_what_follows_is_a_turn_that_does_not_interrupt() -> None:
    rules = replace(RULES, longest=40 * WINDOW)
    listener = Listener(rules).hear("#" * 40).hear("#" * 5, over_reply=True)
    started, ended, again = listener.log
    assert ended == Ended(40 * WINDOW, 40 * WINDOW)
    assert isinstance(started, Started)
    assert again == Started(43 * WINDOW, 40 * WINDOW, False)
    # After a silence, speech over the reply is an interruption as ever.
    paused = Listener(rules).hear("#" * 40).hear("." * 10 + "#" * 10, over_reply=True)
    assert len(paused.of(BargedIn)) == 1


def test_a_fixed_silence_is_obeyed_without_asking_anybody() -> None:
    rules = TurnRules.silence(CONFIG.turns, CONFIG.vad, threshold=0.8, prefix_ms=100, silence_ms=640)
    listener = Listener(rules).hear("#" * 10 + "." * 30)
    assert listener.of(AskEndpoint) == []
    (ended,) = listener.of(Ended)
    assert ended.at == (10 + 20) * WINDOW
    assert (rules.onset, rules.prefix) == (0.8, 1600)
    assert rules.offset == pytest.approx(0.56)


def test_the_client_may_end_or_forget_the_turn() -> None:
    listener = Listener().hear("#" * 10)
    assert listener.taker.end_now() == [Ended(10 * WINDOW, 10 * WINDOW)]
    assert listener.taker.end_now() == []
    listener = Listener().hear("#" * 10)
    listener.taker.reset()
    assert (listener.taker.in_turn, listener.taker.position) == (False, 10 * WINDOW)
    assert listener.hear("." * 60).of(Ended) == []


def test_something_is_undecided_as_long_as_silence_would_decide_it() -> None:
    listener = Listener(finished=0.95)
    waiting = [listener.hear(letter).taker.waiting for letter in "..##......"]
    assert waiting == [False, False, True, True, True, True, True, True, False, False]
