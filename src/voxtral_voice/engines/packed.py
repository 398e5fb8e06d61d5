"""Convolutions and linear layers whose weights lie as oneDNN computes with them, for a CPU.

torch's own layers keep them in a plain order, and oneDNN brings them into its own at every call. A clause is short, so
that is a good part of its time. The operators are the ones that `torch.compile` puts in the place of these layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 64  # of a usual signal: oneDNN chooses the order for some length and computes any with it


def available() -> bool:
    """Whether this build of torch has oneDNN."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def pack(module: nn.Module, leave: tuple[type[nn.Module], ...]) -> None:
    """Put packed layers in the place of every `Linear` and `Conv1d` within `module`, but not within a `leave`.

    Needs `available`. They compute in the type that those have by now, for inference only.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child.weight, child.bias))
        elif isinstance(child, nn.Conv1d):
            setattr(module, name, PackedMix(child) if _mixes(child) else PackedConv(child))
        elif not isinstance(child, leave):
            pack(child, leave)


def _mixes(conv: nn.Conv1d) -> bool:
    """Each step for itself."""
    return conv.kernel_size == conv.stride == (1,) and conv.groups == 1


class PackedLinear(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _STEPS), bias

    def forward(self, signal: Tensor) -> Tensor:
        """`signal`: shape [..., features]."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(signal, self.weight, self.bias, "none", [], "")
        return found


class PackedMix(PackedLinear):
    """A convolution of single steps. As one, oneDNN's order depends on the length, and another waits."""

    def __init__(self, source: nn.Conv1d) -> None:
        super().__init__(source.weight[:, :, 0], source.bias)

    def forward(self, signal: Tensor) -> Tensor:
        """As PackedConv's."""
        return super().forward(signal.transpose(1, 2).contiguous()).transpose(1, 2)


class PackedConv(nn.Module):
    """A convolution whose channels lie together in memory, step by step, as oneDNN computes them (for `Conv1d`).

    A signal channel by channel oneDNN brings into that order and back at every call.
    """

    def __init__(self, source: nn.Conv1d) -> None:
        super().__init__()
        assert not isinstance(source.padding, str)
        self.stride, self.padding, self.dilation = (
            [1, source.stride[0]],
            [0, source.padding[0]],
            [1, source.dilation[0]],
        )
        self.groups, self.bias = source.groups, source.bias
        self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(
            source.weight.detach()[:, :, None].to_mkldnn(),
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
        )

    def forward(self, signal: Tensor) -> Tensor:
        """Takes shape [1, channels, steps] in either order in memory, returns it step by step."""
        flat = signal[:, :, None].contiguous(memory_format=torch.channels_last)
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            flat, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups, "none", [], ""
        )
        return found[:, :, 0]
