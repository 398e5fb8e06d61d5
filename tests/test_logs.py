"""The log: lines that machines read, files that do not grow, and nothing that was said."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conversation import converse, one_turn
from scripted import Script
from voxtral_voice import config, logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Logging is the process's: put it back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def configure(**choices: object) -> None:
    logs.configure(
        config.load(overrides={f"logging.{key}": value for key, value in choices.items()}, environ={}).logging
    )


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_entry_is_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "voice.log"  # the folder is made
    configure(format="json", file=path)
    log = logging.getLogger("voxtral_voice.test")
    log.info("turn %d ended\nafter %s", 3, "a while", extra={"session": "sess_1", "turn": 3})
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("it failed: नमस्ते")
    first, second = entries(path)
    assert first["message"] == "turn 3 ended\nafter a while"
    assert (first["level"], first["logger"], first["session"], first["turn"]) == (
        "info",
        "voxtral_voice.test",
        "sess_1",
        3,
    )
    assert first["time"].endswith("Z")
    assert "exception" not in first
    assert second["message"] == "it failed: नमस्ते"
    assert "ValueError: no" in second["exception"]


def test_plain_lines_are_for_people(tmp_path: Path) -> None:
    path = tmp_path / "voice.log"
    configure(file=path)
    logging.getLogger("voxtral_voice.test").warning("careful", extra={"turn": 2})
    line = path.read_text()
    assert "WARNING voxtral_voice.test: careful [turn 2]" in line


def test_the_level_is_kept_and_libraries_are_quiet(tmp_path: Path) -> None:
    path = tmp_path / "voice.log"
    configure(file=path, format="json", level="warning")
    logging.getLogger("voxtral_voice.test").info("nobody wants to know")
    logging.getLogger("voxtral_voice.test").warning("everybody does")
    configure(file=path, format="json", level="debug")
    logging.getLogger("voxtral_voice.test").debug("the details")
    logging.getLogger("httpx").info("a request")
    logging.getLogger("uvicorn.error").info('"WebSocket /v1/realtime?key=secret" [accepted]')
    assert [entry["message"] for entry in entries(path)] == ["everybody does", "the details"]


def test_warnings_of_python_go_to_the_log(tmp_path: Path) -> None:
    path = tmp_path / "voice.log"
    configure(file=path, format="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "UserWarning: old" in entries(path)[0]["message"]


def test_the_file_is_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "voice.log"
    configure(file=path, file_bytes=2000, file_count=2, format="json")
    for index in range(100):
        logging.getLogger("voxtral_voice.test").info("entry %d", index)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["voice.log", "voice.log.1", "voice.log.2"]
    assert all(file.stat().st_size <= 2000 for file in files)
    assert entries(path)[-1]["message"] == "entry 99"


def test_every_line_of_a_conversation_says_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "voice.log"
    configure(file=path, format="json")

    def talks(script: Script) -> None:
        def answer(said: str) -> str:
            logging.getLogger("voxtral_voice.engine").info("answering")  # in a thread that all sessions share
            return "Yes."

        script.understander.answer = answer

    conversations = [converse(one_turn, prepare=talks) for _ in range(2)]
    logging.getLogger("voxtral_voice.test").info("nobody in particular")
    whose = [(entry["message"].split()[0], entry.get("session")) for entry in entries(path)]
    ids = [each.session.id for each in conversations]
    assert len(set(ids)) == 2
    assert whose == [*((word, id_) for id_ in ids for word in ("answering", "reply")), ("nobody", None)]


@pytest.mark.parametrize("content", [False, True])
def test_what_was_said_is_written_down_only_where_that_was_asked_for(tmp_path: Path, content: bool) -> None:
    path = tmp_path / "voice.log"
    configure(file=path, level="debug", content=content)
    converse(one_turn, overrides={"logging.content": content})
    text = path.read_text(encoding="utf-8")
    assert "completed" in text  # the turn itself is in the log
    assert ("word42" in text) == content
    assert ("That is all I know" in text) == content
