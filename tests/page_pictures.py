"""The README's two pictures, of the program with its real models. `python tests/page_pictures.py FOLDER`

The figures in them are those of the moment: take them on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from browser import visiting
from loaded_server import loaded
from page_states import faded
from voxtral_voice import config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.types import HEAR_HZ, Pcm
from whole_program import Program

QUESTIONS = ("What is the capital of France?", "What can you tell me about the moon?")


async def picture(url: str, questions: list[Pcm], path: Path, *, phone: bool) -> None:
    """The second answer while it is spoken; on a wide screen with the first one's time unfolded."""
    width, height = (390, 844) if phone else (1280, 800)
    async with visiting(url, width=width, height=height, dark=phone) as visit:
        await visit.page.click("#start")
        await visit.phase("listening")
        await visit.say(questions[0], HEAR_HZ)
        await visit.heard(1)
        if not phone:
            await visit.page.locator("summary").click()
        await visit.say(questions[1], HEAR_HZ)
        await visit.has("details.time", 2)
        await visit.until("document.querySelectorAll('.line.assistant .words')[1].textContent.length > 30")
        await faded(visit)
        await visit.page.screenshot(path=path)


async def main(folder: Path) -> None:
    settings = config.load(environ={})
    manager = ModelManager(settings)
    await manager.load()
    program = Program(manager.engines, settings)
    questions = [await program.say(text, "am_michael") for text in QUESTIONS]
    spoken = [pcm[: -2 * HEAR_HZ] for pcm in questions]  # without the silence behind
    async with loaded(program) as url:
        await picture(url, spoken, folder / "page-desktop.png", phone=False)
        await picture(url, spoken, folder / "page-phone.png", phone=True)
    manager.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
