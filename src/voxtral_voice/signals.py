"""What a TurnTaker says: who starts, pauses, goes on, finishes, interrupts. Positions are samples at 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signal:
    at: int
    """Sample at which it became known."""


@dataclass(frozen=True, slots=True)
class Started(Signal):
    """Speech that begins a turn."""

    onset: int
    interrupts: bool
    """False for whoever talked past the limit: the first part is being answered meanwhile."""


@dataclass(frozen=True, slots=True)
class Paused(Signal):
    """The first silence: time to think."""

    speech_end: int


@dataclass(frozen=True, slots=True)
class AskEndpoint(Signal):
    """Ask the end-of-turn model about the turn up to here and hand the answer to `verdict`."""


@dataclass(frozen=True, slots=True)
class Resumed(Signal):
    """It was a pause inside the turn."""


@dataclass(frozen=True, slots=True)
class Ended(Signal):
    """The turn is over: time to speak."""

    speech_end: int


@dataclass(frozen=True, slots=True)
class DuckStarted(Signal):
    """Speech over the reply that may become an interruption."""


@dataclass(frozen=True, slots=True)
class DuckEnded(Signal):
    """It was a cough."""


@dataclass(frozen=True, slots=True)
class AskWords(Signal):
    """Somebody speaks over the reply: ask for the words of it and hand what they mean to `words`."""

    onset: int
    end: int
    """After its last speech."""


@dataclass(frozen=True, slots=True)
class BargedIn(Signal):
    """An interruption, confirmed; the user's turn began at `onset`."""

    onset: int
