"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import gc


def trim() -> None:
    """Collect what is unreachable and return free pages to the system, where the C library can (glibc).

    glibc keeps what large tensors leave behind when they are freed: after loading a model, as much again as it needs.
    """
    gc.collect()
    trim_heap = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim_heap is not None:
        trim_heap(ctypes.c_size_t(0))
