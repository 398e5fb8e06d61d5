"""Time on a device that works behind the host's back."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def wait(device: torch.device) -> None:
    """Until everything asked of it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times_ms(function: Callable[[], object], device: torch.device, count: int, warm_up: int = 1) -> list[float]:
    """Of `count` calls, each waited for."""
    found = []
    for index in range(warm_up + count):
        wait(device)
        started = time.perf_counter()
        function()
        wait(device)
        if index >= warm_up:
            found.append(1000 * (time.perf_counter() - started))
    return found


def best_s(function: Callable[[], object], device: torch.device) -> float:
    """The quickest of a few calls."""
    return min(times_ms(function, device, count=5, warm_up=2)) / 1000
