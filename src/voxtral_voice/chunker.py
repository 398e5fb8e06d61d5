"""Reply text as it comes -> clauses to speak: the first one short so that the voice starts early, later ones longer.

Sentence ends are pysbd's (abbreviations, decimals, URLs, quotes, the Hindi danda); within a sentence a clause ends at a
comma or, where there is none in reach, between words. Nothing is lost: the clauses joined are the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import pysbd

_END = re.compile(r"[.!?।॥。！？…\n]")
_SOFT = re.compile(r"[,;:،，、—–]['\")\]”’]*\s+")  # a comma followed by a space is not inside a number or a URL
# Between words a phrase begins before one of these, as a speaker would break it (English; elsewhere any space will do).
_PHRASE = re.compile(r"\s+(?=(?:and|or|but|that|which|who|when|where|because|if|to|of|in|on|at|by|for|from|with|as)\s)")
_DEVANAGARI = re.compile(r"[\u0900-\u097f]")
_CLOSED = "।॥。！？"  # ends of sentences that no space follows
_GROWTH = 2.0  # a clause must be synthesised while the one before it plays, so lengths grow step by step
_SECOND_CHARS = 56  # made on two CPU cores while a first clause of three words is heard
_REACH = 4  # clauses' lengths in which a sentence's end is looked for: beyond it the clause ends inside the sentence


@dataclass(frozen=True, slots=True)
class ChunkRules:
    first_words: int
    """A comma after this many words ends the first clause."""
    first_max_words: int
    """Without punctuation the first clause ends here."""
    max_chars: int
    """Of a later clause."""


class Chunker:
    """One reply's text."""

    def __init__(self, rules: ChunkRules) -> None:
        self._rules = rules
        self._text = ""
        self._count = 0
        self._limit = min(_SECOND_CHARS, rules.max_chars)

    def push(self, delta: str) -> list[str]:
        """The clauses that `delta` completes."""
        self._text += delta
        return self._cut(final=False)

    def finish(self) -> list[str]:
        """What is left."""
        clauses = self._cut(final=True)
        return [*clauses, *self._take(len(self._text))]

    def _cut(self, *, final: bool) -> list[str]:
        clauses: list[str] = []
        while (length := self._boundary(final)) is not None:
            clauses += self._take(length)
        return clauses

    def _take(self, length: int) -> list[str]:
        clause, self._text = self._text[:length], self._text[length:]
        if not clause.strip():
            return []
        if self._count:
            self._limit = min(int(self._limit * _GROWTH), self._rules.max_chars)
        self._count += 1
        return [clause]

    def _boundary(self, final: bool) -> int | None:
        """Characters of the next clause; None while it is not complete."""
        sentence = self._sentence(final)
        window = self._text if sentence is None else self._text[:sentence]
        if self._count == 0:
            early = self._first(window)
            if early is not None and early < len(window):
                return early
        if len(window) > self._limit:
            return self._within(window)
        return sentence

    def _sentence(self, final: bool) -> int | None:
        """Where the first sentence ends, once it is certain: something follows it."""
        head = self._text[: _REACH * self._rules.max_chars]
        if not _END.search(head):
            return None
        sentences = _segmenter("hi" if _DEVANAGARI.search(head) else "en").segment(head)
        length = 0
        for sentence in sentences[:-1]:
            length += len(sentence)
            # A full stop with a letter right behind it is inside a URL or a number.
            if self._text[length - 1].isspace() or self._text[length - 1] in _CLOSED:
                return length
        return len(self._text) if final else None

    def _first(self, window: str) -> int | None:
        for words, match in enumerate(re.finditer(r"\S+\s+", window), start=1):
            if words >= self._rules.first_max_words:
                return match.end()
            if words >= self._rules.first_words and _SOFT.search(match.group()):
                return match.end()
        return None

    def _within(self, window: str) -> int:
        """A place inside a long sentence: its last comma in reach, the start of its last phrase, its last space, or the
        limit itself."""
        reach = window[: self._limit]
        for mark in (_SOFT, _PHRASE):
            places = [match.end() for match in mark.finditer(reach) if match.end() > self._limit // 3]
            if places:
                return places[-1]
        space = reach.rfind(" ")
        return space + 1 if space > 0 else self._limit


@cache
def _segmenter(language: str) -> pysbd.Segmenter:
    return pysbd.Segmenter(language=language, clean=False)
