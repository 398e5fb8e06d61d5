"""At the second pause of a long turn the recogniser hears only what came after the first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from voxtral_voice.engines.heard_before import HeardBefore, is_quiet
from voxtral_voice.types import HEAR_HZ, Pcm, Step

PAUSE = np.zeros(HEAR_HZ // 4, np.float32)


def words(seconds: float, seed: int = 0) -> Pcm:
    """Sound as loud as speech, without a pause."""
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * HEAR_HZ)).astype(np.float32)


class Listener:
    """Writes down how many tenths of a second it heard."""

    languages = frozenset({"en", "hi"})

    def __init__(self) -> None:
        self.heard = list[str]()

    def stretches(self, pcm: Pcm, language: str) -> Iterator[tuple[str, str] | Step]:
        for index, half in enumerate([pcm] if len(pcm) <= 28 * HEAR_HZ else np.array_split(pcm, 2)):
            if index:
                yield Step()
            self.heard.append(f"{len(half) * 10 / HEAR_HZ:.0f}")
            yield self.heard[-1], "en" if language == "auto" else language


@pytest.fixture
def listener() -> Listener:
    return Listener()


def hear(hearing: HeardBefore, *sounds: Pcm, language: str = "en") -> str:
    found = hearing.stretches(np.concatenate(sounds), language)
    return " ".join(each[0] for each in found if not isinstance(each, Step))


def test_what_follows_a_pause_is_heard_alone(listener: Listener) -> None:
    hearing = HeardBefore(listener)
    first, second, third = words(4, 1), words(3, 2), words(5, 3)
    assert hear(hearing, first, PAUSE) == "42"
    assert hear(hearing, first, PAUSE, PAUSE, second, PAUSE) == "42 35"
    assert hear(hearing, first, PAUSE, PAUSE, second, PAUSE, PAUSE, third, PAUSE) == "42 35 55"


def test_a_draft_that_is_dropped_while_it_hears_leaves_its_words(listener: Listener) -> None:
    hearing = HeardBefore(listener)
    dropped = hearing.stretches(np.concatenate([words(4), PAUSE]), "en")
    next(dropped)
    del dropped
    assert hear(hearing, words(4), PAUSE, PAUSE, words(3)) == "42 32"


@pytest.mark.parametrize(
    "follows",
    [
        pytest.param([words(3)], id="no silence behind the cut: it may be inside a word"),
        pytest.param([PAUSE, words(1)], id="too little follows to be heard alone"),
        pytest.param([], id="nothing follows"),
    ],
)
def test_everything_is_heard_where_the_rest_alone_would_be_guessed_at(listener: Listener, follows: list[Pcm]) -> None:
    hearing = HeardBefore(listener)
    hear(hearing, words(4), PAUSE)
    assert " " not in hear(hearing, words(4), PAUSE, *follows)


def test_other_speech_another_language_and_an_unknown_one_are_heard_whole(listener: Listener) -> None:
    hearing = HeardBefore(listener)
    hear(hearing, words(4), PAUSE)
    hear(hearing, words(4), PAUSE, language="auto")
    more = [PAUSE, PAUSE, words(3)]
    assert hear(hearing, words(4, seed=9), *more) == "75"
    assert hear(hearing, words(4), *more, language="hi") == "75"
    assert hear(hearing, words(4), *more, language="auto") == "75"


def test_a_long_beginning_is_kept_once_all_of_it_is_heard(listener: Listener) -> None:
    hearing = HeardBefore(listener)
    assert hear(hearing, words(30), PAUSE) == "151 151"
    hear(hearing, words(4), PAUSE)
    assert hear(hearing, words(4), PAUSE, PAUSE, words(30, 1)) == "42 151 151"


def test_only_the_latest_beginnings_are_kept(listener: Listener) -> None:
    hearing = HeardBefore(listener)
    for seed in range(33):
        hear(hearing, words(3, seed), PAUSE)
    assert hear(hearing, words(3, 0), PAUSE, PAUSE, words(3)) == "65"
    assert hear(hearing, words(3, 32), PAUSE, PAUSE, words(3)) == "32 32"


def test_a_cut_is_between_words_where_it_is_quiet_long_enough() -> None:
    sound = np.concatenate([words(1), PAUSE, PAUSE, words(1)])
    inside = {at_ms for at_ms in range(900, 1600, 10) if is_quiet(sound, at_ms * 16)}
    assert inside == set(range(1100, 1320, 10))
