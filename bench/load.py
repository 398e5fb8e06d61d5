"""Many sessions at once with engines that cost nothing: what the server itself takes, beside Pipecat's own.

    python -m bench.load [--sessions 1 8 16 32] [--detectors free|real] [--network good|bad] [--quick] [--json FILE]

Frames of 20 ms both ways. First every session listens to silence, then each talks a quarter of the time and gets two
seconds of reply. Latency: from the last loud sample to the first audible packet; *added* is what it exceeds the
quickest turn of a single session by, so the pause that the rules demand is not in it. Pipecat runs its own base classes
around equally free models, in the same run (python -m bench.peer --install). --network bad puts a proxy between that
delays by 40 +- 20 ms and stalls for 250 ms about every 4 s, each way.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from bench.bad_network import Weather, through
from bench.gaps import gaps
from bench.line import FRAME_S, Line, call
from bench.peer import install
from bench.report import Report, arguments
from bench.server_process import Running, Spent, ours_zero_cost, peer
from bench.zero_cost import REPLY_S, sample_lag
from voxtral_voice.types import HEAR_HZ, Pcm

_CYCLE_FRAMES = 400
_GRID_FRAMES = 8  # a multiple of both servers' windows of 512 samples: every turn meets them in the same phase
_LOUDNESS = 0.3
_WARM_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    listen_s: float = 5.0
    talk_s: float = 17.0
    cycle_frames: int = _CYCLE_FRAMES

    @property
    def speech_frames(self) -> int:
        return self.cycle_frames // 4

    def of(self, sessions: int) -> Plan:
        """Longer for a few sessions, so that they have some turns too."""
        return replace(self, talk_s=self.talk_s + self.cycle_s * (sessions < 4))

    @property
    def cycle_s(self) -> float:
        return self.cycle_frames * FRAME_S

    def microphone(self, at: int, of: int) -> tuple[Pcm, int]:
        """What session `at` of `of` says, one cycle, and the frame in which its speech ends."""
        shift = round(at / of * self.cycle_frames / _GRID_FRAMES) * _GRID_FRAMES
        frame = round(FRAME_S * HEAR_HZ)
        cycle = np.zeros(self.cycle_frames * frame, np.float32)
        cycle[: self.speech_frames * frame] = _LOUDNESS
        return np.roll(cycle, shift * frame), self.speech_frames + shift


@dataclass
class Found:
    """Of one server with so many sessions."""

    latency_ms: list[float] = field(default_factory=list)
    expected: int = 0
    underruns_ms: list[float] = field(default_factory=list)
    replies: int = 0
    listening_cpu: float = 0.0
    talking_cpu: float = 0.0
    listening_bytes: float = 0.0
    talking_bytes: float = 0.0
    lag_p99_ms: float = 0.0
    client_lag_p99_ms: float = 0.0


async def measure(server: Running, sessions: int, plan: Plan, *, talks: bool) -> Found:
    """Idle, listening, and talking where `talks`."""
    found = Found()
    before = server.spent()
    async with AsyncExitStack() as stack:
        for _ in range(sessions):
            await stack.enter_async_context(call(server.url, server.wire))
        await asyncio.sleep(_WARM_S)
        began = server.spent()
        await asyncio.sleep(plan.listen_s)
        ended = server.spent()
    found.listening_cpu = (ended.cpu_s - began.cpu_s) / (ended.at_s - began.at_s)
    found.listening_bytes = ended.memory_bytes - before.memory_bytes
    if talks:
        await _talk(found, server, sessions, plan, before)
    return found


async def _talk(found: Found, server: Running, sessions: int, plan: Plan, before: Spent) -> None:
    loop = asyncio.get_running_loop()
    lags: list[float] = []
    sampling = asyncio.create_task(sample_lag(lags))
    async with AsyncExitStack() as stack:
        lines: list[tuple[Line, int]] = []
        for number in range(sessions):
            sound, end = plan.microphone(number, sessions)
            lines.append((await stack.enter_async_context(call(server.url, server.wire, noise=sound)), end))
        await asyncio.sleep(_WARM_S)
        server.lag()
        began = server.spent()
        await asyncio.sleep(plan.talk_s)
        ended, until = server.spent(), loop.time()
        found.lag_p99_ms, _ = server.lag()
    sampling.cancel()
    found.client_lag_p99_ms = float(np.percentile(lags, 99))
    found.talking_cpu = (ended.cpu_s - began.cpu_s) / (ended.at_s - began.at_s)
    found.talking_bytes = ended.memory_bytes - before.memory_bytes
    for line, end in lines:
        _read(found, line, end, plan, until)


def _read(found: Found, line: Line, end_frame: int, plan: Plan, until: float) -> None:
    period = plan.cycle_s
    end = line.began_s + (end_frame % plan.cycle_frames) * FRAME_S
    if end_frame > plan.cycle_frames:  # its first end is that of a turn whose beginning nobody heard
        end += period
    while end + REPLY_S < until:
        found.expected += 1
        answer = next((note for note in line.noted if note.audible and end <= note.at_s < end + REPLY_S), None)
        if answer is not None:
            found.latency_ms.append((answer.at_s - end) * 1000)
        end += period
    heard = gaps(line.noted)
    found.replies += heard.replies
    found.underruns_ms += heard.underruns_ms


def rows(report: Report, found: dict[tuple[str, int], Found]) -> None:
    least = {name: min(each.latency_ms) for (name, _), each in reversed(found.items()) if each.latency_ms}
    for (name, sessions), each in found.items():
        label = f"{name}, {sessions} session{'s' * (sessions > 1)}"
        report.figure(f"{label}: CPU of a session, listening", 100 * each.listening_cpu / sessions, sessions, "% core")
        report.figure(f"{label}: memory a session, listening", each.listening_bytes / sessions / 2**20, sessions, "MiB")
        if each.expected:
            _talking_rows(report, label, each, least.get(name))
    for sessions in sorted({count for _, count in found}):
        mine, theirs = found.get(("ours", sessions)), found.get(("peer", sessions))
        if mine is not None and theirs is not None:
            for what, ours, peers in (
                ("CPU listening", mine.listening_cpu, theirs.listening_cpu),
                ("memory listening", mine.listening_bytes, theirs.listening_bytes),
                ("CPU talking", mine.talking_cpu, theirs.talking_cpu),
                ("memory talking", mine.talking_bytes, theirs.talking_bytes),
            ):
                if peers > 0:
                    report.figure(f"{sessions} sessions: {what}, ours / peer", ours / peers, sessions, "x")


def _talking_rows(report: Report, label: str, each: Found, least_ms: float | None) -> None:
    report.values(f"{label}: latency", each.latency_ms)
    if least_ms is not None:
        added = [value - least_ms for value in each.latency_ms]
        report.figure(f"{label}: added latency, 95 %", float(np.percentile(added, 95)), len(added), "ms")
    report.figure(f"{label}: turns not answered", each.expected - len(each.latency_ms), each.expected, "turns")
    report.figure(f"{label}: underruns", len(each.underruns_ms), each.replies, "in so many replies")
    if each.underruns_ms:
        report.figure(f"{label}: longest underrun", max(each.underruns_ms), len(each.underruns_ms), "ms")
    report.figure(f"{label}: CPU of all, talking", 100 * each.talking_cpu, each.replies, "% core")
    report.figure(f"{label}: memory of all, talking", each.talking_bytes / 2**20, each.replies, "MiB")
    report.figure(f"{label}: event loop lag, 99 %", each.lag_p99_ms, each.replies, "ms")
    report.figure(f"{label}: the client's own lag, 99 %", each.client_lag_p99_ms, each.replies, "ms")


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 8, 16, 32], help="at once, one after the other")
    parser.add_argument("--network", choices=["good", "bad"], default="good")
    parser.add_argument(
        "--detectors",
        choices=["free", "real"],
        default="free",
        help="real: silero and smart-turn on both, and the sessions listen only",
    )
    chosen = parser.parse_args()
    sessions = [2] if chosen.quick else chosen.sessions
    listens_only = chosen.detectors == "real"  # a tone is no speech to silero
    plan = Plan(listen_s=0.5, talk_s=1.5, cycle_frames=160) if chosen.quick else Plan()
    report = Report(
        "load",
        {
            "sessions": sessions,
            "detectors": chosen.detectors,
            "network": chosen.network,
            "frame_ms": round(FRAME_S * 1000),
        },
    )
    found: dict[tuple[str, int], Found] = {}
    servers = _servers(max(sessions), chosen.detectors, with_peer=not chosen.quick)
    if len(servers) == 1:
        report.notes.append("the peer: not measured (python -m bench.peer --install; not in a quick run)")
    with tqdm(total=len(sessions) * len(servers), desc="load", unit="run") as bar:
        for number, count in enumerate(sessions):
            for start in servers if number % 2 == 0 else servers[::-1]:
                async with AsyncExitStack() as stack:
                    server = stack.enter_context(start())  # a fresh one: memory that is kept for later is not counted
                    bar.set_postfix_str(f"{server.name}, {count} sessions")
                    if chosen.network == "bad":
                        server = await _behind(server, stack)
                    found[server.name, count] = await measure(server, count, plan.of(count), talks=not listens_only)
                bar.update()
    rows(report, found)
    report.finish(chosen.json)
    return 0


def _servers(most: int, detectors: str, *, with_peer: bool) -> list[Callable[[], AbstractContextManager[Running]]]:
    limits = {"LIMITS__SESSIONS": str(most), "LOGGING__LEVEL": "warning", "PLAYOUT__PACKET_MS": str(_packet_ms())}
    options = () if detectors == "free" else ("--vad", "silero", "--smart-turn")
    servers: list[Callable[[], AbstractContextManager[Running]]] = [lambda: ours_zero_cost(*options, **limits)]
    python, tuning = install.python(install.folder()), "zero-cost" if detectors == "free" else "zero-cost-real"
    if with_peer and python.exists():
        servers.append(lambda: peer(python, "--tuning", tuning))
    return servers


def _packet_ms() -> int:
    """20 where our settings allow it, else the shortest that they do."""
    from voxtral_voice.config import PlayoutChoice

    return max(
        [20, *(int(each.ge) for each in PlayoutChoice.model_fields["packet_ms"].metadata if hasattr(each, "ge"))]
    )


async def _behind(server: Running, stack: AsyncExitStack) -> Running:
    port = int(server.url.split(":")[2].split("/")[0])
    front = await stack.enter_async_context(through(port, Weather()))
    return replace(server, url=server.url.replace(f":{port}/", f":{front}/"))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
