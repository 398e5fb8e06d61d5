"""Which engines run on which machine, and what is said where they cannot."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from machines import (
    A4500,
    CUDA_TORCH_MISSING,
    GIB,
    H100,
    MINI,
    NO_GPU,
    OLD_DRIVER,
    RTX_3060,
    RTX_3070,
    RTX_3080,
    RTX_4060_TI,
    RTX_4090,
    SMALL_RAM,
    T4,
)
from voxtral_voice.models.checkpoint import SMALL_24B, Dimensions
from voxtral_voice.models.machine import Machine
from voxtral_voice.models.profile import TRANSCRIPT_TOKENS, UNKNOWN, Checkpoint, Plan, Refusal, Wanted, decide

WANTED = Wanted(checkpoint=MINI)


def plan(machine: Machine, wanted: Wanted = WANTED) -> Plan:
    found = decide(wanted, machine)
    assert isinstance(found, Plan), found
    return found


def refusal(machine: Machine, wanted: Wanted = WANTED) -> Refusal:
    found = decide(wanted, machine)
    assert isinstance(found, Refusal), found
    return found


# What runs where, with the settings as they come: 9.35 GB of weights in bf16, 6.14 with the decoder in 8 bits, 123 KB a
# token, 2.33 GB of allowances.
LADDER = [
    (H100, "bf16", 4, 4096, 13.9e9),
    (RTX_4090, "bf16", 4, 4096, 13.9e9),
    (A4500, "bf16", 4, 4096, 13.9e9),
    (RTX_4060_TI, "bf16", 4, 4096, 13.9e9),
    (replace(RTX_4060_TI, gpus=(replace(RTX_4060_TI.gpus[0], free_bytes=13 * 10**9),)), "bf16", 2, 2048, 12.4e9),
    (RTX_3060, "int8", 4, 4096, 10.7e9),
    (RTX_3080, "int8", 2, 2048, 9.2e9),
]


@pytest.mark.parametrize(("machine", "weights", "slots", "tokens", "need"), LADDER)
def test_a_card_gets_the_best_that_fits(machine: Machine, weights: str, slots: int, tokens: int, need: float) -> None:
    found = plan(machine)
    assert (found.profile, found.device) == ("gpu", "cuda")
    assert (found.understander, found.synthesizer) == ("voxtral", "kokoro")
    assert (found.weights, found.slots, found.context_tokens) == (weights, slots, tokens)
    assert found.need_bytes == pytest.approx(need, abs=0.06e9)
    assert found.need_bytes <= machine.gpus[0].free_bytes
    assert machine.gpus[0].name in found.why
    assert f"{slots} conversations of {tokens} tokens needs {need / 1e9:.1f} GB" in found.why


# Machines whose GPU will not do: the reason, and what would help.
UNFIT = {
    "no GPU": (NO_GPU, "no NVIDIA GPU was found", "engines.profile to cpu"),
    "8 GB": (RTX_3070, "int8 with 2 conversations of 2048 tokens needs 9.2 GB, and of 8.2 GB", "Use a GPU with 9.7 GB"),
    "T4": (T4, "the Tesla T4 has compute capability 7.5, and bf16 needs 8.0", "Ampere"),
    "torch for CPUs": (CUDA_TORCH_MISSING, "RTX 4090, but torch 2.13.0+cpu is a build for CPUs", "setup.sh"),
    "old driver": (OLD_DRIVER, "driver on your system is too old (found version 12080)", "CUDA version that torch"),
    "8 bits, and RAM for 8 bits alone": (
        replace(RTX_3060, ram_total_bytes=8 * GIB),
        "fits in 8 bits alone, into which it is rounded in 12.4 GB of RAM, and this machine has 8.6 GB",
        "more RAM",
    ),
    "a full card": (
        replace(RTX_4090, gpus=(replace(RTX_4090.gpus[0], free_bytes=3 * GIB),)),
        "of 25.3 GB on the NVIDIA GeForce RTX 4090 3.2 GB are free",
        "nvidia-smi",
    ),
    "2 GB of RAM": (
        replace(RTX_4090, ram_total_bytes=2 * GIB),
        "needs 3.0 GB of RAM, and this machine has 2.1 GB",
        "more RAM",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_gpu_that_will_not_do_is_a_reason_for_the_cpu_or_the_end(name: str) -> None:
    machine, why, remedy = UNFIT[name]
    on_cpu = plan(machine)
    assert (on_cpu.profile, on_cpu.understander, on_cpu.synthesizer) == ("cpu", "cascade", "auto")
    assert why in on_cpu.why
    assert (remedy in on_cpu.remedy) is (name != "no GPU")  # nobody without a GPU is told to mend it
    refused = refusal(machine, replace(WANTED, profile="gpu"))
    assert why in refused.why
    assert remedy in refused.remedy


def test_what_is_in_use_already_is_not_counted_twice() -> None:
    """torch says what is free beside this process's own context."""
    card = RTX_4090.gpus[0]
    before = plan(RTX_4090).need_bytes
    after = plan(replace(RTX_4090, gpus=(replace(card, context_open=True),))).need_bytes
    assert before - after == 500_000_000


def test_what_the_settings_fix_is_taken_as_it_is() -> None:
    found = plan(RTX_4090, replace(WANTED, weights="int8", slots=8, context_tokens=8192))
    assert (found.weights, found.slots, found.context_tokens) == ("int8", 8, 8192)
    assert found.need_bytes - plan(RTX_4090, replace(WANTED, weights="int8")).need_bytes == 122_880 * 3 * 16_384
    assert plan(RTX_4060_TI, replace(WANTED, slots=1)).slots == 1
    assert plan(RTX_4060_TI, replace(WANTED, context_tokens=1024)).context_tokens == 1024
    refused = refusal(RTX_3060, replace(WANTED, weights="bf16", profile="gpu"))
    assert "bf16 with 2 conversations of 2048 tokens needs 12.4 GB" in refused.why


def test_voxtral_small_needs_another_card() -> None:
    small = replace(WANTED, checkpoint=Checkpoint(SMALL_24B, 2 * SMALL_24B.parameters))
    assert plan(RTX_4090, small).profile == "cpu"
    assert plan(H100, small).weights == "bf16"
    a6000 = replace(H100, gpus=(replace(H100.gpus[0], total_bytes=48 * GIB, free_bytes=47 * GIB),))
    assert plan(a6000, small).weights == "int8"


def test_a_part_alone_may_use_the_gpu() -> None:
    kokoro = plan(T4, replace(WANTED, understander="cascade"))
    assert (kokoro.profile, kokoro.understander, kokoro.synthesizer) == ("gpu", "cascade", "kokoro")
    assert kokoro.need_bytes == pytest.approx(2.3e9, abs=0.1e9)
    voxtral = plan(RTX_4090, replace(WANTED, synthesizer="kokoro-onnx"))
    assert (voxtral.profile, voxtral.understander, voxtral.synthesizer) == ("gpu", "voxtral", "kokoro-onnx")
    neither = replace(WANTED, understander="cascade", synthesizer="kokoro-onnx")
    assert plan(RTX_4090, neither).profile == "cpu"
    assert "both run on a CPU" in refusal(RTX_4090, replace(neither, profile="gpu")).why


def test_voxtral_on_a_cpu_must_be_asked_for_and_needs_the_ram() -> None:
    wanted = replace(WANTED, understander="voxtral")
    found = plan(NO_GPU, wanted)
    assert (found.profile, found.device, found.understander, found.weights) == ("cpu", "cpu", "voxtral", "auto")
    assert found.need_bytes == pytest.approx(1.2 * 9.35e9 + 2.26e9 + 1.4e9, rel=0.01)
    assert plan(replace(NO_GPU, ram_free_bytes=13_500_000_000), wanted).slots == 2
    refused = refusal(replace(NO_GPU, ram_free_bytes=10 * GIB), wanted)
    assert "with Voxtral on a CPU needs 13.4 GB of free memory, and there are 10.7 GB" in refused.why
    assert "cascade" in refused.remedy


def test_a_tiny_checkpoint_fits_anywhere() -> None:
    tiny = Dimensions(64, 2, 4, 2, 16, 128, 8000, 32, 2, 64)
    wanted = replace(WANTED, understander="voxtral", checkpoint=Checkpoint(tiny, 4 * tiny.parameters))
    found = plan(replace(NO_GPU, ram_free_bytes=2 * GIB), wanted)
    assert (found.understander, found.slots, found.context_tokens) == ("voxtral", 4, 4096)
    assert plan(RTX_3070, replace(wanted, understander="auto")).profile == "gpu"


def test_nothing_runs_where_there_is_no_memory() -> None:
    refused = refusal(SMALL_RAM)
    assert "the program needs 1.9 GB of free memory, and there are 1.5 GB" in refused.why
    assert "no NVIDIA GPU was found" in refused.why
    assert "engines.reply to template (1.4 GB)" in refused.remedy
    assert plan(SMALL_RAM, replace(WANTED, reply="template")).need_bytes == 1_400_000_000
    assert isinstance(decide(WANTED, replace(SMALL_RAM, ram_free_bytes=GIB)), Refusal)


def test_the_engine_takes_the_room_that_is_counted() -> None:
    from voxtral_voice.engines.voxtral.engine import TRANSCRIPT_CONTEXT_TOKENS

    assert TRANSCRIPT_TOKENS == TRANSCRIPT_CONTEXT_TOKENS


def test_a_checkpoint_that_nobody_knows_is_fetched_before_it_is_weighed() -> None:
    assert decide(replace(WANTED, checkpoint=None), RTX_4090) is UNKNOWN
    assert decide(replace(WANTED, checkpoint=None, understander="voxtral"), NO_GPU) is UNKNOWN
    assert plan(NO_GPU, replace(WANTED, checkpoint=None)).understander == "cascade"
    assert plan(RTX_4090, replace(WANTED, checkpoint=None, profile="cpu")).why == "engines.profile is cpu"


def test_the_table_in_the_readme_is_what_is_decided() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = readme.split("## What runs where")[1].split("## ")[0]
    shown = re.findall(r"^\| ([0-9.]+) GB.*\| (\d+) of (\d+) \|$", table, re.M)
    rungs = [("bf16", 4, 4096), ("bf16", 2, 2048), ("int8", 4, 4096), ("int8", 2, 2048)]
    for (gb, slots, tokens), rung in zip(shown, rungs, strict=True):
        weights, *room = rung
        found = plan(H100, replace(WANTED, weights=weights, slots=room[0], context_tokens=room[1]))  # type: ignore[arg-type]
        assert (float(gb), [int(slots), int(tokens)]) == (round(found.need_bytes / 1e9, 1), room)
    on_cpu = plan(NO_GPU, replace(WANTED, understander="voxtral"))
    assert f"{on_cpu.need_bytes / 1e9:.1f} GB of RAM" in table
