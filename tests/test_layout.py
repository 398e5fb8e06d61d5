"""The shape of the code: who may import whom, and habits that a reader can rely on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import voxtral_voice

PACKAGE = Path(voxtral_voice.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 300

LEAVES = {
    "types",
    "config",
    "config_file",
    "config_section",
    "config_turns",
    "audio",
    "mel",
    "scripts",
    "voices",
    "onnx",
}
"""The vocabulary and what needs nothing but it."""
PURE = {"turns", "turn_rules", "chunker", "history", "playout", "recording"}
"""They are told the time and what happened; nothing in them waits."""
DOORS = {"cli", "talk", "server", "worker", "models"}
"""They use the conversation; it knows nothing of them."""


def name_of(path: Path) -> str:
    """src/voxtral_voice/engines/bridge.py -> engines.bridge"""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules it imports; ours without the package's name in front, and marked with a dot."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            module = node.module or ""
            for alias in node.names:
                inside = PACKAGE.joinpath(*module.split(".")[1:], alias.name)
                is_module = module.startswith("voxtral_voice") and (
                    inside.is_dir() or inside.with_suffix(".py").exists()
                )
                found.add(f"{module}.{alias.name}" if is_module else module)
    return frozenset(
        "." + each.removeprefix("voxtral_voice").removeprefix(".") if each.startswith("voxtral_voice") else each
        for each in found
    )


def ours(path: Path) -> set[str]:
    return {each[1:] for each in imports(path) if each.startswith(".")}


def within(path: Path, *parts: str) -> bool:
    return name_of(path).split(".")[0] in parts


def test_the_walk_sees_the_code() -> None:
    assert len(FILES) > 30
    assert "engines.bridge" in ours(PACKAGE / "engines" / "protocols.py")
    assert "audio" in ours(PACKAGE / "server" / "simple.py")


def test_engines_know_nothing_above_the_vocabulary() -> None:
    """But the package's version, which has no name here."""
    wrong = {
        name_of(path): sorted(above)
        for path in FILES
        if within(path, "engines")
        and (above := {each for each in ours(path) if each.split(".")[0] not in {*LEAVES, "engines", ""}})
    }
    assert wrong == {}


def test_the_vocabulary_knows_nothing_above_itself() -> None:
    wrong = {name: sorted(above) for name in LEAVES if (above := ours(PACKAGE / f"{name}.py") - LEAVES)}
    assert wrong == {}


def test_doors_import_no_engine() -> None:
    """An engine is chosen and built in models/ alone."""
    wrong = {
        name_of(path): sorted(engines)
        for path in FILES
        if within(path, "server", "worker") and (engines := {each for each in ours(path) if each.startswith("engines")})
    }
    assert wrong == {}


def test_the_conversation_knows_neither_its_doors_nor_its_models() -> None:
    wrong = {
        name_of(path): sorted(above)
        for path in FILES
        if not within(path, *DOORS) and (above := {each for each in ours(path) if each.split(".")[0] in DOORS})
    }
    assert wrong == {}


def test_what_is_pure_neither_waits_nor_looks_at_the_clock() -> None:
    forbidden = {"asyncio", "threading", "time", "logging", "queue", "concurrent.futures"}
    wrong = {name: sorted(bad) for name in PURE if (bad := imports(PACKAGE / f"{name}.py") & forbidden)}
    assert wrong == {}


def test_threads_meet_asyncio_in_one_file_of_the_engines() -> None:
    meeting = {name_of(path) for path in FILES if within(path, "engines") and "asyncio" in imports(path)}
    assert meeting == {"engines.bridge"}


def test_nothing_imports_itself_in_a_circle() -> None:
    graph = {name_of(path): ours(path) for path in FILES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done:
            return
        for each in graph.get(name, ()):
            visit(each, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    if text.strip():
        assert ast.get_docstring(tree(path)), "its docstring is missing"


def calls(path: Path, name: str) -> Iterator[int]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node.lineno


def test_only_the_command_line_prints() -> None:
    printing = {name_of(path): lines for path in FILES if (lines := list(calls(path, "print")))}
    assert set(printing) <= {"cli"}


def test_no_note_to_self_is_left_behind() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK|FIXED|for now|ultra|blazing|revolutionary)\b", re.IGNORECASE)
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in words.finditer(line)
        if match.group() != "fixed"  # a fixed silence, a fixed prefix
    ]
    assert found == []


def test_a_broad_except_logs_raises_or_hands_the_error_on() -> None:
    silent = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            if caught not in ("everything", "Exception", "BaseException"):
                continue
            body = ast.unparse(ast.Module(node.body, []))
            used = node.name is not None and re.search(rf"\b{node.name}\b", body)
            if not (used or re.search(r"\blog\.\w+\(|\braise\b", body)):
                silent.append(f"{name_of(path)}:{node.lineno}")
    assert silent == []
