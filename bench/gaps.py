"""Did the sound of a reply come in time? What a client without any buffer of its own would have noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.line import Noted

_OVER_S = 0.5  # this long after all that was sent has been played, the next sound belongs to another reply


@dataclass(frozen=True, slots=True)
class Gaps:
    replies: int
    underruns_ms: tuple[float, ...]
    """How long the loudspeaker had nothing to play, each time."""


def gaps(noted: Sequence[Noted], *, tolerance_ms: float = 1.0) -> Gaps:
    """Of all replies in the notes: a packet that came later than everything before it lasts.

    `tolerance_ms`: what counts as in time; the client's own event loop wakes that late.
    """
    replies, missing, played_until = 0, list[float](), None
    for note in noted:
        if note.kind in ("reply_done", "interrupted"):
            played_until = None
        if note.kind != "sound":
            continue
        if played_until is None or note.at_s > played_until + _OVER_S:
            replies += 1
            played_until = note.at_s
        elif note.at_s > played_until + tolerance_ms / 1000:
            missing.append((note.at_s - played_until) * 1000)
            played_until = note.at_s
        played_until += note.sound_s
    return Gaps(replies, tuple(missing))
