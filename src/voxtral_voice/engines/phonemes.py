"""Text -> the phonemes Kokoro was trained on, each script of a clause by its own language.

The work is done by long-lived child processes, one per language (`phoneme_child.py` says why).
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable

from voxtral_voice.engines.spoken_text import spoken_text
from voxtral_voice.scripts import letters, runs
from voxtral_voice.types import VoiceError
from voxtral_voice.voices import VOICES, Speaker, language_for

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0  # spaCy from a cold disk on a busy machine
_TIMEOUT_S = 5.0  # a warm request takes milliseconds


class Phonemizer:
    """Any clause in any language that a voice speaks. Calls from several threads wait for each other."""

    def __init__(self, languages: Iterable[str] = ("en-us",)) -> None:
        """`languages`: as espeak-ng names them; started side by side and warm on return, others at first use.

        Raises VoiceError("model_failed") when a language cannot be started.
        """
        self._lock = threading.Lock()
        self._children = {language: _Child(language) for language in dict.fromkeys(languages)}
        for child in self._children.values():
            child.wait_ready()

    def phonemes(self, clause: str, voice: str) -> str:
        """The phonemes of `clause` for `voice` (one of VOICES); empty when there is nothing to say.

        Text in a script that no voice reads, or that needs a dictionary which is not installed, is left out with a
        warning in the log. Raises VoiceError("model_failed")
        when a child neither answers nor can be started again.
        """
        speaker = VOICES[voice]
        text = spoken_text(clause, _main_language(clause, speaker))
        if not text:
            return ""
        spoken = ""
        for script, run in runs(text):
            language = language_for(script, speaker)
            if language is None:
                log.warning("%d characters in a script that no voice reads were left out", len(run))
                continue
            if run[:1].isspace():
                spoken = spoken.rstrip() + " "
            spoken += self._ask(language, run.strip())
            if run[-1:].isspace():
                spoken += " "
        return spoken.strip()

    def close(self) -> None:
        """End the children."""
        with self._lock:
            for child in self._children.values():
                child.close()

    def _ask(self, language: str, text: str) -> str:
        with self._lock:
            if language not in self._children:
                self._children[language] = _Child(language)
            return self._children[language].ask(text)


def _main_language(clause: str, speaker: Speaker) -> str:
    """The language whose words name the signs of addresses and numbers."""
    for script, _ in letters(clause).most_common():
        if (language := language_for(script, speaker)) is not None:
            return language
    return speaker.language


class _ChildLost(Exception):
    """The process ended or hung."""


class _Child:
    """One language's process, started again when it is lost."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._process: _Process | None = None
        self._start()

    def ask(self, text: str) -> str:
        """Phonemes of `text`. Raises VoiceError("model_failed")."""
        try:
            return self._try(text)
        except _ChildLost as lost:
            log.warning("phonemes (%s): %s; starting it again", self._language, lost)
        self._start()
        try:
            return self._try(text)
        except _ChildLost as lost:
            self.close()
            raise VoiceError("model_failed", f"no phonemes for {self._language}: {lost}") from None

    def wait_ready(self) -> None:
        """Raises VoiceError("model_failed")."""
        try:
            self._ready()
        except _ChildLost as lost:
            self.close()
            raise VoiceError("model_failed", f"no phonemes for {self._language}: {lost}") from None

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def _start(self) -> None:
        self.close()
        self._process = _Process(self._language)

    def _ready(self) -> _Process:
        process = self._process
        if process is None:
            raise _ChildLost("it is closed")
        if not process.ready:
            hello = process.read(_START_TIMEOUT_S)
            process.ready = True
            if hello["detail"]:
                log.warning("%s is phonemized by espeak-ng, not misaki: %s", self._language, hello["detail"])
        return process

    def _try(self, text: str) -> str:
        process = self._ready()
        process.write({"text": text})
        answer = process.read(_TIMEOUT_S)
        if "unreadable" in answer:
            log.warning("%s: %d characters were left out: %s", self._language, len(text), answer["unreadable"])
            return ""
        if "error" in answer:
            raise VoiceError("model_failed", f"no phonemes for {self._language}: {answer['error']}")
        if "detail" in answer:
            log.warning("%s: espeak-ng took over for one text: %s", self._language, answer["detail"])
        return answer["phonemes"]


class _Process:
    """A started child and its two pipes."""

    def __init__(self, language: str) -> None:
        self.ready = False
        self._rest = b""
        # -P: a file named like a module in the current folder must not be imported.
        command = [sys.executable, "-P", "-m", "voxtral_voice.engines.phoneme_child", language]
        # One thread: a pool of its own would take the cores of the engine at work.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
        )
        # Also when nobody calls close(): no zombie, no complaint about a process left running.
        self.close = weakref.finalize(self, _end, self._process)

    def write(self, message: dict[str, str]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise _ChildLost(f"it ended ({error.strerror})") from None

    def read(self, timeout_s: float) -> dict[str, str]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise _ChildLost(f"no answer in {timeout_s:g} s")
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                raise _ChildLost(f"it ended with status {self._process.wait()}")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, str] = json.loads(line)
        return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    try:
        process.wait(0.5)  # the end of its input ends it, unless it is still loading or hangs
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
