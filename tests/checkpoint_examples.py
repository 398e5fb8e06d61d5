"""Checkpoints in safetensors that hold nothing but zeros, whole and broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path

from voxtral_voice.models import checkpoint
from voxtral_voice.models.tensors import expected

TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": 8000,
}
BYTES = {"BF16": 2, "F32": 4}
AUDIO = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "num_mel_bins": 128}


def put_safetensors(path: Path, size_bytes: int, dtype: str = "BF16") -> Path:
    """A file with one tensor of so many bytes."""
    return put_tensors(path, {"weight": (size_bytes // BYTES[dtype],)}, dtype)


def put_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str = "BF16") -> Path:
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    written = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + bytes(end))
    return path


def put_config(folder: Path, **text: object) -> None:
    """`text`: what its text_config has otherwise."""
    written = {"model_type": "voxtral", "text_config": {**TEXT, **text}, "audio_config": AUDIO}
    (folder / "config.json").write_text(json.dumps(written))


def put_voxtral(folder: Path, *, shards: int = 1, dtype: str = "BF16") -> Path:
    """A folder laid out like one of the hub's."""
    folder.mkdir(parents=True)
    put_config(folder)
    (folder / "tekken.json").write_text(json.dumps({"config": {}, "vocab": [], "special_tokens": []}))
    shapes = expected(checkpoint.dimensions(folder))
    if shards == 1:
        put_tensors(folder / "model.safetensors", shapes, dtype)
        return folder
    weight_map: dict[str, str] = {}
    for number in range(1, shards + 1):
        part = dict(list(shapes.items())[number - 1 :: shards])
        path = put_tensors(folder / f"model-{number:05}-of-{shards:05}.safetensors", part, dtype)
        weight_map |= dict.fromkeys(part, path.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder
