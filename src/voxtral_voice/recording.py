"""What a session has heard: the sound itself, and the client's clock beside ours."""

from __future__ import annotations

from collections import deque

import numpy as np

from voxtral_voice import audio
from voxtral_voice.types import HEAR_HZ, Pcm

_LOOSE = HEAR_HZ // 4  # so much is packed at once: a single frame would cost as much


class Recording:
    """The last stretch of the user's audio, addressed by samples at 16 kHz since the session began.

    It is kept in 16 bits, as it came, which is half of what floats take. Silence that the session assumes while no
    frames come takes part in our clock, not in the client's: positions on the wire count the client's own samples.
    """

    def __init__(self, longest_samples: int) -> None:
        """`longest_samples`: that much of the end is kept, where `forget` has not said that less will do."""
        self._longest = longest_samples
        self._packed: deque[bytes] = deque()  # 16-bit samples
        self._loose: Pcm = np.empty(_LOOSE, np.float32)  # what comes behind them, as it came
        self._loose_samples = 0
        self._wanted = 0  # nobody asks for what is before
        self._assumed: list[tuple[int, int]] = []  # (position, samples) of silences that we made up
        self.start = 0
        """Position of the first sample kept."""
        self.end = 0
        """Position after the last sample."""

    def add(self, pcm: Pcm, *, assumed: bool = False) -> None:
        """`pcm`: shape [samples], 16 kHz. `assumed`: silence of ours, not the client's."""
        if assumed:
            self._assume(len(pcm))
        self.end += len(pcm)
        while len(pcm):
            piece, at = pcm[: _LOOSE - self._loose_samples], self._loose_samples
            self._loose[at : at + len(piece)] = piece
            self._loose_samples += len(piece)
            pcm = pcm[len(piece) :]
            if self._loose_samples == _LOOSE:
                self._pack()

    def forget(self, before: int) -> None:
        """Nobody asks for what is before `before` any more."""
        self._wanted = before

    def slice(self, start: int, end: int) -> Pcm:
        """A copy of [start, end), as far as it is still kept."""
        self._pack()
        first, last = max(start, self.start) - self.start, max(end, self.start) - self.start
        return audio.from_pcm16(b"".join(self._packed)[2 * first : 2 * last])

    def client_ms(self, position: int) -> int:
        """Where `position` lies on the client's clock."""
        assumed = sum(min(samples, position - start) for start, samples in self._assumed if start < position)
        return (position - assumed) * 1000 // HEAR_HZ

    def _pack(self) -> None:
        if self._loose_samples:
            self._packed.append(audio.to_pcm16(self._loose[: self._loose_samples]))
            self._loose_samples = 0
        wanted = max(self._wanted, self.end - self._longest)
        while self._packed and self.start + len(self._packed[0]) // 2 <= wanted:
            self.start += len(self._packed.popleft()) // 2

    def _assume(self, samples: int) -> None:
        if self._assumed and sum(self._assumed[-1]) == self.end:
            start, before = self._assumed[-1]
            self._assumed[-1] = (start, before + samples)
        else:
            self._assumed.append((self.end, samples))
