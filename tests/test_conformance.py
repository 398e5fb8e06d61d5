"""Whatever a client does, at whatever moment: what a Realtime client may rely on holds, event by event.

Each seed is one random conversation in virtual time, with the server's own door, wire and session. The name of a test
that fails says its seed; `-k seed17-` plays that one again, and CONFORMANCE_SEEDS=2000 makes it more of them.
"""

from __future__ import annotations

import logging
import os

import pytest

from conformance import Conformance
from stranger import Stranger

SEEDS = int(os.environ.get("CONFORMANCE_SEEDS", "500"))


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed{seed}-")
def test_whatever_a_client_does_it_can_rely_on_what_it_is_told(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    story = Stranger(seed)
    manager = story.meet()
    Conformance(story).check()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert manager.parts.understander.running == 0
