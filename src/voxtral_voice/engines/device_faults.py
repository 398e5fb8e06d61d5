"""What goes wrong on a GPU: a turn that asks for too much memory fails alone; a dead device ends the process."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: whoever supervises the process starts it again."""

# CUDA's libraries report through plain RuntimeErrors; cudaErrorMemoryAllocation through torch's own kind.
_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUFFT_ALLOC_FAILED")
_DEVICE = ("CUDA error", "CUBLAS_STATUS_", "CUDNN_STATUS_", "cuDNN error", "CUFFT_")


@contextmanager
def device_faults(engine: str) -> Iterator[None]:
    """Around what an engine does on its device. `engine` is named in the log.

    Out of memory: what the turn held is given back, then VoiceError("out_of_memory"). An error after which the device
    answers nothing any more, such as an illegal address: one critical line, and the process exits with EXIT_CODE,
    because a CUDA context cannot be made again within a process. Everything else passes through.
    """
    try:
        yield
    except RuntimeError as error:
        kind = _kind(error)
        if kind is None:
            raise
        said = str(error).strip().split("\n")[0]
        if kind == "device" and _device_lives():
            raise
        if kind == "device":
            _exit(engine, said)
        # The frames of the failed call still hold its tensors, and this error holds the frames.
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        _give_back()
        log.warning("%s: out of memory, this turn fails: %s", engine, said)
        raise VoiceError("out_of_memory", f"there was not enough memory for this turn ({engine})") from None


def _kind(error: RuntimeError) -> Literal["memory", "device"] | None:
    torch = sys.modules.get("torch")  # without it loaded no device was asked
    if torch is None:
        return None
    said = str(error)
    if isinstance(error, torch.OutOfMemoryError) or any(word in said for word in _MEMORY):
        return "memory"
    if isinstance(error, torch.AcceleratorError) or any(word in said for word in _DEVICE):
        return "device"
    return None


def _device_lives() -> bool:
    """Whether the device still answers: a refused launch leaves it whole, a fault inside a kernel does not."""
    import torch

    try:
        torch.cuda.synchronize()
        torch.zeros(1, device="cuda").item()
    except Exception as error:  # whatever it is, the device has not answered
        log.debug("the device does not answer: %s", error)
        return False
    return True


def _give_back() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _exit(engine: str, said: str) -> None:
    log.critical(
        "the GPU has failed and cannot be used again by this process (%s: %s); exiting with code %d to be restarted",
        engine,
        said,
        EXIT_CODE,
    )
    logging.shutdown()
    sys.stderr.flush()
    os._exit(EXIT_CODE)  # no clean-up: every further call to the device would hang or fail
