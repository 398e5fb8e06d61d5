"""What every build of Kokoro-82M v1.0 shares: its alphabet, its input limit, and how its sound is cut.

The vocabulary is that of https://huggingface.co/hexgrad/Kokoro-82M/blob/main/config.json (Apache-2.0).
"""

from __future__ import annotations

import re

import numpy as np

from voxtral_voice.config import VoiceChoice
from voxtral_voice.types import SPEAK_HZ, Pcm

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
    first duration inside the model loses the first word. Empty when there is no sound at all.
    """
    level = np.abs(pcm)
    peak = float(level.max(initial=0.0))
    if not peak:
        return np.zeros(0, np.float32)
    (loud,) = np.nonzero(level > choice.trim_level * peak)
    start = max(0, int(loud[0]) - choice.trim_keep_ms * SPEAK_HZ // 1000)
    end = min(len(pcm), int(loud[-1]) + 1 + choice.trim_tail_keep_ms * SPEAK_HZ // 1000)
    kept: Pcm = np.clip(pcm[start:end], -1.0, 1.0)
    edge = _EDGE_MS * SPEAK_HZ // 1000
    head = min(edge, int(loud[0]) - start)  # never over the first sound itself
    tail = min(edge, len(kept))
    kept[:head] *= np.linspace(0.0, 1.0, head, endpoint=False, dtype=np.float32)
    kept[len(kept) - tail :] *= np.linspace(1.0, 0.0, tail, dtype=np.float32)
    return kept
