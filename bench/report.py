"""How a bench measures fairly and says what it found."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from voxtral_voice import __version__

_NOISY = 0.15


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every bench has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a few cases only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    default = os.environ.get("VOXTRAL_TEST_AUDIO")
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="DIR",
        default=Path(default) if default else None,
        help="recordings with a manifest.json (default: VOXTRAL_TEST_AUDIO, else speech synthesised on the spot)",
    )
    return parser


def _loop_s() -> float:
    started = time.perf_counter()
    sum(number * number for number in range(1_000_000))
    return time.perf_counter() - started


def calibrate() -> float:
    """Seconds of a fixed piece of work, median of 7: the machine's speed at this moment."""
    return statistics.median(_loop_s() for _ in range(7))


def p90(values: list[float]) -> float:
    """90th percentile: the nearest value."""
    return sorted(values)[round(0.9 * (len(values) - 1))]


@dataclass
class Report:
    """Rows of figures, printed as a table and written as one JSON schema."""

    bench: str
    params: dict[str, object]
    rows: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _speed_s: float = field(default_factory=calibrate)

    def values(self, name: str, values: list[float], unit: str = "ms") -> None:
        """A row with median and 90th percentile."""
        if not values:
            self.notes.append(f"{name}: not measured")
            return
        self._row(name, len(values), statistics.median(values), p90(values), unit)

    def ratio(self, name: str, ours: list[float], peers: list[float]) -> None:
        """A row with the quotient of two medians and of two 90th percentiles."""
        if not ours or not peers:
            self.notes.append(f"{name}: not measured")
            return
        medians = statistics.median(ours) / statistics.median(peers)
        self._row(name, min(len(ours), len(peers)), medians, p90(ours) / p90(peers), "x")

    def _row(self, name: str, n: int, median: float, high: float, unit: str) -> None:
        self.rows.append({"name": name, "n": n, "median": round(median, 3), "p90": round(high, 3), "unit": unit})

    def figure(self, name: str, value: float, n: int, unit: str) -> None:
        """A row with one figure."""
        self.rows.append({"name": name, "n": n, "median": round(value, 4), "p90": None, "unit": unit})

    def finish(self, path: Path | None) -> None:
        """Print everything, with the drift of the machine's speed beside it."""
        drift = abs(calibrate() / self._speed_s - 1)
        noisy = "  (noisy, repeat)" if drift > _NOISY else ""
        print(f"\n{self.bench}  {self.params}  drift {drift:.0%}{noisy}")
        for row in self.rows:
            p90 = "" if row["p90"] is None else f"  p90 {row['p90']}"
            print(f"  {row['name']:<44} {row['median']} {row['unit']}{p90}  n={row['n']}")
        for note in self.notes:
            print(f"  {note}")
        if path is not None:
            about = {
                "bench": self.bench,
                "version": __version__,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "params": {**self.params, "drift": round(drift, 3), "notes": self.notes},
                "rows": self.rows,
            }
            path.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
