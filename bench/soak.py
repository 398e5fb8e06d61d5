"""Conversation without end: do memory, files and threads stay where they are?

    python -m bench.soak [--minutes 10] [--sessions 4] [--quick] [--json FILE]

Sessions of the server with engines that cost nothing talk a quarter of the time and get two seconds of reply each time;
every 15 s one of them hangs up and another calls. Growth is the slope of a straight line through the second half of the
samples.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import numpy as np
from tqdm import tqdm

from bench.line import call
from bench.load import Plan
from bench.report import Report, arguments
from bench.server_process import Running, Spent, ours_zero_cost

_CALL_S = 60.0
_SAMPLE_S = 2.0


async def caller(server: Running, number: int, of: int, calls: list[int], call_s: float) -> None:
    """Calls again and again."""
    sound, _ = Plan().microphone(number, of)
    first_s = call_s * (number + 1) / of
    while True:
        async with call(server.url, server.wire, noise=sound) as line:
            await asyncio.sleep(first_s)
            calls[0] += 1
            calls[1] += sum(note.kind == "turn_ended" for note in line.noted)
        first_s = call_s


def growth(samples: list[Spent], of: str) -> float:
    """Of the attribute `of` in a minute, over the second half."""
    half = samples[len(samples) // 2 :]
    times = np.array([each.at_s for each in half]) / 60
    values = np.array([float(getattr(each, of)) for each in half])
    return float(np.polyfit(times - times[0], values, 1)[0])


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--sessions", type=int, default=4)
    chosen = parser.parse_args()
    minutes, call_s, sample_s = (0.1, 3.0, 0.2) if chosen.quick else (chosen.minutes, _CALL_S, _SAMPLE_S)
    report = Report("soak", {"minutes": minutes, "sessions": chosen.sessions})
    samples: list[Spent] = []
    calls = [0, 0]
    with ours_zero_cost(LOGGING__LEVEL="warning") as server:
        callers = [
            asyncio.create_task(caller(server, number, chosen.sessions, calls, call_s))
            for number in range(chosen.sessions)
        ]
        for _ in tqdm(range(round(minutes * 60 / sample_s)), desc="soak", unit="sample"):
            await asyncio.sleep(sample_s)
            samples.append(server.spent())
            for task in callers:
                if task.done():
                    task.result()
        for task in callers:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.sleep(1.0)
        last = server.spent()
    n = len(samples)
    report.figure("calls ended", calls[0], n, "calls")
    report.figure("turns taken in them", calls[1], n, "turns")
    report.figure("memory in the middle", samples[n // 2].memory_bytes / 2**20, n, "MiB")
    report.figure("memory at the end", last.memory_bytes / 2**20, n, "MiB")
    report.figure("memory growth", growth(samples, "memory_bytes") / 2**20, n - n // 2, "MiB/min")
    report.figure("files open with all sessions", max(each.files for each in samples), n, "files")
    report.figure("files open after all have hung up", last.files, 1, "files")
    report.figure("threads at the end", last.threads, 1, "threads")
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
