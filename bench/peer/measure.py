"""What is measured of both servers, one after the other, by the same client."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from bench.clips import Clip
from bench.line import call
from bench.one_turn import Interruption, Outcome, say, talk_over
from bench.server_process import Running

LONG_TEXT = (
    "The bridge was opened on a bright morning in May, and within the first day more than a hundred thousand people "
    "had walked across it. It took fourteen years to build, and for twenty years it was the longest of its kind. The "
    "towers are made of limestone, granite and cement, and the cables hold more weight than anybody had asked for."
)
TALK_OVER_S = 2.5  # of a clip: it has been decided by then
_LISTENING = 4
_LISTENING_S = 10.0


@dataclass
class Found:
    """One server's figures."""

    outcomes: list[Outcome] = field(default_factory=list)
    interruptions: list[Interruption] = field(default_factory=list)
    together: dict[int, list[Outcome]] = field(default_factory=dict)
    listening_cpu: float | None = None
    """Share of a core of one silent session."""
    listening_bytes: float | None = None

    def sent(self) -> list[float]:
        return sent_ms(self.outcomes)


def sent_ms(outcomes: Sequence[Outcome]) -> list[float]:
    return [each.sent_ms for each in outcomes if each.sent_ms is not None and each.clip.ends_turn]


def choose(clips: Sequence[Clip], turns: int) -> list[Clip]:
    """Every clip once, then the shortest again and again, so that `turns` of them have an end to be answered.

    Fewer than the clips: those with the shortest.
    """
    by_length = sorted((clip for clip in clips if clip.ends_turn), key=lambda clip: len(clip.pcm))
    if turns < len(by_length):
        return by_length[:turns]
    rest = turns - len(by_length)
    again = by_length[: max(1, len(by_length) * 2 // 3)]
    return [*clips, *[again[number % len(again)] for number in range(rest)]]


def blocks(clips: Sequence[Clip], size: int = 5) -> list[Sequence[Clip]]:
    return [clips[at : at + size] for at in range(0, len(clips), size)]


async def one_turn(server: Running, clip: Clip) -> Outcome:
    async with call(server.url, server.wire, noise=clip.noise) as line:
        await asyncio.sleep(0.3)  # of the room's noise, which both detectors know by then
        outcome = await say(line, clip)
    await asyncio.to_thread(server.settle)
    return outcome


async def turns(servers: Sequence[Running], found: dict[str, Found], clips: Sequence[Clip]) -> None:
    """Interleaved blocks: five clips to one, the same five to the other, who begins changes."""
    with tqdm(total=len(clips) * len(servers), desc="turns", unit="turn") as bar:
        for number, block in enumerate(blocks(clips)):
            for server in servers if number % 2 == 0 else servers[::-1]:
                for clip in block:
                    outcome = await one_turn(server, clip)
                    found[server.name].outcomes.append(outcome)
                    said = "no answer" if outcome.sent_ms is None else f"{outcome.sent_ms:.0f} ms"
                    bar.set_postfix_str(f"{server.name} {clip.name} {said}")
                    bar.update()


def over(clip: Clip) -> tuple[Clip, float]:
    """The clip's beginning, to be spoken over a reply, and where its speech starts in ms."""
    start = max(0.0, clip.speech_start_ms - 200)
    part = clip.pcm[round(start * 16) : round((start + TALK_OVER_S * 1000) * 16)]
    return Clip(clip.name, part, clip.text, clip.speech_end_ms - start), clip.speech_start_ms - start


async def barge_ins(servers: Sequence[Running], found: dict[str, Found], clips: Sequence[Clip]) -> None:
    """Each clip is spoken over a long reply."""
    with tqdm(total=len(clips) * len(servers), desc="barge-ins", unit="turn") as bar:
        for clip in clips:
            short, starts_ms = over(clip)
            for server in servers:
                async with call(server.url, server.wire, noise=clip.noise) as line:
                    found[server.name].interruptions.append(await talk_over(line, short, starts_ms, LONG_TEXT))
                await asyncio.to_thread(server.settle)
                bar.update()


async def together(servers: Sequence[Running], found: dict[str, Found], clips: Sequence[Clip], rounds: int) -> None:
    """Two and four people speak at once."""
    with tqdm(total=2 * rounds * len(servers), desc="together", unit="round") as bar:
        for people in (2, 4):
            for number in range(rounds):
                chosen = [clips[(number * people + each) % len(clips)] for each in range(people)]
                for server in servers:
                    outcomes = await asyncio.gather(*(one_turn(server, clip) for clip in chosen))
                    found[server.name].together.setdefault(people, []).extend(outcomes)
                    bar.update()


async def listening(servers: Sequence[Running], found: dict[str, Found], seconds: float = _LISTENING_S) -> None:
    """What a session costs in which nobody speaks: the slope from none to four."""
    for server in tqdm(servers, desc="listening", unit="server"):
        async with asyncio.timeout(120):
            before = server.spent()
            await asyncio.sleep(seconds)
            idle = server.spent()
            calls = [call(server.url, server.wire) for _ in range(_LISTENING)]
            for each in calls:
                await each.__aenter__()
            await asyncio.sleep(2.0)
            began = server.spent()
            await asyncio.sleep(seconds)
            ended = server.spent()
            for each in calls:
                await each.__aexit__(None, None, None)
        nothing = (idle.cpu_s - before.cpu_s) / (idle.at_s - before.at_s)
        busy = (ended.cpu_s - began.cpu_s) / (ended.at_s - began.at_s)
        found[server.name].listening_cpu = max(0.0, busy - nothing) / _LISTENING
        found[server.name].listening_bytes = max(0.0, ended.memory_bytes - idle.memory_bytes) / _LISTENING


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
