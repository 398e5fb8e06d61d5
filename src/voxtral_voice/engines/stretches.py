"""Speech of any length in stretches that a recogniser can hear at once."""

from __future__ import annotations

import numpy as np

from voxtral_voice.types import HEAR_HZ, Pcm

_LONGEST_S = 28.0
_SHORTEST_S = 20.0
_BLANK_PEAK = 1e-3  # -60 dBFS: nobody speaks below it, and recognisers hear "you" in it


def stretches(pcm: Pcm) -> list[Pcm]:
    """Cut into stretches of at most 28 s, each at the quietest place between its 20th and 28th second."""
    found = []
    while len(pcm) > _LONGEST_S * HEAR_HZ:
        first, last = int(_SHORTEST_S * HEAR_HZ), int(_LONGEST_S * HEAR_HZ)
        frame = HEAR_HZ // 20
        energy = np.square(pcm[first:last].reshape(-1, frame)).mean(axis=1)
        around = np.convolve(energy, np.ones(5) / 5, mode="valid")  # 250 ms: a pause, not a gap inside a word
        cut = first + (int(around.argmin()) + 2) * frame + frame // 2
        found.append(pcm[:cut])
        pcm = pcm[cut:]
    return [*found, pcm]


def is_blank(pcm: Pcm) -> bool:
    """Too short or too quiet for a word."""
    # "not >=" and not "<": what is not a number is not a word either
    return len(pcm) < HEAR_HZ // 20 or not float(np.abs(pcm).max()) >= _BLANK_PEAK
