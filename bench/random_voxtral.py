"""Voxtrals of random weights, made without a network: the real tokenizer, layout and file names, nonsense for words.

    python -m bench.random_voxtral FOLDER [--size tiny|full]

The vocabulary is that of mistral-common's own data; Voxtral's is its first 130,072 entries behind 1000 special tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Literal

import mistral_common
import torch
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from transformers import VoxtralConfig, VoxtralForConditionalGeneration, VoxtralProcessor, WhisperFeatureExtractor
from transformers.tokenization_mistral_common import MistralCommonBackend

Size = Literal["tiny", "full"]
_SPECIAL_TOKENS = 1000
_TINY_VOCABULARY = 8000
_SPREAD = 0.25  # of the tiny one's weights: wide enough that a wrong position or a wrong mask changes its words
_NAMED = {24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 34: "[TRANSCRIBE]"}


def write_tokenizer(folder: Path, size: Size = "tiny") -> Path:
    """tekken.json in Voxtral's layout; the tiny one has fewer words and the same special tokens."""
    packaged = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    base = json.loads(packaged.read_text(encoding="utf-8"))
    special = [dict(token) for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
    for rank in range(len(special), max(_NAMED) + 1):
        special.append({"rank": rank, "token_str": _NAMED.get(rank, f"<SPECIAL_{rank}>"), "is_control": True})
    count = _TINY_VOCABULARY if size == "tiny" else int(base["config"]["default_vocab_size"])
    tekken = {
        "config": {**base["config"], "version": "v7", "default_vocab_size": count},
        "vocab": base["vocab"][: count - _SPECIAL_TOKENS],
        "special_tokens": special,
        "audio": {
            "sampling_rate": 16_000,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
            "chunk_length_s": 30.0,
        },
        "version": 1,
        "type": "Tekken",
    }
    path = folder / "tekken.json"
    path.write_text(json.dumps(tekken, ensure_ascii=False), encoding="utf-8")
    return path


def configuration(size: Size) -> VoxtralConfig:
    """The full one is Voxtral-Mini-3B-2507's: what transformers takes by default, and its vocabulary and heads."""
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 11}
    if size == "full":
        text = {"model_type": "llama", "vocab_size": 131_072, "num_attention_heads": 32, **tokens}
        return VoxtralConfig(audio_token_id=24, text_config=text)
    return VoxtralConfig(
        audio_token_id=24,
        audio_config={
            "model_type": "voxtral_encoder",
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_mel_bins": 128,
            "max_source_positions": 1500,
            "initializer_range": _SPREAD,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": _TINY_VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 32_768,
            "initializer_range": _SPREAD,
            **tokens,
        },
    )


def model(size: Size, device: str = "cpu", seed: int = 0) -> Any:
    """A VoxtralForConditionalGeneration: tiny in float32, full in bfloat16 and made where it will run."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if size == "full" else torch.float32)
    try:
        with torch.device(device):
            made = VoxtralForConditionalGeneration(configuration(size)).eval()
    finally:
        torch.set_default_dtype(before)
    made.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=11)
    return made


def write(folder: Path, size: Size = "tiny", seed: int = 0) -> Path:
    """A checkpoint as the hub has it. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "tokenizer"
    source.mkdir(exist_ok=True)
    tokenizer = MistralCommonBackend(tokenizer_path=str(write_tokenizer(source, size)))
    VoxtralProcessor(WhisperFeatureExtractor(feature_size=128), tokenizer).save_pretrained(folder)
    model(size, seed=seed).save_pretrained(folder, max_shard_size="5GB")
    (source / "tekken.json").unlink()
    source.rmdir()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a Voxtral of random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=["tiny", "full"], default="tiny", help="full: 9.4 GB, minutes")
    arguments = parser.parse_args()
    print(write(arguments.folder, arguments.size))
    return 0


if __name__ == "__main__":
    sys.exit(main())
