"""Clauses that have been spoken before, kept: an assistant that greets everybody alike need not say it anew."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from voxtral_voice.engines.protocols import Synthesizer
from voxtral_voice.types import Cancel, Pcm, Voice


class SaidBefore:
    """A Synthesizer in front of another one (`engines.protocols.Synthesizer`); one thread's, as that one is.

    A clause is known by its text, voice and speed. The oldest unused ones go when all together take more than
    `most_bytes`.
    """

    def __init__(self, synthesizer: Synthesizer, most_bytes: int) -> None:
        self._synthesizer = synthesizer
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, Voice], tuple[Pcm, ...]] = OrderedDict()
        self.bytes = 0
        """Of the sound kept."""

    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        """As the Synthesizer behind it says; the sound is read-only."""
        key = clause.strip(), voice
        if key in self._kept:
            self._kept.move_to_end(key)
            yield from self._kept[key]
            return
        parts = []
        for pcm in self._synthesizer.speak(clause, voice, cancel):
            pcm.flags.writeable = False
            parts.append(pcm)
            yield pcm
        if not cancel.is_set():  # else some of it may be missing
            self._keep(key, tuple(parts))

    def close(self) -> None:
        self._synthesizer.close()

    def _keep(self, key: tuple[str, Voice], parts: tuple[Pcm, ...]) -> None:
        before = self._kept.pop(key, ())  # two may have said it at the same time
        self._kept[key] = parts
        self.bytes += _size(parts) - _size(before)
        while self.bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= _size(oldest)


def _size(parts: tuple[Pcm, ...]) -> int:
    return sum(pcm.nbytes for pcm in parts)
