"""A checkpoint in safetensors: which files it has, whether they are whole, and how big it is. Nothing is loaded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL_TYPE = "voxtral"
VOCABULARY = "tekken.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_SHARD = re.compile(r".*-\d+-of-\d+\.safetensors")
_HEADER_BYTES = 100 << 20  # what the format allows


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Of a Voxtral, as its config.json names them. The defaults are those of Voxtral-Mini-3B-2507."""

    hidden: int = 3072
    layers: int = 30
    heads: int = 32
    kv_heads: int = 8
    head: int = 128
    inner: int = 8192
    vocabulary: int = 131_072
    audio_hidden: int = 1280
    audio_layers: int = 32
    audio_inner: int = 5120
    mels: int = 128
    positions: int = 1500

    @property
    def encoder(self) -> int:
        """Parameters of the audio encoder."""
        size, inner = self.audio_hidden, self.audio_inner
        convolutions = 3 * size * (self.mels + size) + 2 * size
        attention = 4 * size * size + 3 * size  # three of the four projections have a bias
        layer = attention + 2 * size * inner + inner + size + 4 * size
        return convolutions + self.positions * size + self.audio_layers * layer + 2 * size

    @property
    def adapter(self) -> int:
        """Parameters of what takes four encoder frames to one of the decoder's."""
        return (4 * self.audio_hidden + self.hidden) * self.hidden

    @property
    def embedding(self) -> int:
        """Parameters of the token embedding, and as many again of the head."""
        return self.vocabulary * self.hidden

    @property
    def decoder(self) -> int:
        """Parameters of the decoder without embedding and head."""
        attention = 2 * self.hidden * self.head * (self.heads + self.kv_heads)
        layer = attention + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.layers * layer + self.hidden

    @property
    def parameters(self) -> int:
        return self.encoder + self.adapter + 2 * self.embedding + self.decoder

    @property
    def kv_values(self) -> int:
        """Numbers that a token of context leaves in the cache."""
        return 2 * self.layers * self.kv_heads * self.head


MINI_3B = Dimensions()
SMALL_24B = Dimensions(hidden=5120, layers=40, inner=32_768)
PUBLISHED = {"mistralai/Voxtral-Mini-3B-2507": MINI_3B, "mistralai/Voxtral-Small-24B-2507": SMALL_24B}
"""So that what fits is known before anything is fetched."""


def dimensions(folder: Path) -> Dimensions:
    """Of the checkpoint in `folder`. Raises OSError, or ValueError for a config.json that is none of a Voxtral."""
    written = configuration(folder)
    text, audio = written["text_config"], written["audio_config"]
    keys = {
        "hidden": (text, "hidden_size"),
        "layers": (text, "num_hidden_layers"),
        "heads": (text, "num_attention_heads"),
        "kv_heads": (text, "num_key_value_heads"),
        "head": (text, "head_dim"),
        "inner": (text, "intermediate_size"),
        "vocabulary": (text, "vocab_size"),
        "audio_hidden": (audio, "hidden_size"),
        "audio_layers": (audio, "num_hidden_layers"),
        "audio_inner": (audio, "intermediate_size"),
        "mels": (audio, "num_mel_bins"),
        "positions": (audio, "max_source_positions"),
    }
    found = {name: section[key] for name, (section, key) in keys.items() if section.get(key) is not None}
    if wrong := [keys[name][1] for name, value in found.items() if not isinstance(value, int) or value < 1]:
        raise ValueError(f"config.json: {', '.join(wrong)} must be whole numbers above 0")
    return Dimensions(**found)


def configuration(folder: Path) -> dict[str, Any]:
    """The settings in config.json. Raises OSError, or ValueError when they are not a Voxtral's: what is missing would
    be taken to be as in the full-size model."""
    written = _json(folder / "config.json")
    if (kind := written.get("model_type")) != MODEL_TYPE:
        raise ValueError(f"config.json: model_type is {json.dumps(kind)} and should be {json.dumps(MODEL_TYPE)}")
    for section in ("text_config", "audio_config"):
        if not isinstance(written.get(section), dict):
            raise ValueError(f"config.json holds no {section}")
    return written


def check_vocabulary(folder: Path) -> None:
    """Raises OSError, or ValueError when tekken.json is not laid out as one. Its words are not looked at."""
    found = _json(folder / VOCABULARY)
    for key, kind in (("config", dict), ("vocab", list), ("special_tokens", list)):
        if not isinstance(found.get(key), kind):
            raise ValueError(f"{VOCABULARY} holds no {key}")


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name to shape of every tensor in the files, of which the headers alone are read. Raises OSError or ValueError."""
    found: dict[str, tuple[int, ...]] = {}
    for name in _shards(folder):
        try:
            _, tensors = _header(folder / name)
            found |= {str(key): tuple(entry["shape"]) for key, entry in tensors.items()}
        except (TypeError, KeyError):
            raise ValueError(f"{name} is no safetensors file") from None
    return found


def missing(folder: Path) -> str:
    """Which weights `folder` lacks, as words; empty when they are all there and whole."""
    try:
        names = _shards(folder)
    except ValueError as error:
        return str(error)
    if not names:
        twin = sorted(folder.glob("consolidated*.safetensors"))
        other = f" ({twin[0].name} is another layout, which is not read)" if twin else ""
        return f"lacks {SINGLE}{other}"
    return next((lack for name in names if (lack := _lack(folder / name))), "")


def size_bytes(folder: Path) -> int:
    """Of all the weights in `folder`. Raises OSError or ValueError."""
    return sum((folder / name).stat().st_size for name in _shards(folder))


def _shards(folder: Path) -> list[str]:
    """The files with the weights, by the index where there is one. Raises ValueError for an index that is none."""
    if (folder / INDEX).is_file():
        listed = _json(folder / INDEX).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise ValueError(f"{INDEX} names no files")
        names = sorted({str(name) for name in listed.values()})
        if outside := [name for name in names if Path(name).name != name]:
            raise ValueError(f"{INDEX} names {outside[0]}, which is not beside it")
        return names
    found = sorted(path.name for path in folder.glob("*.safetensors") if not path.name.startswith("consolidated"))
    if parts := [name for name in found if _SHARD.fullmatch(name)]:
        raise ValueError(f"lacks {INDEX}, which says what belongs to {parts[0]}")
    return found


def _lack(path: Path) -> str:
    """What is wrong with one file. Its header says how long it must be, so a copy that broke off is noticed."""
    if not path.is_file():
        return f"lacks {path.name}"
    size = path.stat().st_size
    try:
        begin, tensors = _header(path)
        ends = [int(entry["data_offsets"][1]) for entry in tensors.values()]
    except (TypeError, KeyError, IndexError):
        return f"{path.name} is no safetensors file"
    except ValueError as error:
        return str(error)
    wanted = begin + max(ends, default=0)
    return "" if size == wanted else f"{path.name} has {size} bytes instead of {wanted}"


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the numbers begin, and what is said of each tensor. Raises OSError or ValueError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        if header > min(size, _HEADER_BYTES):
            raise ValueError(f"{path.name} is cut off or no safetensors file ({size} bytes)")
        try:
            tensors = json.loads(file.read(header))
        except ValueError:
            tensors = None
    if not isinstance(tensors, dict):
        raise ValueError(f"{path.name} is no safetensors file")
    tensors.pop("__metadata__", None)
    return 8 + header, tensors


def _json(path: Path) -> dict[str, Any]:
    """Raises OSError or ValueError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no settings")
    return found
