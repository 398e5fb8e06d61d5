"""The TurnTaker alone: probabilities in, signals out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from turn_listener import CONFIG, MS, RULES, WINDOW, Listener
from voxtral_voice.signals import AskEndpoint, BargedIn, Ended, Paused, Resumed, Started
from voxtral_voice.turn_rules import TurnRules


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
    early = replace(RULES, draft_early=32 * 16, early_drafts_per_s=1.0)
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


def test_a_voice_that_becomes_softer_is_drafted_on_once_until_it_is_sure_again() -> None:
    early = replace(RULES, draft_early=32 * 16, early_drafts_per_s=9.0)
    ends = Listener(early, finished=0.6).hear("#" * 10 + "~+" + "." * 20)
    assert [signal.at // WINDOW for signal in ends.of(Paused)] == [11]
    assert ends.of(Ended) == [Ended(22 * WINDOW, 12 * WINDOW)]  # as without the draft
    soft = Listener(early).hear("#" * 10 + "~" * 20)  # 96 ms may be a word's end; more of it is speech
    assert [(type(s).__name__, s.at // WINDOW) for s in soft.log if isinstance(s, Paused | Resumed)] == [
        ("Paused", 11),
        ("Resumed", 15),
    ]
    assert [signal.at // WINDOW for signal in soft.hear("#~").of(Paused)] == [11, 32]


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
