"""The facts about a machine: its own, and those of machines laid out in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import voxtral_voice
from voxtral_voice.models import machine
from voxtral_voice.models.machine import Gpu, Torch

MIB = 1 << 20
GIB = 1 << 30
SOURCE = Path(voxtral_voice.__file__).parents[1]


def put(root: Path, **files: str) -> Path:
    """`proc__meminfo` is proc/meminfo below `root`."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = f"MemTotal: {64 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {60 * GIB // 1024} kB\n"


def test_this_machine() -> None:
    found = machine.look(Path("/nowhere/at/all"))
    assert found.python == sys.version_info[:3]
    assert found.cpu
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert 0 < found.ram_free_bytes <= found.ram_total_bytes
    assert found.disk == Path("/")
    assert found.disk_free_bytes > 0
    assert found.torch is not None


def test_memory_is_what_the_kernel_calls_available(tmp_path: Path) -> None:
    assert machine.memory(put(tmp_path, proc__meminfo=MEMINFO)) == (64 * GIB, 60 * GIB)


def test_the_limit_of_a_container_counts_and_its_page_cache_does_not(tmp_path: Path) -> None:
    put(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/pod\n")
    group = tmp_path / "sys/fs/cgroup/pod"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{8 * GIB}\n")
    (group / "memory.current").write_text(f"{3 * GIB}\n")
    (group / "memory.stat").write_text(f"anon {GIB}\ninactive_file {2 * GIB}\n")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert machine.memory(tmp_path) == (8 * GIB, 7 * GIB)


def test_within_a_container_of_the_first_version_the_group_lies_at_the_top(tmp_path: Path) -> None:
    put(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n")
    group = tmp_path / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{4 * GIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{GIB}\n")
    assert machine.memory(tmp_path) == (4 * GIB, 3 * GIB)
    (group / "memory.limit_in_bytes").write_text("9223372036854771712\n")  # how that version says "none"
    assert machine.memory(tmp_path) == (64 * GIB, 60 * GIB)


def test_cores_are_those_of_the_quota(tmp_path: Path) -> None:
    allowed = machine.cores(tmp_path)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert machine.cores(tmp_path) == allowed


def test_the_processor_says_what_it_can(tmp_path: Path) -> None:
    text = "processor\t: 0\nmodel name\t: Intel Xeon\nflags\t\t: fpu avx2 amx_bf16 avx512_bf16\n\nprocessor\t: 1\n"
    name, features = machine.processor(put(tmp_path, proc__cpuinfo=text))
    assert name == "Intel Xeon"
    assert features == {"avx2", "amx_bf16", "avx512_bf16"}


# A GPU, as nvidia-smi tells of it.


def ask(tmp_path: Path, smi: str, torch: Torch | None = None, **environ: str) -> tuple[tuple[Gpu, ...], str, str]:
    """What is found where nvidia-smi is this script."""
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{smi}\n")
    script.chmod(0o755)
    return machine._gpus(torch, tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin", **environ})


def test_without_a_sign_of_a_gpu_torch_is_not_even_imported(tmp_path: Path) -> None:
    program = f"""if True:
        import sys
        from pathlib import Path
        from voxtral_voice.models import machine
        print(machine._gpus(machine.Torch("2.13.0", "13.0"), Path({str(tmp_path)!r}), {{"PATH": ""}}))
        print("torch" in sys.modules, machine.installed_torch() is not None)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines() == ["((), '', '')", "False True"]


def test_a_card_is_read_from_nvidia_smi(tmp_path: Path) -> None:
    seen, driver, problem = ask(tmp_path, "echo 'NVIDIA GeForce RTX 4090, 24564, 24100, 580.65.06, 8.9'")
    assert seen == (Gpu("NVIDIA GeForce RTX 4090", 24564 * MIB, 24100 * MIB, (8, 9)),)
    assert (driver, problem) == ("580.65.06", "")


def test_an_old_nvidia_smi_does_not_know_the_capability(tmp_path: Path) -> None:
    script = """case "$1" in *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2 ;; esac
        echo 'Tesla V100, 16160, 16000, 450.80.02'"""
    seen, driver, _ = ask(tmp_path, script)
    assert seen == (Gpu("Tesla V100", 16160 * MIB, 16000 * MIB, None),)
    assert driver == "450.80.02"


def test_a_driver_that_does_not_answer_is_told_in_its_own_words(tmp_path: Path) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    seen, _, problem = ask(tmp_path, f'echo "{said}"; exit 9')
    assert seen == ()
    assert problem == f"nvidia-smi: {said}"


@pytest.mark.skipif(machine.installed_torch() != Torch("2.13.0+cpu", ""), reason="torch here is not the CPU build")
def test_a_build_of_torch_that_sees_no_card_leaves_the_reason(tmp_path: Path) -> None:
    """What torch itself answers here; that it was built for CUDA is the invention."""
    card = "echo 'NVIDIA L4, 23034, 22500, 550.54.15, 8.9'"
    assert ask(tmp_path, card, Torch("2.13.0", "13.0")) == ((), "550.54.15", "torch 2.13.0 does not see it")
    hidden = ask(tmp_path, card, Torch("2.13.0", "13.0"), CUDA_VISIBLE_DEVICES="")
    assert hidden[2] == "CUDA_VISIBLE_DEVICES= hides it"


def test_facts_and_plan_need_nothing_but_python() -> None:
    program = f"""if True:
        import sys
        sys.path.insert(0, {str(SOURCE)!r})
        from pathlib import Path
        from voxtral_voice.models import catalog, machine, places, profile
        print(profile.decide(profile.Wanted(profile="cpu"), machine.look(Path("/"))).profile)
        print(sorted(name for name in sys.modules if name.split(".")[0] in ("numpy", "pydantic", "yaml", "torch")))
    """
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["cpu", "[]"], done.stderr
