"""The weights of Kokoro-82M for torch, out of its int8 ONNX build: close to the original's, not equal to them.

The ONNX file keeps the names of the modules it was traced from, so each of its nodes says whose weight it holds.
Takes about half a second, which is not worth 327 MB of disk to save.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import NodeProto, numpy_helper
from torch import Tensor

Array = npt.NDArray[Any]

_HOMES = {
    "encoder.predictor.": "predictor.",
    "encoder.text_encoder.": "text_encoder.",
    "encoder.bert_encoder": "bert_encoder",
    "encoder.bert.": "bert.",
    "decoder.decoder.": "decoder.",
    "encoder.": "predictor.",  # F0, N, shared and their projections were traced outside their module
}
_ONNX_GATES = (0, 2, 3, 1)  # ONNX orders an LSTM's gates i o f c, torch i f g o
_OWN_NAMES = re.compile(r"^(encoder|decoder)\..*(\.bias|\.gamma|\.beta|[nN]orm\.weight)$|\.alpha")


def dequantized(file: Path) -> dict[str, Tensor]:
    """The parameters of `kokoro.model.KModel` without weight norm, float32. Raises ValueError for a bad file."""
    try:
        graph = _Graph(onnx.load(str(file)).graph)
    except DecodeError as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    found: dict[str, Array] = {}
    for node in graph.nodes:
        found |= graph.weights(node)
    for name in filter(_OWN_NAMES.search, graph.constants):
        found[_home(name)] = graph.array(name)
    return {name: torch.from_numpy(np.require(array, np.float32, ["C", "W"])) for name, array in found.items()}


def _home(traced: str) -> str:
    """A path of the traced graph -> the parameter's module in KModel."""
    name = traced.strip("/").replace("/", ".")
    prefix = next((prefix for prefix in _HOMES if name.startswith(prefix)), "")
    name = _HOMES.get(prefix, "") + name.removeprefix(prefix)
    name = re.sub(r"cnn\.(\d)\.cnn\.\1", r"cnn.\1", name)  # a traced Sequential repeats its name
    return name.replace("asr_res.asr_res", "asr_res")


class _Graph:
    def __init__(self, graph: Any) -> None:
        self.nodes: list[NodeProto] = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self._maker = {output: node for node in self.nodes for output in node.output}
        self._users: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self._users.setdefault(name, []).append(node)

    def array(self, name: str) -> Array:
        return np.asarray(numpy_helper.to_array(self.constants[name]))

    def weights(self, node: NodeProto) -> dict[str, Array]:
        """The weights that `node` holds, under their names in KModel."""
        path = node.name.rpartition("/")[0]
        constant = len(node.input) > 1 and node.input[1] in self.constants
        match node.op_type:
            case "ConvInteger":
                return {f"{_home(path)}.weight": self._integers(node, axis=0)}
            case "Conv" | "ConvTranspose" if constant and "stft" not in node.name:
                return {f"{_home(path)}.weight": self.array(node.input[1])}
            case "MatMulInteger" if constant:
                path = re.sub(r"_\d+$", "", path)  # ALBERT's one shared layer was traced 12 times
                return {f"{_home(path)}.weight": self._integers(node, axis=1).T}
            case "MatMul" if constant and "l_linear" in node.name:
                return {f"{_home(path)}.weight": self.array(node.input[1]).T}
            case "DynamicQuantizeLSTM":
                return self._lstm(node, _home(path))
            case "DequantizeLinear" if self._maker[node.input[0]].op_type == "Gather":
                return self._embedding(node)
        return {}

    def _integers(self, node: NodeProto, axis: int) -> Array:
        """(weight - zero point) * scale of a convolution or a product; scales run along `axis`."""
        weight, zero, scale = self.array(node.input[1]), self.array(node.input[3]), self._scale(node)
        shape = [-1 if each == axis else 1 for each in range(weight.ndim)]
        return (weight.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)

    def _scale(self, node: NodeProto) -> Array:
        """Of the weight: the result goes [through a bias] through a Cast into a product with input scale * this."""
        while node.op_type != "Mul":
            output = node.output[0]
            node = next(user for user in self._users[output] if user.op_type in ("Add", "Cast", "Mul"))
        (scales,) = (name for name in node.input if name != output)
        return self.array(next(name for name in self._maker[scales].input if name in self.constants))

    def _lstm(self, node: NodeProto, name: str) -> dict[str, Array]:
        biases = self.array(node.input[3])  # [2 directions, 2 * 4 gates * hidden]
        hidden = biases.shape[1] // 8
        gates = np.concatenate([np.arange(hidden) + gate * hidden for gate in _ONNX_GATES])
        found: dict[str, Array] = {}
        for direction, suffix in enumerate(("", "_reverse")):
            for part, weight, scale in (("ih", 1, 8), ("hh", 2, 10)):
                integers, scales, zeros = (self.array(node.input[at]) for at in (weight, scale, scale + 1))
                direct = [each[direction] if each.ndim else each for each in (scales, zeros)]
                matrix = (integers[direction].astype(np.float32) - direct[1]) * direct[0]
                found[f"{name}.weight_{part}_l0{suffix}"] = matrix.T[gates]
            for part, half in zip(("ih", "hh"), np.split(biases[direction], 2), strict=True):
                found[f"{name}.bias_{part}_l0{suffix}"] = half[gates]
        return found

    def _embedding(self, node: NodeProto) -> dict[str, Array]:
        source = self._maker[node.input[0]].input[0]
        integers, scale, zero = (self.array(name) for name in (source, *node.input[1:3]))
        return {_home(source.removesuffix("_quantized")): (integers.astype(np.float32) - zero) * scale}
