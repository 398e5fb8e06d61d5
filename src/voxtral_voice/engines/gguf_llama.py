"""A Llama-shaped model and its tokenizer out of one GGUF file.

transformers' `gguf_file=` wants accelerate and reads the file three times (13 s); this reads it once. The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGUFReader, dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from voxtral_voice.engines.llama import Layer, Llama, Shape, Weights

_CONTROL = 3  # the file's token type for <|im_start|> and the like


@dataclass(frozen=True)
class Loaded:
    model: Llama
    tokenizer: Tokenizer
    end_token: int


def load(path: Path, dtype: torch.dtype) -> Loaded:
    """Weights, dequantized to `dtype`, and the tokenizer. Raises ValueError for a file of another kind of model."""
    reader = _open(path)
    architecture = _value(reader, "general.architecture")
    if architecture != "llama" or _value(reader, "tokenizer.ggml.model") != "gpt2":
        raise ValueError(f"{path}: a {architecture} model; only Llama models with a byte-pair tokenizer are read")
    shape = _shape(reader)
    model = Llama(shape, _weights(reader, shape, dtype))
    return Loaded(model, _tokenizer(reader), int(_value(reader, "tokenizer.ggml.eos_token_id")))


def _open(path: Path) -> GGUFReader:
    # The reader makes an array of every word of the vocabulary; collecting garbage among them doubles its time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return GGUFReader(path)
    finally:
        if collecting:
            gc.enable()


def _value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    if field is None:
        raise ValueError(f"the GGUF file has no {key}")
    return field.contents()


def _shape(reader: GGUFReader) -> Shape:
    def of(key: str) -> Any:
        return _value(reader, f"llama.{key}")

    return Shape(
        layers=int(of("block_count")),
        width=int(of("embedding_length")),
        heads=int(of("attention.head_count")),
        kv_heads=int(of("attention.head_count_kv")),
        context_tokens=int(of("context_length")),
        norm_epsilon=float(of("attention.layer_norm_rms_epsilon")),
        rope_base=float(of("rope.freq_base")),
    )


def _weights(reader: GGUFReader, shape: Shape, dtype: torch.dtype) -> Weights:
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def of(name: str, pairs_of_heads: int = 0) -> torch.Tensor:
        values: npt.NDArray[np.float32] = dequantize(tensors[name].data, tensors[name].tensor_type)
        if pairs_of_heads:
            values = _unpermute(values, pairs_of_heads)
        return torch.from_numpy(np.array(values, np.float32)).to(dtype)

    def layer(index: int) -> Layer:
        name = f"blk.{index}"
        queries = of(f"{name}.attn_q.weight", shape.heads)
        keys = of(f"{name}.attn_k.weight", shape.kv_heads)
        return Layer(
            attention_norm=of(f"{name}.attn_norm.weight"),
            qkv=torch.cat([queries, keys, of(f"{name}.attn_v.weight")]),
            out=of(f"{name}.attn_output.weight"),
            mlp_norm=of(f"{name}.ffn_norm.weight"),
            gate_up=torch.cat([of(f"{name}.ffn_gate.weight"), of(f"{name}.ffn_up.weight")]),
            down=of(f"{name}.ffn_down.weight"),
        )

    embedding = of("token_embd.weight")
    head = of("output.weight") if "output.weight" in tensors else embedding
    return Weights(embedding, tuple(layer(index) for index in range(shape.layers)), of("output_norm.weight"), head)


def _unpermute(values: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Rows of a head from the file's order, rotary pairs side by side, to first halves before second halves."""
    rows = values.shape[0] // heads // 2
    return values.reshape(heads, rows, 2, -1).swapaxes(1, 2).reshape(values.shape)


def _tokenizer(reader: GGUFReader) -> Tokenizer:
    tokens: list[str] = _value(reader, "tokenizer.ggml.tokens")
    kinds: list[int] = _value(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in _value(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer
