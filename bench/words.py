"""Words heard beside words said."""

from __future__ import annotations

import jiwer
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

_normalise = EnglishTextNormalizer({})


def wrong(pairs: list[tuple[str, str]]) -> tuple[int, int]:
    """(words wrong, left out or too many; words said) of (truth, hypothesis) pairs, after Whisper's English
    normaliser without its British spellings."""
    found = jiwer.process_words([_normalise(truth) for truth, _ in pairs], [_normalise(heard) for _, heard in pairs])
    said = found.hits + found.substitutions + found.deletions
    return found.substitutions + found.deletions + found.insertions, said
