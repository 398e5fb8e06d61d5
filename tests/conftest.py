"""Shared set-up: tests import their helpers (`scripted`, `conversation`, …) from this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["whole_program", "voxtral_fixtures", "control_plane"]
