"""Checkpoints in safetensors that hold nothing but zeros, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path

TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": 8000,
}
AUDIO = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "num_mel_bins": 128}


def put_safetensors(path: Path, size_bytes: int, dtype: str = "BF16") -> Path:
    """A file with one tensor of so many bytes."""
    shape = [size_bytes // {"BF16": 2, "F32": 4}[dtype]]
    header = json.dumps({"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, size_bytes]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size_bytes))
    return path


def put_voxtral(folder: Path, *, shards: int = 1, shard_bytes: int = 1000, dtype: str = "BF16") -> Path:
    """A folder laid out like one of the hub's."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"text_config": TEXT, "audio_config": AUDIO}))
    (folder / "tekken.json").write_text("{}")
    if shards == 1:
        put_safetensors(folder / "model.safetensors", shard_bytes, dtype)
        return folder
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    for name in names:
        put_safetensors(folder / name, shard_bytes, dtype)
    weight_map = {f"layer.{index}": name for index, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder
