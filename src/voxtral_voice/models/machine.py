"""What this machine is: facts, gathered with the standard library. torch is imported only where a GPU may be.

Also used before anything is installed (`verify_requirements.py`), so nothing here needs a package.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import runpy
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_FEATURES = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx2")
_SIGNS = ("dev/nvidiactl", "dev/nvidia0", "dev/dxg", "proc/driver/nvidia/version")
_ASK_S = 20.0  # the first answer of a driver that sleeps takes seconds
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None = None
    """CUDA's compute capability; None where an old driver does not say."""
    context_open: bool = False
    """This process has a CUDA context there, and `free_bytes` is what is left beside it."""


@dataclass(frozen=True, slots=True)
class Torch:
    version: str
    cuda: str
    """The CUDA version it was built for, empty for a CPU build."""


@dataclass(frozen=True, slots=True)
class Machine:
    system: str
    """"Linux", "Darwin", …"""
    architecture: str
    python: tuple[int, int, int]
    cpu: str
    cores: int
    """That this process may use: the affinity and a container's quota count."""
    cpu_features: frozenset[str]
    ram_total_bytes: int
    ram_free_bytes: int
    """What could be had without swapping; a container's limit counts."""
    disk: Path
    """The nearest existing folder above the models."""
    disk_free_bytes: int
    gpus: tuple[Gpu, ...] = ()
    """The first is the one that is used; CUDA_VISIBLE_DEVICES says which that is."""
    driver: str = ""
    torch: Torch | None = None
    """None: not installed."""
    gpu_problem: str = ""
    """Why a GPU that seems to be there cannot be used, as its driver or torch says it."""


def look(
    models_root: Path, *, gpus: bool = True, root: Path = Path("/"), environ: Mapping[str, str] = os.environ
) -> Machine:
    """Gather the facts. Blocks, for seconds where there is a GPU. `gpus`: False leaves the GPU alone.

    `root` is where proc, sys and dev lie, `environ` says where to look for nvidia-smi and which GPUs are visible.
    """
    total, free = memory(root)
    disk = next(path for path in (models_root, *models_root.absolute().parents) if path.is_dir())
    torch = installed_torch()
    seen, driver, problem = _gpus(torch, root, environ) if gpus else ((), "", "")
    model, features = processor(root)
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        python=(sys.version_info[0], sys.version_info[1], sys.version_info[2]),
        cpu=model,
        cores=cores(root),
        cpu_features=features,
        ram_total_bytes=total,
        ram_free_bytes=free,
        disk=disk,
        disk_free_bytes=shutil.disk_usage(disk).free,
        gpus=seen,
        driver=driver,
        torch=torch,
        gpu_problem=problem,
    )


def memory(root: Path = Path("/")) -> tuple[int, int]:
    """(bytes in all, bytes free) of what this process may use."""
    said = {}
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        said[name] = int(value.split()[0]) * 1024
    total = said.get("MemTotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = said.get("MemAvailable", total)
    for limit, used in _cgroup_memory(root):
        total, free = min(total, limit), min(free, max(0, limit - used))
    return total, free


def _cgroup_memory(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes in use that cannot be dropped) of each group that this process is in, of either version."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers == "":
            top, files = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in names:
            top = root / "sys/fs/cgroup/memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Within a container the path is often the host's, and the container's own group lies at the top.
        inner = top / path.strip("/")
        for group in (inner, *inner.parents):
            limit, used = _number(group / files[0]), _number(group / files[1])
            if limit is not None and used is not None and limit < 1 << 60:
                stat = dict(entry.split() for entry in _lines(group / "memory.stat") if len(entry.split()) == 2)
                yield limit, used - int(stat.get(files[2], 0))
            if group == top:
                break


def cores(root: Path = Path("/")) -> int:
    """CPU cores that this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for line in _lines(root / "sys/fs/cgroup/cpu.max"):
        quota, _, period = line.partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            count = min(count, -(-int(quota) // int(period)))
    quota_us, period_us = (_number(root / f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota_us and quota_us > 0 and period_us:
        count = min(count, -(-quota_us // period_us))
    return max(1, count)


def processor(root: Path = Path("/")) -> tuple[str, frozenset[str]]:
    """The CPU's name, and which of the instructions that matter to models it has."""
    said: dict[str, str] = {}
    for line in _lines(root / "proc/cpuinfo"):
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value.strip())
    flags = set(said.get("flags", "").split())
    name = said.get("model name") or platform.processor() or platform.machine()
    return name, frozenset(feature for feature in _FEATURES if feature in flags)


def installed_torch() -> Torch | None:
    """Read from its version file, because importing it takes seconds."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / "version.py").is_file():
            said = runpy.run_path(str(path))
            return Torch(str(said.get("__version__", "")), str(said.get("cuda") or ""))
    return None


def _gpus(torch: Torch | None, root: Path, environ: Mapping[str, str]) -> tuple[tuple[Gpu, ...], str, str]:
    """(GPUs, driver, problem), by torch where it can say, else by nvidia-smi."""
    smi = shutil.which("nvidia-smi", path=environ.get("PATH", ""))
    if not smi and not any((root / sign).exists() for sign in _SIGNS):
        return (), "", ""
    seen, driver, problem = _ask_nvidia_smi(smi) if smi else ((), "", "")
    if torch and torch.cuda:
        used, why = _ask_torch()
        if used:
            return used, driver, ""
        hidden = environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None and seen and not why:
            why = f"CUDA_VISIBLE_DEVICES={hidden} hides it"
        return (), driver, why or problem or (f"torch {torch.version} does not see it" if seen else "")
    return seen, driver, problem


def _ask_nvidia_smi(smi: str) -> tuple[tuple[Gpu, ...], str, str]:
    fields = ["name", "memory.total", "memory.free", "driver_version", "compute_cap"]
    while True:
        command = [smi, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return (), "", f"nvidia-smi does not answer: {error}"
        if done.returncode == 0 or fields[-1] != "compute_cap":
            break
        fields.pop()  # drivers before 510 do not know it
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        return (), "", f"nvidia-smi: {said[0] if said else f'exit code {done.returncode}'}"
    found, driver = [], ""
    for line in done.stdout.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) < 4 or not (values[1].isdigit() and values[2].isdigit()):
            continue
        driver = values[3]
        found.append(Gpu(values[0], int(values[1]) * _MIB, int(values[2]) * _MIB, _capability(values[4:])))
    return tuple(found), driver, ""


def _capability(values: list[str]) -> tuple[int, int] | None:
    major, _, minor = values[0].partition(".") if values else ("", "", "")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _ask_torch() -> tuple[tuple[Gpu, ...], str]:
    """(GPUs, why there are none)."""
    with warnings.catch_warnings(record=True) as said:  # a driver that is too old is told as a warning
        warnings.simplefilter("always")
        import torch

        try:
            if torch.cuda.is_available():
                free, total = torch.cuda.mem_get_info(0)  # of the first alone: asking opens a context of 0.5 GB
                major, minor = torch.cuda.get_device_capability(0)
                return (Gpu(torch.cuda.get_device_name(0), total, free, (major, minor), context_open=True),), ""
        except RuntimeError as error:
            return (), f"torch: {str(error).strip().splitlines()[0]}"
    about = [str(each.message).strip() for each in said if "CUDA" in str(each.message)]
    return (), f"torch: {about[0]}" if about else ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    lines = _lines(path)
    try:
        return int(lines[0]) if lines else None
    except ValueError:  # "max"
        return None
