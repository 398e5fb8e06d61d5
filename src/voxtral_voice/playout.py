"""Lets a reply's sound go just ahead of real time, and knows what of it has been heard.

Pure: time comes in as an argument (seconds, monotonic).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from voxtral_voice.types import SPEAK_HZ, Pcm

AUDIBLE_DBFS = -45.0
"""A packet whose loudest 10 ms reach this level can be heard."""


@dataclass(frozen=True, slots=True)
class Packet:
    text: str
    """Words that begin with this packet; mostly empty."""
    pcm: Pcm
    """Shape [samples], 24 kHz; empty for words without sound."""


@dataclass(frozen=True, slots=True)
class _Clause:
    """What is remembered of it."""

    text: str
    start: int  # samples into the reply
    length: int


@dataclass(slots=True)
class _Unsent:
    text: str
    pcm: Pcm
    sent: int = 0


class Playout:
    """One reply on its way to the listener."""

    def __init__(self, *, packet_ms: int, lead_ms: int) -> None:
        self._packet = packet_ms * SPEAK_HZ // 1000
        self._lead_s = lead_ms / 1000
        self._queue: deque[_Unsent] = deque()
        self._clauses: list[_Clause] = []  # all of them: what was heard is read off here
        self._length = 0  # samples added
        self._sent = 0  # samples sent
        self._play_end: float | None = None  # when the listener will have played what was sent

    def add(self, text: str, pcm: Pcm) -> None:
        """A clause and its sound, shape [samples], 24 kHz; of a clause in several parts the first has the text."""
        self._queue.append(_Unsent(text, pcm))
        self._clauses.append(_Clause(text, self._length, len(pcm)))
        self._length += len(pcm)

    def start(self, at: float) -> None:
        """The turn is certain: what is here may go, to be heard from `at` on."""
        self._play_end = at

    def stop(self, now: float) -> None:
        """The listener's loudspeaker has been silenced: nothing more is heard of this."""
        self._queue.clear()
        if self._play_end is not None:
            self._play_end = min(self._play_end, now)

    @property
    def empty(self) -> bool:
        return not self._queue

    @property
    def unsent_ms(self) -> int:
        return (self._length - self._sent) * 1000 // SPEAK_HZ

    def heard_until(self) -> float:
        """When the listener will have played everything sent so far; 0 before the first packet."""
        return self._play_end if self._play_end is not None and self._sent else 0.0

    def next_at(self) -> float | None:
        """When the next packet may go; None when there is none."""
        if self._play_end is None or not self._queue:
            return None
        return self._play_end - self._lead_s + self._upcoming() / SPEAK_HZ

    def release(self, now: float) -> list[Packet]:
        """The packets due by `now`."""
        packets = []
        while (due := self.next_at()) is not None and due <= now + 1e-6:
            packets.append(self._pop(now))
        return packets

    def played_ms(self, now: float) -> int:
        """How much of the reply has come out of the loudspeaker, as far as we can tell from here."""
        ahead_s = max(0.0, (self._play_end or now) - now)
        return max(0, round(self._sent * 1000 / SPEAK_HZ - ahead_s * 1000))

    def sent_ms(self) -> int:
        return self._sent * 1000 // SPEAK_HZ

    def heard_text(self, played_ms: int) -> str:
        """The words that were heard after `played_ms` of the reply; of a clause cut short, its share of words."""
        played = played_ms * SPEAK_HZ // 1000
        heard, index = [], 0
        while index < len(self._clauses):
            first, length = self._clauses[index], 0
            while True:  # a clause spoken in parts counts as one
                length += self._clauses[index].length
                index += 1
                if index >= len(self._clauses) or self._clauses[index].text:
                    break
            if played < first.start or (played == first.start and (length or played == 0)):
                break
            share = 1.0 if length == 0 else min(1.0, (played - first.start) / length)
            words = first.text.split()
            heard.extend(words if share >= 1.0 else words[: int(share * len(words))])
        return " ".join(heard)

    def _upcoming(self) -> int:
        """Samples of the next packet. A crumb at the end of a clause, a packet of a few milliseconds, goes along."""
        left = len(self._queue[0].pcm) - self._queue[0].sent
        return left if left - self._packet < self._packet // 2 else self._packet

    def _pop(self, now: float) -> Packet:
        clause = self._queue[0]
        text = clause.text if clause.sent == 0 else ""
        pcm = clause.pcm[clause.sent : clause.sent + self._upcoming()]
        clause.sent += len(pcm)
        if clause.sent >= len(clause.pcm):
            self._queue.popleft()
        assert self._play_end is not None
        self._play_end = max(self._play_end, now) + len(pcm) / SPEAK_HZ
        self._sent += len(pcm)
        return Packet(text, pcm)


def audible(pcm: Pcm) -> bool:
    """Whether any 10 ms of it are above -45 dBFS."""
    step = SPEAK_HZ // 100
    frames = [pcm[start : start + step] for start in range(0, len(pcm), step)]
    floor = 10 ** (AUDIBLE_DBFS / 20)
    return any(len(frame) and float(np.sqrt(np.mean(frame**2))) >= floor for frame in frames)
