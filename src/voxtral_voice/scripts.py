"""Which script text is written in, and where it changes: "Meeting kal सुबह 10 बजे है" has a Latin and a Hindi run."""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum


class Script(Enum):
    LATIN = "Latin"
    DEVANAGARI = "Devanagari"
    JAPANESE = "Japanese"
    HAN = "Han"
    OTHER = "another script"
    """Letters that no voice reads: Cyrillic, Arabic, Hangul, Tamil and so on."""


_RANGES = (
    (0x0041, 0x024F, Script.LATIN),
    (0x0900, 0x097F, Script.DEVANAGARI),
    (0x1E00, 0x1EFF, Script.LATIN),
    (0x3005, 0x3007, Script.HAN),
    (0x3040, 0x30FF, Script.JAPANESE),
    (0x31F0, 0x31FF, Script.JAPANESE),
    (0x3400, 0x4DBF, Script.HAN),
    (0x4E00, 0x9FFF, Script.HAN),
    (0xA8E0, 0xA8FF, Script.DEVANAGARI),
    (0xF900, 0xFAFF, Script.HAN),
    (0xFF21, 0xFF5A, Script.LATIN),
    (0xFF66, 0xFF9F, Script.JAPANESE),
    (0x20000, 0x323AF, Script.HAN),
)
# A number is read with what it counts, and the unit comes after it: "कल 5 PM", "Meeting 10 बजे".
_LEADING_NUMBER = re.compile(r"[$€£₹]?\d[\d.,:/%-]*\s*$")


def script_of(char: str) -> Script | None:
    """The script of one character; None for digits, spaces, punctuation and marks that belong to any script."""
    code = ord(char)
    for first, last, script in _RANGES:
        if first <= code <= last:
            # Vowel signs of Devanagari are not letters to Unicode but are of the script; its digits are too.
            spoken = char.isalnum() or script is Script.DEVANAGARI and char not in "।॥"
            return script if spoken else None
    return Script.OTHER if char.isalpha() else None


def letters(text: str) -> Counter[Script]:
    """How many characters of each script `text` has. Kanji beside kana are Japanese."""
    found = Counter(script for char in text if (script := script_of(char)) is not None)
    if found[Script.JAPANESE]:
        found[Script.JAPANESE] += found.pop(Script.HAN, 0)
    return found


def runs(text: str) -> list[tuple[Script | None, str]]:
    """`text` cut where the script changes; the pieces joined are `text`.

    Punctuation stays with the run before it, a number goes with the run it stands before. A text without any letter
    is one run of script None.
    """
    japanese = letters(text)[Script.JAPANESE] > 0
    found: list[tuple[Script | None, str]] = []
    neutral = ""
    for char in text:
        script = script_of(char)
        if japanese and script is Script.HAN:
            script = Script.JAPANESE
        if script is None:
            neutral += char
            continue
        if found and found[-1][0] is script:
            found[-1] = (script, found[-1][1] + neutral + char)
        elif found:
            number = _LEADING_NUMBER.search(neutral)
            cut = number.start() if number else len(neutral)
            found[-1] = (found[-1][0], found[-1][1] + neutral[:cut])
            found.append((script, neutral[cut:] + char))
        else:
            found.append((script, neutral + char))
        neutral = ""
    if not found:
        return [(None, neutral)] if neutral else []
    found[-1] = (found[-1][0], found[-1][1] + neutral)
    return found
