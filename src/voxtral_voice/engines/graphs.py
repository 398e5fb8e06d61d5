"""A computation on tensors of fixed shape, recorded once as a CUDA graph and replayed.

A step of a language model is about a thousand small kernels; launched one by one from Python they take longer than
they run. Off CUDA, and for shapes not worth a recording, the same computation is simply called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_WARM_UP_CALLS = 2  # cuBLAS, cuDNN and cuFFT allocate and choose kernels at their first call, which cannot be recorded


class Captured:
    """`function` of `inputs`' shapes. Not for two threads at once."""

    def __init__(
        self, function: Callable[..., Tensor], *inputs: Tensor, graph: bool = False, pool: Any | None = None
    ) -> None:
        """`inputs` become the static ones: `function` always reads these very tensors. `graph`: record it (CUDA only).

        `pool`: memory shared with other recordings (`torch.cuda.graph_pool_handle()`), which must then never run at
        the same time.
        """
        self._function = function
        self._inputs = inputs
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Tensor | None = None
        if graph:
            self._record(pool)

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        """Returns the static output, valid until the next call of this or of a recording with the same pool."""
        for static, given in zip(self._inputs, inputs, strict=True):
            if static is not given:
                static.copy_(given, non_blocking=True)
        if self._graph is None:
            return self._function(*self._inputs)
        self._graph.replay()
        assert self._output is not None
        return self._output

    @torch.inference_mode()
    def _record(self, pool: Any | None) -> None:
        for _ in range(_WARM_UP_CALLS):
            self._function(*self._inputs)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # In the stream that will play it: a recording keeps the priority of the stream that it was made in.
        stream: torch.cuda.Stream | None = torch.cuda.current_stream()
        if stream == torch.cuda.default_stream():  # in which nothing can be recorded
            stream = None
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._output = self._function(*self._inputs)
