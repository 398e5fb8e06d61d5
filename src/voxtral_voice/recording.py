"""What a session has heard: the sound itself, and the client's clock beside ours."""

from __future__ import annotations

from collections import deque

import numpy as np

from voxtral_voice.types import HEAR_HZ, Pcm


class Recording:
    """The last stretch of the user's audio, addressed by samples at 16 kHz since the session began.

    Silence that the session assumes while no frames come takes part in our clock, not in the client's: positions on the
    wire count the client's own samples.
    """

    def __init__(self, longest_samples: int) -> None:
        self._longest = longest_samples
        self._chunks: deque[Pcm] = deque()
        self._start = 0  # position of the first sample kept
        self._assumed: list[tuple[int, int]] = []  # (position, samples) of silences that we made up
        self.end = 0
        """Position after the last sample."""

    def add(self, pcm: Pcm, *, assumed: bool = False) -> None:
        """`pcm`: shape [samples], 16 kHz. `assumed`: silence of ours, not the client's."""
        if assumed:
            self._assume(len(pcm))
        self._chunks.append(pcm)
        self.end += len(pcm)
        while self._chunks and self.end - self._start - len(self._chunks[0]) >= self._longest:
            self._start += len(self._chunks.popleft())

    def slice(self, start: int, end: int) -> Pcm:
        """A copy of [start, end), as far as it is still kept."""
        if not self._chunks or end <= self._start:
            return np.zeros(0, np.float32)
        pieces, position = [], self._start
        for chunk in self._chunks:
            if position >= end:
                break
            if position + len(chunk) > start:
                pieces.append(chunk[max(0, start - position) : end - position])
            position += len(chunk)
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def client_ms(self, position: int) -> int:
        """Where `position` lies on the client's clock."""
        assumed = sum(min(samples, position - start) for start, samples in self._assumed if start < position)
        return (position - assumed) * 1000 // HEAR_HZ

    def _assume(self, samples: int) -> None:
        if self._assumed and sum(self._assumed[-1]) == self.end:
            start, before = self._assumed[-1]
            self._assumed[-1] = (start, before + samples)
        else:
            self._assumed.append((self.end, samples))
