"""Which engines run on this machine, decided before anything is loaded, with the reason in words.

Pure: what is wanted and what the machine is go in, a plan or a refusal comes out. Only the standard library is needed,
so that it can be asked before anything is installed. What is called an allowance is a round figure, not a measurement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from voxtral_voice.models.checkpoint import Dimensions
from voxtral_voice.models.machine import Gpu, Machine

CONTEXT_BYTES = 500_000_000
"""Allowance for a CUDA context with its loaded kernels."""
WORKSPACE_BYTES = 1_500_000_000
"""Allowance for activations, captured graphs and what the allocator cannot hand out."""
KOKORO_BYTES = 330_000_000
"""Kokoro's 81.8 million parameters in 32 bits."""
HOST_BYTES = 3_000_000_000
"""Allowance for the process's own memory beside a GPU; in 8 bits the checkpoint passes through it as well."""
CPU_BYTES = {"smollm2": 1_900_000_000, "template": 1_400_000_000}
"""Of the program on a CPU, by who replies. Resident once ready, child processes included: 1.6 GB with SmolLM2, 1.1 GB
with templates; 0.3 GB more where Kokoro runs on torch."""
TRANSCRIPT_TOKENS = 2048
"""The engine keeps room for as many once, beside the conversations, for what it writes down."""
FILES_SHARE = 1.2
"""Of its files' size, a checkpoint's need on a CPU: the weights, and a fifth for activations and loading."""

_BF16 = (8, 0)
_KOKORO = (7, 5)
_ROOM = ((4, 4096), (2, 2048))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The Voxtral that the settings name, as far as it is known before it is loaded."""

    dimensions: Dimensions
    files_bytes: int
    """Of its weights."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings ask for."""

    profile: Literal["auto", "gpu", "cpu"] = "auto"
    understander: Literal["auto", "voxtral", "cascade"] = "auto"
    synthesizer: Literal["auto", "kokoro", "kokoro-onnx"] = "auto"
    weights: Literal["auto", "bf16", "int8"] = "auto"
    slots: int = 0
    context_tokens: int = 0
    reply: Literal["smollm2", "template"] = "smollm2"
    checkpoint: Checkpoint | None = None
    """None: nobody knows before it is fetched."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, and why."""

    profile: Literal["gpu", "cpu"]
    device: str
    """As torch names it."""
    understander: Literal["voxtral", "cascade"]
    synthesizer: Literal["kokoro", "kokoro-onnx", "auto"]
    """auto: the faster of the two, which is measured once they are there."""
    need_bytes: int
    """On the device."""
    why: str
    weights: Literal["auto", "bf16", "int8"] = "auto"
    """Of Voxtral; auto: on a CPU, as the checkpoint has them."""
    slots: int = 0
    context_tokens: int = 0
    remedy: str = ""
    """What would make use of a GPU that is there and is not used."""

    def models(self, reply: str) -> tuple[str, ...]:
        """The models that this takes, as the store names them. `reply`: the setting engines.reply."""
        cascade = ("whisper_english", "whisper_multilingual", *(("smollm2",) if reply == "smollm2" else ()))
        hears = ("voxtral",) if self.understander == "voxtral" else cascade
        # Both builds of Kokoro can be made from the one that the packages carry.
        voice = "kokoro" if self.synthesizer == "kokoro" else "kokoro_onnx"
        return ("silero", "smart_turn", *hears, voice, "kokoro_voices")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing can run, and what to do about it."""

    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.why}. {self.remedy}"


UNKNOWN = Refusal(
    "how much memory models.voxtral needs is not known before it is fetched",
    "Fetch it: `voxtral-voice models fetch voxtral`.",
)


@dataclass(frozen=True, slots=True)
class _Rung:
    weights: Literal["bf16", "int8"]
    slots: int
    context_tokens: int

    def __str__(self) -> str:
        return f"{self.weights} with {self.slots} conversations of {self.context_tokens} tokens"


def decide(wanted: Wanted, machine: Machine) -> Plan | Refusal:
    """The plan for this machine. With profile auto a GPU that will not do is a reason for the CPU, with gpu it ends."""
    if wanted.profile == "cpu":
        return _on_cpu(wanted, machine, "engines.profile is cpu")
    found = _on_gpu(wanted, machine)
    if isinstance(found, Plan) or wanted.profile == "gpu" or found is UNKNOWN:
        return found
    on_cpu = _on_cpu(wanted, machine, found.why)
    if isinstance(on_cpu, Refusal):
        return on_cpu if on_cpu is UNKNOWN else replace(on_cpu, why=f"{found.why}; {on_cpu.why}")
    return replace(on_cpu, remedy=found.remedy if machine.gpus or machine.gpu_problem else "")


def gpu_bytes(dimensions: Dimensions, weights: Literal["bf16", "int8"], slots: int, context_tokens: int) -> int:
    """Of Voxtral on a GPU, without the allowances. In int8 the decoder alone has 8 bits, the rest keeps 16."""
    decoder = dimensions.decoder * (1 if weights == "int8" else 2)
    rest = 2 * (dimensions.encoder + dimensions.adapter + 2 * dimensions.embedding)
    return decoder + rest + _kv_bytes(dimensions, slots, context_tokens, 2)


def _kv_bytes(dimensions: Dimensions, slots: int, context_tokens: int, number_bytes: int) -> int:
    tokens = slots * context_tokens + min(TRANSCRIPT_TOKENS, context_tokens)
    return dimensions.kv_values * number_bytes * tokens


def _on_gpu(wanted: Wanted, machine: Machine) -> Plan | Refusal:
    hears, speaks = wanted.understander != "cascade", wanted.synthesizer != "kokoro-onnx"
    if not hears and not speaks:
        return Refusal(
            "engines.understander cascade and engines.synthesizer kokoro-onnx both run on a CPU",
            "Set engines.profile to cpu, or one of the two to auto.",
        )
    if refusal := _without_gpu(machine):
        return refusal
    gpu = machine.gpus[0]
    least = _BF16 if hears else _KOKORO
    if gpu.capability and gpu.capability < least:
        has, needs = (".".join(map(str, each)) for each in (gpu.capability, least))
        return Refusal(
            f"the {gpu.name} has compute capability {has}, and {'bf16' if hears else 'torch'} needs {needs}",
            "Use an NVIDIA GPU of the Ampere generation (2020) or later, or set engines.profile to cpu.",
        )
    if machine.ram_total_bytes < HOST_BYTES:
        return Refusal(
            f"beside a GPU the process needs {_gb(HOST_BYTES)} of RAM, and this machine has "
            f"{_gb(machine.ram_total_bytes)}",
            "Use a machine with more RAM.",
        )
    synthesizer: Literal["kokoro", "kokoro-onnx"] = "kokoro" if speaks else "kokoro-onnx"
    beside = (0 if gpu.context_open else CONTEXT_BYTES) + WORKSPACE_BYTES + (KOKORO_BYTES if speaks else 0)
    if not hears:
        if gpu.free_bytes < beside:
            return _too_small(gpu, beside, "Kokoro")
        why = f"{gpu.name}: Kokoro needs {_gb(beside)}, {_gb(gpu.free_bytes)} are free; the rest runs on the CPU"
        return Plan("gpu", "cuda", "cascade", synthesizer, beside, why)
    return _voxtral_on_gpu(wanted, machine, gpu, beside, synthesizer)


def _without_gpu(machine: Machine) -> Refusal | None:
    if machine.gpus and machine.torch and not machine.torch.cuda:
        return Refusal(
            f"there is a {machine.gpus[0].name}, but torch {machine.torch.version} is a build for CPUs",
            "Delete .venv and run setup.sh again: with a GPU it installs torch for CUDA. Elsewhere: "
            "`pip install --force-reinstall torch` from an index that has the CUDA build.",
        )
    cuda = machine.torch.cuda if machine.torch else ""
    if machine.gpu_problem:
        return Refusal(
            f"the GPU cannot be used ({machine.gpu_problem})",
            "`nvidia-smi` must list the GPU, with a driver for the CUDA version that torch was built for"
            f"{f' ({cuda})' if cuda else ''}. Or set engines.profile to cpu.",
        )
    if not machine.gpus:
        return Refusal(
            "no NVIDIA GPU was found",
            "Set engines.profile to cpu or auto; in a container, start it with `--gpus all`.",
        )
    return None


def _voxtral_on_gpu(
    wanted: Wanted, machine: Machine, gpu: Gpu, beside: int, synthesizer: Literal["kokoro", "kokoro-onnx"]
) -> Plan | Refusal:
    if wanted.checkpoint is None:
        return UNKNOWN
    smallest = ""
    for rung in _rungs(wanted):
        need = beside + gpu_bytes(wanted.checkpoint.dimensions, rung.weights, rung.slots, rung.context_tokens)
        smallest, least = str(rung), need
        if need > gpu.free_bytes:
            continue
        host = HOST_BYTES + wanted.checkpoint.files_bytes
        if rung.weights == "int8" and machine.ram_total_bytes < host:
            return Refusal(
                f"on the {gpu.name} Voxtral fits in 8 bits alone, into which it is rounded in {_gb(host)} of RAM, and "
                f"this machine has {_gb(machine.ram_total_bytes)}",
                "Use a machine with more RAM, or a larger GPU.",
            )
        why = f"{gpu.name}: Voxtral in {rung} needs {_gb(need)}, {_gb(gpu.free_bytes)} are free"
        return Plan("gpu", "cuda", "voxtral", synthesizer, need, why, rung.weights, rung.slots, rung.context_tokens)
    return _too_small(gpu, least, f"Voxtral in {smallest}")


def _rungs(wanted: Wanted) -> Iterator[_Rung]:
    """What is tried, best first: 16 bits before 8, and within each as much room as there may be."""
    kinds: tuple[Literal["bf16", "int8"], ...] = ("bf16", "int8") if wanted.weights == "auto" else (wanted.weights,)
    for weights in kinds:
        for slots, context_tokens in _rooms(wanted):
            yield _Rung(weights, slots, context_tokens)


def _rooms(wanted: Wanted) -> Iterator[tuple[int, int]]:
    """(slots, context_tokens); what the settings fix is taken as it is."""
    rooms = [(wanted.slots or slots, wanted.context_tokens or tokens) for slots, tokens in _ROOM]
    yield from dict.fromkeys(rooms)


def _too_small(gpu: Gpu, need: int, what: str) -> Refusal:
    why = f"{what} needs {_gb(need)}, and of {_gb(gpu.total_bytes)} on the {gpu.name} {_gb(gpu.free_bytes)} are free"
    if gpu.total_bytes > need + CONTEXT_BYTES:
        return Refusal(why, "Something else holds its memory: `nvidia-smi` lists what.")
    return Refusal(why, f"Use a GPU with {_gb(need + CONTEXT_BYTES)} or more, or set engines.profile to cpu.")


def _on_cpu(wanted: Wanted, machine: Machine, why: str) -> Plan | Refusal:
    if wanted.understander != "voxtral":
        need = CPU_BYTES[wanted.reply]
        if machine.ram_free_bytes < need:
            return _no_ram(
                machine, need, "the program", f"set engines.reply to template ({_gb(CPU_BYTES['template'])})"
            )
        return Plan("cpu", "cpu", "cascade", wanted.synthesizer, need, why)
    if wanted.checkpoint is None:
        return UNKNOWN
    dimensions, files = wanted.checkpoint.dimensions, wanted.checkpoint.files_bytes
    number_bytes = 4 if files > 3 * dimensions.parameters else 2
    need = 0
    for slots, context_tokens in _rooms(wanted):
        kv = _kv_bytes(dimensions, slots, context_tokens, number_bytes)
        need = round(files * FILES_SHARE) + kv + CPU_BYTES["template"]
        if need <= machine.ram_free_bytes:
            why = f"{why}; with Voxtral {_gb(need)} of RAM are needed, {_gb(machine.ram_free_bytes)} are free"
            return Plan("cpu", "cpu", "voxtral", wanted.synthesizer, need, why, wanted.weights, slots, context_tokens)
    return _no_ram(machine, need, "the program with Voxtral on a CPU", ", or set engines.understander to cascade")


def _no_ram(machine: Machine, need: int, what: str, instead: str) -> Refusal:
    return Refusal(
        f"{what} needs {_gb(need)} of free memory, and there are {_gb(machine.ram_free_bytes)}",
        f"Free some, use a machine with more{instead}.",
    )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
