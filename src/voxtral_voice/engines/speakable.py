"""A model's text as it comes, made fit to be spoken: no markup, and an end in time."""

from __future__ import annotations

import re
import unicodedata

_MARKUP = frozenset("*_`~#|<>[]{}\\")
_ENDS = frozenset(".!?।。！？")
_CLOSING = "\"')]”’"
_LABEL = re.compile(r"\s*(?:[-*•–>#]+\s+|\d{1,2}[.)]\s+|[A-Z]:\s+|(?:Answer|Assistant|Reply):\s*)")
_MAYBE_LABEL = re.compile(r"\s*(?:[-*•–>#]*|\d{1,2}[.)]?|[A-Z]:?|(?:Answer|Assistant|Reply):?)\s*")
# Points that end no sentence: titles, "e.g.", initials, and the number of an item in a list.
_NO_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|vs|No)|\b\w(?:\.\w)*|(?:^|[:.!?]\s)\d{1,2})\.$", re.IGNORECASE)
_TAIL_CHARS = 24


class Speakable:
    """Push text in, say what comes out, stop when `done`."""

    def __init__(self, sentences: int = 2, words: int = 40) -> None:
        """`sentences`: after which it is enough. `words`: after which the next pause is the end."""
        self.done = False
        self._sentences = sentences
        self._words = words
        self._sentences_said = 0
        self._words_said = 0
        self._waiting = ""  # at the start of a line, as long as it may be a label
        self._line_start = True
        self._space = False  # before the next letter
        self._tail = ""  # what was said last

    def push(self, text: str) -> str:
        """What of `text`, and of what was held back, can be said now."""
        said = ""
        for letter in text:
            if self.done:
                break
            if not self._line_start:
                said += self._letter(letter)
                continue
            self._waiting += letter
            if not _MAYBE_LABEL.fullmatch(self._waiting):
                said += self._release()
        return said

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        return "" if self.done else self._release()

    def _release(self) -> str:
        waiting, self._waiting, self._line_start = self._waiting, "", False
        label = _LABEL.match(waiting)
        return "".join(self._letter(letter) for letter in waiting[label.end() if label else 0 :])

    def _letter(self, letter: str) -> str:
        if self.done or letter in _MARKUP or _is_picture(letter):
            return ""
        if letter.isspace():
            end = self._between(letter == "\n")
            self._line_start = self._line_start or letter == "\n"
            return end
        if letter in ",;:" and self._words_said >= self._words:
            self.done = True
            return self._say(".")
        before = " " if self._space and self._tail else ""
        self._space = False
        return self._say(before + letter)

    def _between(self, line_end: bool) -> str:
        """The end of a word, perhaps of a sentence."""
        if self._space or not self._tail:
            return ""
        self._space = True
        self._words_said += 1
        end = ""
        if line_end and self._tail[-1].isalnum():
            end = self._say(".")
        elif self._words_said >= self._words * 3 // 2 and self._tail[-1].isalnum():
            end = self._say(".")
            self.done = True
        tail = self._tail.rstrip(_CLOSING)
        if tail and tail[-1] in _ENDS and (line_end or not _NO_END.search(tail)):
            self._sentences_said += 1
            enough = self._sentences_said >= self._sentences or self._words_said >= self._words // 2
            self.done = self.done or enough
        return end

    def _say(self, text: str) -> str:
        self._tail = (self._tail + text)[-_TAIL_CHARS:]
        return text


def _is_picture(letter: str) -> bool:
    """Emoji and what joins and colours them; a degree sign is not one."""
    return (
        unicodedata.category(letter) in ("So", "Sk", "Cs", "Co", "Cn") and letter != "°"
    ) or letter in "\u200d\ufe0f\u20e3"
