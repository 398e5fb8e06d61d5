"""G.711, the telephone's eight bits: mu-law (America, Japan) and A-law (elsewhere), at 8 kHz."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from voxtral_voice.types import Pcm

Law = Literal["mu", "a"]

HZ = 8_000


def _mu_levels() -> npt.NDArray[np.int32]:
    """The 16-bit level of each byte."""
    code = 255 - np.arange(256)  # bits go over the wire inverted
    magnitude = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -magnitude, magnitude)


def _a_levels() -> npt.NDArray[np.int32]:
    code = np.arange(256) ^ 0x55  # every other bit goes inverted
    exponent, mantissa = (code >> 4) & 7, (code & 15) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 264) << np.maximum(exponent - 1, 0))
    return np.where(code & 128, magnitude, -magnitude)


_LEVELS = {"mu": _mu_levels(), "a": _a_levels()}
_ORDER = {law: np.argsort(levels, kind="stable").astype(np.uint8) for law, levels in _LEVELS.items()}
_BORDERS = {law: (levels[_ORDER[law]][1:] + levels[_ORDER[law]][:-1]) / 65536 for law, levels in _LEVELS.items()}
"""Halfway between neighbouring levels: whatever lies between two of them is nearest to the level there."""


def decode(data: bytes, law: Law) -> Pcm:
    """One byte a sample -> samples in [-1, 1], 8 kHz."""
    return (_LEVELS[law][np.frombuffer(data, np.uint8)] / 32768.0).astype(np.float32)


def encode(pcm: Pcm, law: Law) -> bytes:
    """Samples at 8 kHz -> one byte each: the nearest level, what is too loud the loudest."""
    return _ORDER[law][np.searchsorted(_BORDERS[law], pcm)].tobytes()
