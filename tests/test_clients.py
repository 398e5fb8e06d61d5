"""Programs that were written for OpenAI's servers hold a spoken conversation with ours, and interrupt it.

Each is a file of examples/. Those of other languages and frameworks run in environments of their own: made on the
spot, or kept in the folder that CLIENT_ENVIRONMENTS names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from pathlib import Path

import pytest

from client_environments import PACKAGES, Environments, environments
from model_fixtures import Recording, speech
from realtime_client import connected
from realtime_server import serving
from scripted_process import scripted_process
from talker import Talker, audible_s, talking
from voxtral_voice import audio
from voxtral_voice.types import SPEAK_HZ
from whole_program import Program
from wiretap import Line, tapped
from worlds import Said, World, real_world, scripted_world, words_wrong

__all__ = ["environments", "speech"]

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
DOCUMENT = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
EXPECTED = re.compile(r"(listening|you: .*|it: .*|\(interrupted\)|.*INFO.*Pipecat [\d.]+ .*)$")


def command(client: str, environments: Environments) -> list[str | Path]:
    """What starts the example."""
    match client:
        case "openai":
            return [sys.executable, ROOT / "examples/openai_talk.py"]
        case "agents":
            return ["node", environments.node(ROOT / "examples/agents_talk.mjs")]
    return [environments.python(client), ROOT / f"examples/{client}_talk.py"]


def by_hand(*clients: str) -> list[object]:
    """Clients whose environment is made first."""
    return [pytest.param(each, marks=pytest.mark.slow) for each in clients]


@pytest.mark.parametrize("client", ["openai", *by_hand("agents", "pipecat", "livekit")])
async def test_three_turns_the_second_of_them_interrupted(client: str, environments: Environments) -> None:
    await converse(client, environments, scripted_world())


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.parametrize("client", ["openai", "agents", "pipecat", "livekit"])
async def test_the_same_with_real_models(
    client: str, environments: Environments, program: Program, speech: Recording
) -> None:
    await converse(client, environments, real_world(program, speech))


async def converse(client: str, environments: Environments, place: AbstractAsyncContextManager[World]) -> None:
    """Start the client there, have the conversation, hang up."""
    started = command(client, environments)
    async with place as world, tapped(world.url) as line:
        async with talking(*started, URL=f"http://127.0.0.1:{line.port}") as talker:
            if client == "pipecat":  # begins itself
                await talker.until(lambda: line.statuses() == ["completed"] and talker.said("it"), "a greeting")
                await talker.quiet()
            figures = await three_turns(talker, line, world)
            assert await talker.hang_up() == 0
        line.check()
    assert unknown(client, line, environments) == ""
    assert [each for each in talker.lines if not EXPECTED.match(each)] == [], "the client complains"
    sys.stdout.write(f"{client}: {figures}\n")


def unknown(client: str, line: Line, environments: Environments) -> str:
    """Events that the client's own parser does not know; the clients left out here parse nothing."""
    parser: list[str | Path]
    match client:
        case "agents":
            parser = ["node", environments.node(TESTS / "known_to_agents.mjs")]
        case "pipecat":
            parser = [environments.python("pipecat"), TESTS / "known_to_pipecat.py"]
        case _:
            return ""
    events = "\n".join(json.dumps(message) for _, message in line.received)
    assert events
    found: str = subprocess.run(parser, input=events, stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout
    return found


async def three_turns(talker: Talker, line: Line, world: World) -> dict[str, int]:
    """Have the conversation and check it. Returns the figures, in milliseconds."""
    short, long, last = world.questions

    before = len(line.statuses())
    _, asked_at = await talker.say(short.pcm)
    await talker.until(lambda: line.statuses()[before:][-1:] == ["completed"], "an answer")
    await check_turn(talker, line, world, short)
    first_audio = talker.first_audible_at(asked_at) - asked_at

    began_at, _ = await talker.say(long.pcm)
    # Later than a turn that goes on: what is said then is an interruption.
    await talker.until(lambda: audible_s(talker.heard(since=began_at)) > 2.0, "the long answer under way")
    over_at, _ = await talker.say(last.pcm)
    await talker.until(lambda: line.statuses()[-2:] == ["cancelled", "completed"], "the last answer")
    await check_turn(talker, line, world, last)
    silent = talker.last_audible_at(until=line.all("response.created")[-1][0]) - over_at
    return {"first audio": round(first_audio * 1000), "silent after interruption": round(silent * 1000)}


async def check_turn(talker: Talker, line: Line, world: World, asked: Said) -> None:
    """The question was understood, its words are in the answer, and the answer is what is heard."""
    (*_, (_, done)) = line.all("response.done")
    answer = done["response"]["output"][0]["content"][0]["transcript"].strip()
    await talker.until(lambda: answer in talker.said("it"), f"it: {answer}")
    await talker.quiet()
    understood = talker.said("you")[-1]
    assert words_wrong(asked.text, understood) <= 0.3, understood
    assert understood in answer
    assert await world.misread(talker.last_heard(line.last_sound_s()), answer) <= 0.2, answer


@pytest.mark.parametrize("language", ["python", "js"])
def test_what_the_document_shows_of_a_program_stands_in_it(language: str) -> None:
    suffix = {"python": "py", "js": "mjs"}[language]
    programs = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob(f"*.{suffix}")]
    shown = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.M | re.S)
    assert len(shown) >= 2
    for part in shown:
        assert any(part in program for program in programs), part


def test_the_document_is_about_the_versions_that_are_tested() -> None:
    wanted = {name: version for packages in PACKAGES.values() for name, version in map(pinned, packages)}
    wanted.pop("zod")
    for name, version in {**wanted, "openai": metadata.version("openai")}.items():
        assert re.search(rf"`{re.escape(name)}`[^|]* {re.escape(version)}\b", DOCUMENT), (name, version)


def pinned(package: str) -> tuple[str, str]:
    """The name without extras, and the version."""
    name, version = re.split("==|(?<=.)@", package)
    return name.partition("[")[0], version


def test_the_commands_for_a_terminal(tmp_path: Path) -> None:
    shown = re.findall(r"^```bash\n(.*?)^```", DOCUMENT, re.M | re.S)
    assert len(shown) == 2
    with scripted_process(tmp_path) as server:
        environment = {"URL": f"http://127.0.0.1:{server.port}", "VOXTRAL_API_KEY": "none"}
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        said = [
            subprocess.run(
                ["bash", "-euc", command],
                cwd=tmp_path,
                env={**os.environ, **path, **environment},
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            ).stdout
            for command in shown
        ]
    assert len(audio.read(tmp_path / "question.wav", SPEAK_HZ)) > 0.5 * SPEAK_HZ
    assert "You said Good morning." in said[1]
    assert "Connection closed: 1000" in said[1]


async def test_a_cancellation_that_comes_too_late_is_answered_in_words_that_livekit_overlooks() -> None:
    """It cancels at every interruption, when the response is over already, and knows the answer by its first words."""
    async with serving() as server, connected(server.url, microphone=False) as client:
        await client.connection.response.cancel()
        error = (await client.event("error", 60))["error"]
        assert error["code"] == "response_cancel_not_active"
        assert error["message"].startswith("Cancellation failed")
