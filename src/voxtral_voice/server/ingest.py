"""How fast one client may send."""

from __future__ import annotations

_BASE64 = 3 / 4
_PCM16_BYTES = 2
_LEAST_S = 0.001  # a message of any size counts this much: very many small ones are work too


class Ingest:
    """A bucket of seconds of audio: as many as may come at once, refilled at a multiple of real time."""

    def __init__(self, rate: float, burst_s: float, now_s: float) -> None:
        self.rule = f"sound may come at {rate:g} times real time, and {burst_s:g} s of it at once on top of that"
        self._rate = rate
        self._burst_s = burst_s
        self._left_s = burst_s
        self._at_s = now_s

    def admits(self, message_chars: int, hz: int, now_s: float) -> bool:
        """Whether a message of this size may come in. Judged by its size alone, as if it were audio of `hz` in base64,
        so that what is refused costs nothing."""
        self._left_s = min(self._burst_s, self._left_s + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        seconds = max(_LEAST_S, message_chars * _BASE64 / _PCM16_BYTES / hz)
        if seconds > self._left_s:
            return False
        self._left_s -= seconds
        return True
