"""How long ago the server was last used: what a pod may be stopped by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class LastUse:
    """Conversations and requests under way, and when the last of them ended."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way = 0
        self._ended_at_s = clock()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While somebody is served."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._ended_at_s = self._clock()

    @property
    def idle_s(self) -> int:
        """Whole seconds without anybody."""
        return 0 if self._under_way else int(self._clock() - self._ended_at_s)
