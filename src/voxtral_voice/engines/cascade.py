"""Hear, then answer: speech recognition followed by a text model. The CPU's way to understand."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Literal, Protocol

from voxtral_voice.engines.template import Template, script_language
from voxtral_voice.types import AudioPart, Cancel, Delta, Finished, Heard, Message, Pcm, ReplySettings, Step, TextPart
from voxtral_voice.voices import SPOKEN_LANGUAGES

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Writes down what was said; `whisper.Hearing` is one."""

    languages: frozenset[str]

    def stretches(self, pcm: Pcm, language: str) -> Iterator[tuple[str, str] | Step]:
        """`pcm`: shape [samples], 16 kHz. Yields the words of one stretch after the other, "" for nothing said, and
        their language; a Step between two of them, so that a long speech does not make everybody else wait."""


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

    audio_turns = 0

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
    ) -> Iterator[Delta | Heard | Finished | Step]:
        """Hears every audio part that has no text, of all messages, then answers.

        Yields Heard for each of those parts, also for one without words. Nothing heard in all of a spoken turn:
        Finished("nothing_heard") and no answer.
        """
        language = "" if settings.language == "auto" else settings.language
        written: list[Message] = []
        for number, message in enumerate(messages):
            parts: list[AudioPart | TextPart] = []
            for index, part in enumerate(message.parts):
                if isinstance(part, AudioPart) and part.text is None:
                    text, heard = yield from self._hear(part.pcm, settings.language, cancel)
                    if cancel.is_set():
                        yield Finished("cancelled")
                        return
                    if text and number == len(messages) - 1:
                        language = heard
                    part = replace(part, text=text)
                    yield Heard(text, index, heard, number - len(messages))
                parts.append(part)
            written.append(Message(message.role, tuple(parts)))
        if written and written[-1].role == "user":
            last = written[-1]
            if not last.text.strip() and any(isinstance(part, AudioPart) for part in last.parts):
                yield Finished("nothing_heard")
                return
            language = script_language(last.text) or language
        replier, settings = self._answering(language, settings)
        yield from replier.reply(tuple(written), settings, cancel)

    def transcribe(self, pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard | Step]:
        """Words of one stretch of at most 28 s after the other; stretches without words are left out."""
        part = 0
        for stretch in self._listener.stretches(pcm, language):
            if cancel.is_set():
                return
            if isinstance(stretch, Step):
                yield stretch
                continue
            if stretch[0]:
                yield Heard(stretch[0], part, stretch[1])
            part += 1

    def _hear(self, pcm: Pcm, language: str, cancel: Cancel) -> Generator[Step, None, tuple[str, str]]:
        """Returns the words and their language, as far as heard when `cancel` is set."""
        texts, heard = list[str](), ""
        if cancel.is_set():
            return "", heard
        for stretch in self._listener.stretches(pcm, language):
            if cancel.is_set():
                break
            if isinstance(stretch, Step):
                yield stretch
            else:
                texts.append(stretch[0])
                heard = stretch[1]
        return " ".join(text for text in texts if text), heard

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
