"""What benches wrote with --json, as Markdown tables in a document.

    python -m bench.tables docs/benchmarks.md bench_peer.json bench_load.json …

The document names where each goes: what stands between `<!-- peer -->` and `<!-- /peer -->` is replaced by the table of
the file `bench_peer.json`, or of `peer.json`. Between `<!-- headline -->` and `<!-- /headline -->` go the three figures
that matter, of the files of peer, barge_in and load. The exit code is 1 where a file has no place, nor a part in these.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any


def table(result: dict[str, Any]) -> str:
    """One result of `bench.report`: its circumstances in a line, a row for each figure, its notes."""
    params = {name: value for name, value in result["params"].items() if name not in ("drift", "notes")}
    drift = float(result["params"]["drift"])
    about = [f"{name} {_text(value)}" for name, value in params.items()]
    noisy = ", too much: noisy" if drift > 0.15 else ""
    lines = [
        f"{result['date']}, {result['machine']}; {', '.join([*about, f'drift {drift:.0%}{noisy}'])}",
        "",
        "| | median | 90 % | n |",
        "| --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        lines.append(_line(row["name"].strip(), row))
    notes = result["params"]["notes"]
    return "\n".join([*lines, *([""] if notes else []), *[f"- {note}" for note in notes]])


_HEADLINES = (
    ("peer", "end of speech to the first audible packet", "ours: voice to voice"),
    ("peer", "the same of Pipecat 1.14, same models, interleaved", "peer: voice to voice"),
    ("peer", "ours / Pipecat", "voice to voice, ours / peer"),
    ("barge_in", "speech over a reply to its stop", "start of speech to stopped"),
    ("load", "32 sessions talking, CPU, ours / Pipecat", "32 sessions: CPU talking, ours / peer"),
)


def headline(results: dict[str, dict[str, Any]]) -> str:
    """The figures that matter, of benches by name; "not measured" for those that are not there."""
    lines = ["| | median | 90 % | n |", "| --- | --- | --- | --- |"]
    for bench, label, name in _HEADLINES:
        row = next((row for row in results.get(bench, {"rows": []})["rows"] if row["name"] == name), None)
        lines.append(_line(label, row) if row else f"| {label} | not measured | | |")
    return "\n".join(lines)


def _line(label: str, row: dict[str, Any]) -> str:
    high = "" if row["p90"] is None else _figure(row["p90"], row["unit"])
    return f"| {label} | {_figure(row['median'], row['unit'])} | {high} | {row['n']} |"


def _text(value: object) -> str:
    return " ".join(str(each) for each in value) if isinstance(value, list) else str(value)


def _figure(value: float, unit: str) -> str:
    if unit == "x":
        return f"{value:.2f} x"
    digits = 0 if float(value).is_integer() or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}".strip()


def put(document: str, name: str, text: str) -> str | None:
    """`document` with `text` between the marks of `name`; None where it has none."""
    place = re.compile(f"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not place.search(document):
        return None
    return place.sub(lambda found: f"{found[1]}{text}\n{found[2]}", document)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    chosen = parser.parse_args()
    text, missing = chosen.document.read_text(encoding="utf-8"), []
    results = {
        file.stem.removeprefix("bench_"): json.loads(file.read_text(encoding="utf-8")) for file in chosen.results
    }
    summed_up = put(text, "headline", headline(results))
    text = summed_up or text
    for name, result in results.items():
        placed = put(text, name, table(result))
        if placed is None and not (summed_up and name in {bench for bench, _, _ in _HEADLINES}):
            missing.append(name)
        text = placed or text
    chosen.document.write_text(text, encoding="utf-8")
    if missing:
        print(f"{chosen.document} has no place for {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
