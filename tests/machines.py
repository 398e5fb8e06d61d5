"""Machines that were never there: what a plan would be on each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from voxtral_voice.models.checkpoint import MINI_3B
from voxtral_voice.models.machine import Gpu, Machine, Torch
from voxtral_voice.models.profile import Checkpoint

GIB = 1 << 30
MINI = Checkpoint(MINI_3B, 2 * MINI_3B.parameters)
CUDA = Torch("2.13.0", "13.0")
CPU_BUILD = Torch("2.13.0+cpu", "")

NO_GPU = Machine(
    system="Linux",
    architecture="x86_64",
    python=(3, 11, 7),
    cpu="AMD EPYC",
    cores=8,
    cpu_features=frozenset({"avx2"}),
    ram_total_bytes=64 * GIB,
    ram_free_bytes=60 * GIB,
    disk=Path("/"),
    disk_free_bytes=100 * GIB,
    torch=CPU_BUILD,
)


def with_gpu(name: str, gib: float, capability: tuple[int, int], *, taken_gib: float = 0.4) -> Machine:
    """A machine with one card and torch for CUDA."""
    card = Gpu(name, int(gib * GIB), int((gib - taken_gib) * GIB), capability)
    return replace(NO_GPU, gpus=(card,), driver="580.65.06", torch=CUDA)


RTX_4090 = with_gpu("NVIDIA GeForce RTX 4090", 23.6, (8, 9))
A4500 = with_gpu("NVIDIA RTX A4500", 19.7, (8, 6))
RTX_4060_TI = with_gpu("NVIDIA GeForce RTX 4060 Ti", 15.6, (8, 9))
T4 = with_gpu("Tesla T4", 14.6, (7, 5))
RTX_3060 = with_gpu("NVIDIA GeForce RTX 3060", 11.6, (8, 6))
RTX_3080 = with_gpu("NVIDIA GeForce RTX 3080", 9.6, (8, 6))
RTX_3070 = with_gpu("NVIDIA GeForce RTX 3070", 7.6, (8, 6))
H100 = with_gpu("NVIDIA H100 80GB HBM3", 79.2, (9, 0))
SMALL_RAM = replace(NO_GPU, ram_total_bytes=2 * GIB, ram_free_bytes=int(1.4 * GIB))
CUDA_TORCH_MISSING = replace(RTX_4090, torch=CPU_BUILD)
OLD_DRIVER = replace(
    NO_GPU, torch=CUDA, gpu_problem="torch: The NVIDIA driver on your system is too old (found version 12080)"
)
