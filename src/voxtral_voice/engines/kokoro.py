"""Kokoro-82M v1.0 as every build of it speaks: its alphabet, its input limit, its voices, and how its sound is cut.

The vocabulary is that of https://huggingface.co/hexgrad/Kokoro-82M/blob/main/config.json (Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from voxtral_voice.config import VoiceChoice
from voxtral_voice.engines.phonemes import Phonemizer
from voxtral_voice.types import SPEAK_HZ, Cancel, Pcm, Voice, VoiceError
from voxtral_voice.voices import VOICES, resolve, voice_for

STYLE_ROWS = 510
"""Rows of a voice: one style of 256 numbers for each count of phonemes."""
STYLE_SIZE = 256

# First id of a stretch -> its phonemes; the ids between stretches were never trained.
_STRETCHES = {
    1: ";:,.!?",
    9: '—…"()“” \u0303ʣʥʦʨᵝ\uab67AI',
    31: "O",
    33: "Q",
    35: "ST",
    39: "W",
    41: "Yᵊabcdef",
    50: "hijklmnopqrstuvwxyzɑɐɒæ",
    75: "βɔɕç",
    80: "ɖðʤə",
    85: "ɚɛɜ",
    90: "ɟ",
    92: "ɡ",
    99: "ɥ",
    101: "ɨɪʝ",
    110: "ɯɰŋɳɲɴø",
    118: "ɸθœ",
    123: "ɹ",
    125: "ɾɻ",
    128: "ʁɽʂʃʈʧ",
    135: "ʊʋ",
    138: "ʌɣɤ",
    142: "χʎ",
    147: "ʒʔ",
    156: "ˈˌː",
    162: "ʰ",
    164: "ʲ",
    169: "↓",
    171: "→↗↘",
    177: "ᵻ",
}
VOCABULARY = {char: first + offset for first, chars in _STRETCHES.items() for offset, char in enumerate(chars)}
_PAD = 0
_SILENT = frozenset(';:,.!?—…"()“” ˈˌː\u0303→↗↘↓')
# Where a long clause is cut, best first: after a sentence, after a comma and the like, between words.
_CUTS = (re.compile(r"[.!?…]+[\")”]* "), re.compile(r"[,;:—]+[\")”]* "), re.compile(r" "))
_EDGE_MS = 4  # too short to be heard as a fade, long enough for no click


class Build(Protocol):
    """The network in one of its forms."""

    def synthesize(self, part: str, style: Pcm, speed: float, cancel: Cancel) -> Pcm | None:
        """`part`: 1 to 510 phonemes of the vocabulary; `style`: shape [1, 256], the voice's for that many phonemes.

        Returns shape [samples], 24 kHz; None when cancelled. The same arguments give the same samples.
        """


class Kokoro:
    """One build, its voices and its phonemizers, for every session (`engines.protocols.Synthesizer`)."""

    def __init__(self, build: Build, voices: Path, choice: VoiceChoice | None = None) -> None:
        """Speaks one word, so that everything is warm on return.

        `voices` holds NAME.bin for the 54 voices, each float32 [510, 1, 256]. `choice`: the `voice` section of the
        settings, None for the one in force. Raises VoiceError("unknown_voice") for a default voice that does not
        exist, VoiceError("model_failed") when phonemes cannot be had, and numpy's errors for a damaged voice.
        """
        if choice is None:
            from voxtral_voice import config

            choice = config.load().voice
        self._build = build
        self._choice = choice
        self._voices = voices
        self._styles: dict[str, Pcm] = {}
        self._hindi_name = resolve(choice.hindi_name)
        default = VOICES[resolve(choice.name)]
        self._phonemizer = Phonemizer((default.language, "en-us", "hi"))
        for _ in self.speak("Hello.", Voice(default.name), Cancel()):
            pass

    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        """Yields one piece of sound for each part of at most `max_phonemes`, shape [samples], 24 kHz, trimmed.

        `voice.name`: one of VOICES or an OpenAI name; a clause in another script than the voice's is read as
        `voices.voice_for` says. Yields nothing for a clause without words. A set `cancel` also stops a part under way.
        Raises VoiceError: "unknown_voice", "invalid_event" for a speed outside 0.5 to 2.0, "model_failed" when
        phonemes cannot be had.
        """
        asked = resolve(voice.name)
        if not 0.5 <= voice.speed <= 2.0:
            raise VoiceError("invalid_event", f"speed is 0.5 to 2.0, not {voice.speed:g}", param="speed")
        phonemes = self._phonemizer.phonemes(clause, asked)
        style = self._style(voice_for(clause, asked, self._hindi_name))
        for part in parts(phonemes, self._choice.max_phonemes):
            if cancel.is_set():
                return
            pcm = self._build.synthesize(part, style[len(part) - 1], voice.speed, cancel)
            if pcm is None:
                return
            pcm = trimmed(pcm, self._choice)
            if len(pcm):
                yield pcm

    def close(self) -> None:
        """End the phonemizers' processes; they also end with this process."""
        self._phonemizer.close()

    def _style(self, name: str) -> Pcm:
        """Shape [510, 1, 256]."""
        if name not in self._styles:
            self._styles[name] = styles(self._voices, name)
        return self._styles[name]


def styles(voices: Path, name: str) -> Pcm:
    """The voice `name` of the folder `voices`, shape [510, 1, 256]. Raises OSError, or ValueError for a short file."""
    return np.fromfile(voices / f"{name}.bin", np.float32).reshape(STYLE_ROWS, 1, STYLE_SIZE)


def parts(phonemes: str, max_phonemes: int) -> list[str]:
    """What the model knows of `phonemes`, cut into parts of at most `max_phonemes`; none without anything to voice."""
    rest = "".join(char for char in phonemes if char in VOCABULARY).strip()
    found = []
    while len(rest) > max_phonemes:
        cut = _cut(rest, max_phonemes)
        found.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    found.append(rest)
    return [part for part in found if not _SILENT.issuperset(part)]


def _cut(phonemes: str, limit: int) -> int:
    """Where to end the part at the start of `phonemes`: a better kind of cut wins unless it leaves a short part."""
    for pattern in _CUTS:
        ends = [match.end() for match in pattern.finditer(phonemes, 0, limit + 1)]
        ends = [end for end in ends if limit // 3 <= end <= limit]
        if ends:
            return ends[-1]
    return limit


def tokens(part: str) -> list[int]:
    """Ids of one part, a pad at either end."""
    return [_PAD, *(VOCABULARY[char] for char in part), _PAD]


def trimmed(pcm: Pcm, choice: VoiceChoice) -> Pcm:
    """`pcm` (shape [samples], 24 kHz) without the near-silence around the words, its edges faded.

    Kokoro starts each utterance with 245-465 ms below 1-2 % of the peak. Only the waveform may be cut: shortening the
    first duration inside the model loses the first word. Where `pcm` ends sooner than the pause behind the words,
    silence follows. Empty when there is no sound at all.
    """
    level = np.abs(pcm)
    peak = float(level.max(initial=0.0))
    if not peak:
        return np.zeros(0, np.float32)
    (loud,) = np.nonzero(level > choice.trim_level * peak)
    start = max(0, int(loud[0]) - choice.trim_keep_ms * SPEAK_HZ // 1000)
    end = int(loud[-1]) + 1 + choice.trim_tail_keep_ms * SPEAK_HZ // 1000
    kept: Pcm = np.clip(pcm[start:end], -1.0, 1.0)
    edge = _EDGE_MS * SPEAK_HZ // 1000
    head = min(edge, int(loud[0]) - start)  # never over the first sound itself
    tail = min(edge, len(kept))
    kept[:head] *= np.linspace(0.0, 1.0, head, endpoint=False, dtype=np.float32)
    kept[len(kept) - tail :] *= np.linspace(1.0, 0.0, tail, dtype=np.float32)
    return np.pad(kept, (0, end - start - len(kept)))
