"""Hear, then answer: speech recognition followed by a text model. The CPU's way to understand."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Protocol

from voxtral_voice.engines.template import Template, script_language
from voxtral_voice.types import AudioPart, Cancel, Delta, Finished, Heard, Message, Pcm, ReplySettings, TextPart
from voxtral_voice.voices import SPOKEN_LANGUAGES

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Writes down what was said; `whisper.Hearing` is one."""

    languages: frozenset[str]

    def transcribe(self, pcm: Pcm, language: str) -> tuple[str, str]:
        """`pcm`: shape [samples], 16 kHz. Returns the words, "" for nothing said, and their language."""

    def stretches(self, pcm: Pcm, language: str) -> Iterator[tuple[str, str]]:
        """The same in pieces, as they are ready."""


class TextReplier(Protocol):
    """Answers a conversation whose every part is text; `smollm2.SmolLM2` and `template.Template` are two."""

    languages: frozenset[str]
    """ISO 639-1 codes that it answers in."""

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Finished]:
        """Yields text as it comes, then Finished. A set `cancel` ends the iteration within one step."""


class Cascade:
    """An `engines.protocols.Understander`.

    The language of the answer is the one heard, where the replier speaks it. Where it does not: Hindi is answered by
    the template, because a small English model's Hindi is no language at all; everything else in English.
    `without_voice` is for languages that no voice speaks (German, Dutch): "english" asks for an English answer,
    "text" leaves the answer in that language, and the caller, who sees `Heard.language`, shows it without sound.
    """

    def __init__(
        self, listener: Listener, replier: TextReplier, without_voice: Literal["english", "text"] = "english"
    ) -> None:
        self.languages = listener.languages
        self._listener = listener
        self._replier = replier
        self._without_voice = without_voice
        self._template = Template()
        self._explained: set[str] = set()

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Heard | Finished]:
        """Hears every audio part of the last message that has no text, then answers.

        Yields Heard for each of those parts, also for one without words. Audio of earlier messages that nobody wrote
        down counts as nothing said. Nothing heard in all of a spoken turn: Finished("nothing_heard") alone.
        """
        language = "" if settings.language == "auto" else settings.language
        if messages and messages[-1].role == "user":
            parts: list[AudioPart | TextPart] = []
            for index, part in enumerate(messages[-1].parts):
                if cancel.is_set():
                    yield Finished("cancelled")
                    return
                if isinstance(part, AudioPart) and part.text is None:
                    text, heard = self._listener.transcribe(part.pcm, settings.language)
                    language = heard if text else language
                    part = replace(part, text=text)
                    yield Heard(text, index, heard)
                parts.append(part)
            last = Message("user", tuple(parts))
            if not last.text.strip() and any(isinstance(part, AudioPart) for part in parts):
                yield Finished("nothing_heard")
                return
            messages = (*messages[:-1], last)
            language = script_language(last.text) or language
        replier, settings = self._answering(language, settings)
        yield from replier.reply(messages, settings, cancel)

    def transcribe(self, pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
        """Words of one stretch of at most 28 s after the other; stretches without words are left out."""
        for text, heard in self._listener.stretches(pcm, language):
            if text:
                yield Heard(text, 0, heard)
            if cancel.is_set():
                return

    def _answering(self, language: str, settings: ReplySettings) -> tuple[TextReplier, ReplySettings]:
        """Who answers a user of `language`, and how."""
        settings = replace(settings, language=language or settings.language)
        if not language or language in self._replier.languages:
            return self._replier, settings
        if language in self._template.languages:
            self._explain(language, "is answered by the template")
            return self._template, settings
        if language not in SPOKEN_LANGUAGES and self._without_voice == "text":
            return self._replier, settings
        self._explain(language, "is answered in English")
        return self._replier, replace(settings, instructions=f"{settings.instructions} Answer in English.".strip())

    def _explain(self, language: str, what: str) -> None:
        if language not in self._explained:
            self._explained.add(language)
            log.info("the text model does not speak %r: it %s", language, what)
