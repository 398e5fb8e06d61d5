"""A turn that needs too much memory fails alone; a dead GPU ends the process with a clear line."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator

import pytest
import torch

from conversation import Conversation, converse, one_turn, statuses
from scripted import Script
from voxtral_voice.engines.device_faults import EXIT_CODE, device_faults
from voxtral_voice.types import Cancel, Delta, Finished, Heard, Message, ReplySettings, VoiceError


def test_out_of_memory_is_told_and_what_the_turn_held_is_given_back() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def forward() -> None:
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it")

    with pytest.raises(VoiceError) as failure, device_faults("understander"):
        forward()
    assert failure.value.code == "out_of_memory"
    assert held[0]() is None, "the error keeps the tensors of the failed call"


@pytest.mark.parametrize("said", ["CUDA error: out of memory", "cuBLAS: CUBLAS_STATUS_ALLOC_FAILED when calling"])
def test_cudas_libraries_run_out_of_memory_in_their_own_words(said: str) -> None:
    with pytest.raises(VoiceError, match="not enough memory"), device_faults("synthesizer"):
        raise RuntimeError(said)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("x"), VoiceError("model_failed", "y")])
def test_everything_else_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as failure, device_faults("understander"):
        raise error
    assert failure.value is error


def test_an_error_that_the_device_survives_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = torch.zeros
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "zeros", lambda size, device: zeros(size))
    refused = torch.AcceleratorError("CUDA error: invalid configuration argument")
    with pytest.raises(torch.AcceleratorError) as failure, device_faults("understander"):
        raise refused
    assert failure.value is refused


def test_a_dead_device_ends_the_process_with_one_clear_line() -> None:
    program = """
        import atexit, logging, torch
        from voxtral_voice.engines.device_faults import device_faults

        logging.basicConfig(format="%(levelname)s %(message)s")
        atexit.register(print, "cleaned up")
        with device_faults("understander"):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\\nMore of it")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=600)
    assert done.returncode == EXIT_CODE == 70
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("CRITICAL")]
    assert "understander: CUDA error: an illegal memory access was encountered)" in line
    assert "exiting with code 70" in line


def test_a_turn_without_memory_fails_alone_and_the_next_one_is_answered() -> None:
    def runs_out_once(script: Script) -> None:
        reply, failed = script.understander.reply, list[bool]()

        def once(
            messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
        ) -> Iterator[Delta | Heard | Finished]:
            with device_faults("understander"):
                if not failed:
                    failed.append(True)
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
                yield from reply(messages, settings, cancel)

        script.understander.reply = once  # type: ignore[method-assign]

    async def two_turns(c: Conversation) -> None:
        await one_turn(c)
        await one_turn(c)

    c = converse(two_turns, prepare=runs_out_once)
    assert statuses(c) == [("failed", "out_of_memory"), ("completed", "")]
