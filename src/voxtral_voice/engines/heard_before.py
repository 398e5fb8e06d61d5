"""Speech whose beginning has been heard before: only what follows is left to hear.

Whoever pauses and goes on is drafted an answer at the pause, for which everything so far is heard. The words stay true
when more follows, so at the next pause the recogniser, whose time grows with the words, hears the rest alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from voxtral_voice.engines.cascade import Listener
from voxtral_voice.engines.stretches import LONGEST_S
from voxtral_voice.types import HEAR_HZ, Pcm, Step

_KEPT = 32  # beginnings, of all sessions: their words and a digest each, no sound
_TAIL = HEAR_HZ // 20  # samples, enough to tell most beginnings apart without reading all of them
_LEAST_S = 3.0  # of a beginning and of what follows: a recogniser guesses at the words of less
_FRAME = HEAR_HZ // 50
_QUIET_FRAMES = (
    5,
    10,
)  # before and behind the cut: a pause between phrases, where the words on either side stand alone
_QUIET = 0.1  # of the loudest frames' amplitude


@dataclass(frozen=True, slots=True)
class _Beginning:
    samples: int
    tail: bytes
    digest: bytes
    language: str
    words: str


class HeardBefore:
    """A `cascade.Listener` around another one. One caller at a time."""

    def __init__(self, listener: Listener) -> None:
        self.languages = listener.languages
        self._listener = listener
        self._known: deque[_Beginning] = deque(maxlen=_KEPT)

    def stretches(self, pcm: Pcm, language: str) -> Iterator[tuple[str, str] | Step]:
        """As the other's; the words heard before are the first stretch. Where the language is to be found out, all of
        it is heard: more speech may be in another one."""
        begun = self._beginning(pcm, language) if language in self.languages else None
        rest, words = pcm, list[str]()
        if begun is not None:
            rest, words = pcm[begun.samples :], [begun.words]
            yield begun.words, language
        for each in self._listener.stretches(rest, language):
            if not isinstance(each, Step):
                words.append(each[0])
                if len(rest) <= LONGEST_S * HEAR_HZ:  # it is all: kept although nobody may want it any more
                    self._keep(pcm, language, " ".join(filter(None, words)))
            yield each

    def _beginning(self, pcm: Pcm, language: str) -> _Beginning | None:
        """The longest that is known and ends between two words."""
        fitting = [each for each in self._known if each.language == language and _begins(pcm, each)]
        return max(fitting, key=lambda each: each.samples, default=None)

    def _keep(self, pcm: Pcm, language: str, words: str) -> None:
        if len(pcm) >= _LEAST_S * HEAR_HZ and words:
            self._known.append(_Beginning(len(pcm), _tail(pcm), _digest(pcm), language, words))


def _begins(pcm: Pcm, known: _Beginning) -> bool:
    if len(pcm) - known.samples < _LEAST_S * HEAR_HZ:
        return False
    begun = pcm[: known.samples]
    return _tail(begun) == known.tail and is_quiet(pcm, known.samples) and _digest(begun) == known.digest


def is_quiet(pcm: Pcm, at: int) -> bool:
    """Whether `pcm` (shape [samples], 16 kHz) can be cut at sample `at` without cutting a word."""
    before, behind = _QUIET_FRAMES
    frames = pcm[: len(pcm) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loudness = np.sqrt(np.square(frames).mean(axis=1))
    around = loudness[max(0, at // _FRAME - before) : at // _FRAME + behind]
    return bool(around.max(initial=0.0) < _QUIET * np.quantile(loudness, 0.9))


def _tail(pcm: Pcm) -> bytes:
    return pcm[-_TAIL:].tobytes()


def _digest(pcm: Pcm) -> bytes:
    return blake2b(np.ascontiguousarray(pcm).data, digest_size=16).digest()
