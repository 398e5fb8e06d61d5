"""How many requests the engines work for at once; who comes then is told to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from voxtral_voice.types import VoiceError


class Places:
    """So many, for requests that are not conversations: those have places of their own."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken = 0

    def check(self) -> None:
        """Raises VoiceError("at_capacity") where none is free."""
        if self._taken >= self._count:
            raise VoiceError("at_capacity", f"{self._count} requests are under way already: try again")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of them, until its request has been answered. Raises VoiceError("at_capacity")."""
        self.check()
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
