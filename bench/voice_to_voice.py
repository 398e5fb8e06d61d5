"""How long from the end of speech to the first sound of the answer, and how often somebody is cut off.

    python -m bench.voice_to_voice [--turns 40] [--audio DIR] [--plot FILE.svg] [--quick] [--json FILE]

Every recording is streamed in real time through a whole session with instant template replies. The end of speech is
the recording's labelled last energetic frame; the first sound is the first packet with 10 ms above -45 dBFS. The stages
in between and how long each step took (the waterfall) are the session's own marks. A labelled pause inside a recording
counts as cut when a turn ended in it; a cut turn is joined when what followed became one turn with it.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from bench import plot
from bench.clips import Clip, recorded, spoken
from bench.report import Report, arguments
from voxtral_voice import config, talk
from voxtral_voice.settings import SessionSettings

_SHORT_MS = 900
_VAD_LAG_MS = 200  # a turn's end lies this close to the start of the pause that it was taken for
_STAGES = ("think_start", "heard", "first_delta", "first_clause", "first_pcm", "turn_end", "first_sent")
_STEPS = (
    ("pause noticed", None, "think_start"),
    ("words heard", "think_start", "heard"),
    ("first clause written", "heard", "first_clause"),
    ("its first sound made", "first_clause", "first_pcm"),
    ("end of turn decided", None, "turn_end"),
    ("first packet sent", "turn_end", "first_sent"),
)
"""What happens between two stages, None being the end of speech; the draft's four run beside the decision."""


def cut_pauses(clip: Clip, ends_ms: list[int], kind: str) -> list[float]:
    """Lengths of the pauses of `kind` in which a turn ended."""
    return [
        pause.length_ms
        for pause in clip.pauses
        if pause.kind == kind and any(-_VAD_LAG_MS <= end - pause.start_ms < pause.length_ms for end in ends_ms)
    ]


def _waterfall(report: Report, stages: dict[str, list[float]]) -> list[plot.Bar]:
    """How long each step took, and a bar for each."""
    bars = []
    for name, since, until in _STEPS:
        if not stages.get(until) or (since is not None and len(stages.get(since, [])) != len(stages[until])):
            report.notes.append(f"step, {name}: not measured")
            continue
        starts = [0.0] * len(stages[until]) if since is None else stages[since]
        report.values(f"step: {name}", [b - a for a, b in zip(starts, stages[until], strict=True)])
        bars.append(plot.Bar(name, statistics.median(starts), statistics.median(stages[until])))
    return bars


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--reply", choices=["template", "smollm2"], default="template")
    parser.add_argument("--turns", type=int, default=0, help="go through the clips again until so many (0: once)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the medians as a waterfall there, as SVG")
    chosen = parser.parse_args()
    settings = config.load(overrides={"engines.reply": chosen.reply})
    session = replace(SessionSettings.of(settings), metrics=True)
    report = Report("voice_to_voice", {"reply": chosen.reply, "audio": "recorded" if chosen.audio else "synthesised"})
    sent: list[float] = []
    endpoint: list[float] = []
    stages: dict[str, list[float]] = {}
    pauses = cut = complete = cut_complete = cuts = joins = missed = 0
    async with talk.loaded(settings) as engines:
        clips = recorded(chosen.audio) if chosen.audio else await spoken(engines, settings)
        count = 3 if chosen.quick else chosen.turns or len(clips)
        clips = list(itertools.islice(itertools.cycle(clips), count))
        for clip in tqdm(clips, desc="turns", unit="turn"):
            result = await talk.talk(clip.pcm, engines, settings, session)
            mid = cut_pauses(clip, result.ends_ms, "mid")
            done = cut_pauses(clip, result.ends_ms, "complete")
            pauses += sum(pause.kind == "mid" and pause.length_ms < _SHORT_MS for pause in clip.pauses)
            cut += sum(length < _SHORT_MS for length in mid)
            complete += sum(pause.kind == "complete" for pause in clip.pauses)
            cut_complete += len(done)
            turns = [item for item in result.items if item.role == "user"]
            cuts += len(turns) - 1
            answer = result.answers[-1] if result.answers else None
            joined = sum(item.joins for item in turns)
            joins += joined
            line = f"{clip.name:14} turns {len(turns)} joined {joined} mid cut {[round(ms) for ms in mid]}"
            if answer is None or answer.first_audible_s is None:
                missed += 1
                tqdm.write(f"{line} no answer", sys.stderr)
                continue
            if clip.ends_turn:
                sent.append(answer.first_audible_s * 1000 - clip.speech_end_ms)
                marks = answer.marks_ms
                endpoint.append(sent[-1] - (marks["first_sent"] - marks["turn_end"]))
                for stage in _STAGES:
                    if stage in marks:
                        stages.setdefault(stage, []).append(marks[stage] + sent[-1] - marks["first_sent"])
                said = f"sent after {sent[-1]:.0f} ms, turn ended after {endpoint[-1]:.0f} ms"
                tqdm.write(f"{line} {said}", sys.stderr)
    report.values("voice_to_voice_sent_ms", sent)
    report.values("end of turn known", endpoint)
    for stage in _STAGES:
        report.values(f"  {stage}", stages.get(stage, []))
    bars = _waterfall(report, stages)
    if chosen.plot and bars:
        chosen.plot.write_text(plot.waterfall(bars, "ms after the labelled end of speech, medians"), encoding="utf-8")
    report.figure("mid-thought pauses < 0.9 s that ended the turn", cut, pauses, "pauses")
    report.figure("pauses after a clause that ended the turn", cut_complete, complete, "pauses")
    report.figure("turns cut", cuts, len(clips), "turns")
    report.figure("  of these joined", joins, cuts, "turns")
    report.figure("recordings not answered", missed, len(clips), "recordings")
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
