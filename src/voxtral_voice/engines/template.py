"""Replies without a model: say what was heard. Instant, and the same every time."""

from __future__ import annotations

from collections.abc import Iterator

from voxtral_voice.scripts import Script, letters
from voxtral_voice.types import Cancel, Delta, Finished, Message, ReplySettings

# A short first sentence, so that the voice can start while the rest is being made.
_WORDING = {
    "en": ("I heard you.", " You said: {text}"),
    "hi": ("मैंने सुन लिया।", " आपने कहा: {text}"),
}
_ENDS = ".!?।。！？…"
_MOST_CHARS = 16  # of what counts as one token: something without spaces may be as long as a book


def script_language(text: str) -> str:
    """The code "hi" for a text mostly in Devanagari, otherwise an empty string."""
    found = letters(text)
    return "hi" if 2 * found[Script.DEVANAGARI] > found.total() else ""


class Template:
    """A `cascade.TextReplier` for tests, for machines too slow for a model, and for what the model cannot say."""

    languages = frozenset(_WORDING)

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Finished]:
        """Two sentences, the second with the last message's words (`settings.max_tokens` of them at most).

        Hindi when those are in Devanagari, English otherwise. Nothing said: Finished("nothing_heard") alone.
        """
        words = messages[-1].text.split() if messages and messages[-1].role == "user" else []
        if not words:
            yield Finished("nothing_heard")
            return
        text = " ".join(words[: settings.max_tokens])[: settings.max_tokens * _MOST_CHARS]
        first, second = _WORDING[script_language(text) or "en"]
        said = second.format(text=text if text[-1] in _ENDS else f"{text}{'।' if script_language(text) else '.'}")
        for sentence in (first, said):
            if cancel.is_set():
                yield Finished("cancelled")
                return
            yield Delta(sentence)
        yield Finished(
            "length" if len(words) > settings.max_tokens else "stop", len(words), len((first + said).split())
        )
