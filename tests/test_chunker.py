"""Reply text becomes clauses: the first one short, none cut inside a number, and nothing lost."""

from __future__ import annotations

import pytest

from voxtral_voice import chunker
from voxtral_voice.chunker import Chunker, ChunkRules

RULES = ChunkRules(first_words=4, first_max_words=8, max_chars=160)


def chunk(text: str, step: int = 3) -> list[str]:
    """Feed `text` in small pieces, as a model writes it."""
    cutter = Chunker(RULES)
    clauses = [clause for at in range(0, len(text), step) for clause in cutter.push(text[at : at + step])]
    return clauses + cutter.finish()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Okay! Yes. Good.", ["Okay! ", "Yes. ", "Good."]),
        ("Well, I think so, yes. Bye.", ["Well, I think so, ", "yes. ", "Bye."]),
        (
            "The value is 3.14159, about. Dr. Smith agrees.",
            ["The value is 3.14159, ", "about. ", "Dr. Smith agrees."],
        ),
        ("It costs $1,234.56 today. Fine.", ["It costs $1,234.56 today. ", "Fine."]),
        ("Go to https://example.com/a.b?c=d now. Bye.", ["Go to https://example.com/a.b?c=d now. ", "Bye."]),
        ("यह अच्छा है। क्या आप आएँगे?", ["यह अच्छा है। ", "क्या आप आएँगे?"]),
        ("यह अच्छा है।क्या आप आएँगे?", ["यह अच्छा है।", "क्या आप आएँगे?"]),
        ("First line\nSecond line", ["First line\n", "Second line"]),
    ],
)
def test_clauses_end_where_a_speaker_would_pause(text: str, clauses: list[str]) -> None:
    assert chunk(text) == clauses


def test_a_reply_without_punctuation_still_starts_early_and_is_cut_between_words() -> None:
    clauses = chunk("word " * 100)
    assert clauses[0].split() == ["word"] * 8
    assert all(clause.endswith(" ") and len(clause) <= 160 for clause in clauses)


def test_a_long_sentence_without_a_comma_is_cut_where_a_phrase_begins() -> None:
    assert chunk(
        "I heard you. You said: The train to the coast leaves at a quarter past nine, and it stops often."
    ) == [
        "I heard you. ",
        "You said: The train to the coast leaves ",
        "at a quarter past nine, and it stops often.",
    ]


def test_clauses_grow_so_that_synthesis_keeps_ahead_of_the_voice() -> None:
    lengths = [len(clause) for clause in chunk("some words, " * 60)]
    assert lengths[0] < lengths[1] <= 56
    assert 56 < lengths[2] <= 112
    assert 112 < max(lengths) <= 160


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "text",
    ["x" * 500, "", "   ", "...", 'He said "Hi. You?" and left.\n\n- one\n- two\n', "a, b, c, d, e, f! " * 30, "🙂"],
)
def test_nothing_is_lost(text: str, step: int) -> None:
    assert "".join(chunk(text, step)).strip() == text.strip()


def test_a_text_without_end_is_cut_in_a_time_that_grows_with_its_length_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    segmenter = chunker._segmenter

    class Counting:
        def __init__(self, language: str) -> None:
            self._language = language

        def segment(self, text: str) -> list[str]:
            read.append(len(text))
            found: list[str] = segmenter(self._language).segment(text)
            return found

    monkeypatch.setattr(chunker, "_segmenter", Counting)
    text = "a. " * 700 + "b" * 3000
    cutter = Chunker(RULES)
    assert "".join(cutter.push(text) + cutter.finish()) == text
    assert max(read) <= 4 * RULES.max_chars
