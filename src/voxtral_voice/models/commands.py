"""`voxtral-voice models list` and `models fetch`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from tqdm import tqdm

from voxtral_voice.models.store import ModelUnavailable, Store


def list_models(store: Store) -> str:
    """A table: name, role, licence, size and where the model is, or "not fetched"."""
    rows = [("NAME", "ROLE", "LICENCE", "MB", "WHERE")]
    for model in store.catalog.values():
        try:
            found = store.find(model.name)
            where = f"{found.path} ({found.origin})" if found else "not fetched"
        except ModelUnavailable as error:
            where = error.message
        rows.append((model.name, model.role, model.licence, f"{model.size_bytes / 1e6:.1f}", where))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}"
        for row in rows
    )


def fetch_models(store: Store, names: Sequence[str], *, bar: bool | None = None) -> int:
    """Fetch `names` (none: all) and say on stderr how it goes. `bar`: draw one, None: when stderr is a terminal.

    Returns the exit code: 0, or 1 when a model could not be had; the others are fetched all the same.
    """
    failed: list[str] = []
    for name in names or tuple(store.catalog):
        started = time.monotonic()
        shown = sys.stderr.isatty() if bar is None else bar
        with tqdm(desc=name, unit="B", unit_scale=True, disable=not shown, file=sys.stderr, leave=False) as line:

            def report(_name: str, done: int, total: int, line: tqdm[NoReturn] = line) -> None:
                line.total = total
                line.update(done - line.n)

            try:
                path = store.fetch(name, report)
            except ModelUnavailable as error:
                failed.append(name)
                said = error.message
            else:
                said = f"{name}: {path} ({time.monotonic() - started:.1f} s)"
        sys.stderr.write(said + "\n")
    if failed:
        sys.stderr.write(f"not fetched: {', '.join(failed)}\n")
    return 1 if failed else 0
