"""The same client against this server and against Pipecat 1.14 with the same models, in interleaved blocks.

    python -m bench.peer --install
    python -m bench.peer [--turns 40] [--reply template|smollm2] [--audio DIR] [--quick] [--json FILE]

Both hear recordings in real time, 20 ms frames, and answer with the same text: silero, smart-turn v3.2, Whisper tiny.en
int8 and the same Kokoro-82M file on each side, each server in its own process. From the labelled end of speech to the
first audible packet received. Pipecat is tuned as its documentation says: smart-turn with a timeout of 1 s
(--tuning default: its 3 s; silence: 0.2 s of silence alone). With --reply smollm2 both run the same code for the same
SmolLM2: Pipecat's side calls our engine on a thread and pushes its text as an LLM service does.
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path

from bench import clips
from bench.peer import install, measure
from bench.report import Report, arguments
from bench.server_process import Running, ours, peer
from voxtral_voice import config

_PARTS = ("turns", "barge-ins", "together", "listening")
_BARGE_INS = 10


def options(chosen_reply: str, tuning: str) -> list[str]:
    """Of the peer's server."""
    also = [sysconfig.get_paths()["purelib"], str(Path(__file__).parents[2] / "src")]
    more = [word for folder in also for word in ("--also", folder)] if chosen_reply == "smollm2" else []
    return ["--models", str(config.load().models.root), "--reply", chosen_reply, "--tuning", tuning, *more]


def rows(report: Report, found: dict[str, measure.Found]) -> None:
    """Side by side, with the ratio of ours to the peer's below each pair."""
    for name, each in found.items():
        report.values(f"{name}: voice to voice", each.sent())
    report.ratio("voice to voice, ours / peer", found["ours"].sent(), found["peer"].sent())
    for name, each in found.items():
        ended = [turn.ended_ms for turn in each.outcomes if turn.ended_ms is not None and turn.clip.ends_turn]
        report.values(f"{name}: end of turn known", ended)
    for name, each in found.items():
        if not each.outcomes:
            continue
        ends = [turn for turn in each.outcomes if turn.clip.ends_turn]
        short = [p for turn in each.outcomes for p in turn.clip.pauses if p.length_ms < 900]
        mid, complete = (sum(p.kind == kind for p in short) for kind in ("mid", "complete"))
        report.figure(
            f"{name}: mid-thought pauses < 0.9 s that ended the turn",
            sum(turn.cut_mid for turn in each.outcomes),
            mid,
            "pauses",
        )
        report.figure(
            f"{name}: pauses after a clause that ended it",
            sum(turn.cut_complete for turn in each.outcomes),
            complete,
            "pauses",
        )
        report.figure(f"{name}: ends not noticed within 1.5 s", sum(turn.missed for turn in ends), len(ends), "turns")
        report.figure(f"{name}: turns not answered", sum(turn.sent_ms is None for turn in ends), len(ends), "turns")
    for name, each in found.items():
        stopped = [over.stopped_ms for over in each.interruptions if over.stopped_ms is not None]
        report.values(f"{name}: barge-in, start of speech to stop", stopped)
        report.values(f"{name}: barge-in, stop to last byte", [over.tail_ms for over in each.interruptions])
        if each.interruptions:
            n = len(each.interruptions)
            report.figure(f"{name}: barge-ins without effect", n - len(stopped), n, "turns")
    for people in (2, 4):
        for name, each in found.items():
            outcomes = each.together.get(people, [])
            report.values(f"{name}: voice to voice, {people} speak at once", measure.sent_ms(outcomes))
    for name, each in found.items():
        if each.listening_cpu is not None and each.listening_bytes is not None:
            report.figure(f"{name}: a listening session", each.listening_cpu * 100, 4, "% of a core")
            report.figure(f"{name}: memory of a listening session", each.listening_bytes / 2**20, 4, "MiB")


async def run(
    servers: list[Running], spoken: list[clips.Clip], parts: list[str], turns: int
) -> dict[str, measure.Found]:
    found = {server.name: measure.Found() for server in servers}
    plain = [clip for clip in spoken if clip.ends_turn and not clip.pauses]
    if "turns" in parts:
        for server in servers:
            await measure.one_turn(server, plain[0])  # the first turn warms what a start has not
        await measure.turns(servers, found, measure.choose(spoken, turns))
    if "barge-ins" in parts:
        await measure.barge_ins(servers, found, plain[: min(turns, _BARGE_INS)])
    if "together" in parts:
        await measure.together(servers, found, plain, rounds=1 if turns < 10 else 3)
    if "listening" in parts:
        await measure.listening(servers, found, 2.0 if turns < 10 else 10.0)
    return found


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--install", action="store_true", help="make Pipecat's environment (0.8 GB) and end")
    parser.add_argument("--peer", type=Path, metavar="DIR", default=install.folder(), help="it lies here")
    parser.add_argument("--turns", type=int, default=40, help="of each server (default %(default)s)")
    parser.add_argument("--reply", choices=["template", "smollm2"], default="template")
    parser.add_argument("--tuning", choices=["smart-turn", "silence", "default"], default="smart-turn")
    parser.add_argument("--without-pauses", action="store_true", help="only clips in which nobody pauses: shorter")
    parser.add_argument("--only", choices=_PARTS, action="append", help="leave the rest out; may be repeated")
    chosen = parser.parse_args()
    if chosen.install:
        install.install(chosen.peer)
        print(f"Pipecat is in {chosen.peer}")
        return 0
    python = install.python(chosen.peer)
    if not python.exists():
        print(f"no Pipecat in {chosen.peer}: python -m bench.peer --install", file=sys.stderr)
        return 2
    spoken = await clips.of(chosen.audio)
    if chosen.without_pauses:
        spoken = [clip for clip in spoken if clip.ends_turn and not clip.pauses]
    turns = 3 if chosen.quick else chosen.turns
    report = Report(
        "peer",
        {
            "peer": f"Pipecat 1.14, {chosen.tuning}",
            "reply": chosen.reply,
            "audio": "recorded" if chosen.audio else "synthesised",
        },
    )
    with ExitStack() as stack:
        servers = [
            stack.enter_context(ours(ENGINES__REPLY=chosen.reply)),
            stack.enter_context(peer(python, *options(chosen.reply, chosen.tuning))),
        ]
        found = await run(servers, spoken, chosen.only or list(_PARTS), turns)
    rows(report, found)
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
