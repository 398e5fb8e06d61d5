"""Settings: the packaged config.yaml < a file of the user's < environment < command line.

Unknown keys and values out of range raise ConfigError, whose message names the line to mend.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from voxtral_voice.config_file import ConfigError as ConfigError
from voxtral_voice.config_file import merge, parse, put, read
from voxtral_voice.config_section import Milliseconds, Section
from voxtral_voice.config_turns import Turns as Turns
from voxtral_voice.config_turns import Vad as Vad

PREFIX = "VOXTRAL_"
_PACKAGE = Path(__file__).parent
# Beside the package in an installed wheel, at the root of the repository in an editable install.
DEFAULTS = next(path for path in (_PACKAGE / "config.yaml", _PACKAGE.parents[1] / "config.yaml") if path.is_file())

# Read elsewhere or by other programs: not a section's key.
_FLAT = frozenset({"CONFIG", "PROFILE", "API_KEY", "MODELS_DIR", "TEST_AUDIO", "WORKSPACE"})
# What RunPod and others like it set.
_PLATFORM = {"PORT": "server.port", "PORT_HEALTH": "server.health_port", "HEALTH_CHECK_PATH": "server.health_path"}

ModelChoice = Annotated[str, Field(min_length=1)] | None
"""A local folder, or the id of a repository on the hub; None: the store's own sources."""


def _no_other_path(path: str) -> str:
    # What answers there is open to everybody and would stand in the way of what is there.
    if path.split("/")[1] in ("", "v1", "web", "docs", "openapi.json", "status", "metrics", "performance"):
        raise ValueError("the server has something else there; choose one such as /ping or /healthz")
    return path


class Server(Section):
    host: str
    port: int = Field(ge=0, le=65535)
    health_port: Annotated[int, Field(ge=1, le=65535)] | None
    health_path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*$"), AfterValidator(_no_other_path)]
    origins: tuple[Annotated[str, Field(pattern=r"^(https?://[^/\s]+|null)$")], ...]
    trusted_proxies: str
    message_bytes: int = Field(ge=4096, le=64 << 20)
    head_timeout_s: float = Field(gt=0, le=600)
    body_timeout_s: float = Field(gt=0, le=600)
    upload_bytes: int = Field(ge=65_536, le=1 << 30)
    upload_timeout_s: float = Field(gt=0, le=3600)
    bodies_bytes: int = Field(ge=1 << 20)
    ping_interval_s: float = Field(gt=0, le=90)
    ping_timeout_s: float = Field(gt=0, le=90)
    shutdown_s: float = Field(ge=0, le=3600)

    @model_validator(mode="after")
    def _the_largest_body_fits(self) -> Server:
        if self.bodies_bytes < max(self.message_bytes, self.upload_bytes):
            raise ValueError("bodies_bytes must hold a body of message_bytes, and one of upload_bytes")
        return self


class Limits(Section):
    sessions: int = Field(ge=1, le=10_000)
    session_s: float = Field(gt=0)
    idle_s: float = Field(gt=0)
    ingest_rate: float = Field(ge=1)
    ingest_burst_s: float = Field(gt=0)
    outbox_bytes: int = Field(ge=65_536)
    conversation_items: int = Field(ge=16, le=100_000)
    conversation_bytes: int = Field(ge=1 << 20)
    speech_input_chars: int = Field(ge=1, le=1_000_000)
    upload_audio_s: float = Field(gt=0, le=36_000)
    requests: int = Field(ge=1, le=1000)
    jobs: int = Field(ge=1, le=1000)
    job_input_bytes: int = Field(ge=65_536, le=20_000_000)
    job_output_bytes: int = Field(ge=1_000_000, le=20_000_000)
    job_audio_s: float = Field(gt=0, le=36_000)


class Models(Section):
    directory: Path | None
    hub_timeout_s: float = Field(gt=0, le=120)
    silero: ModelChoice
    smart_turn: ModelChoice
    whisper_english: ModelChoice
    whisper_multilingual: ModelChoice
    smollm2: ModelChoice
    voxtral: ModelChoice
    kokoro: ModelChoice
    kokoro_onnx: ModelChoice
    kokoro_voices: ModelChoice

    @property
    def root(self) -> Path:
        """Where fetched models are kept."""
        chosen = self.directory or os.environ.get(f"{PREFIX}MODELS_DIR")
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(chosen).expanduser() if chosen else Path(cache) / "voxtral-voice"


def _room_for_a_turn(context_tokens: int) -> int:
    if 0 < context_tokens < 1024:
        raise ValueError("fewer than 1024 hold no spoken turn and its answer; 0 takes what fits")
    return context_tokens


class EngineChoice(Section):
    profile: Literal["auto", "gpu", "cpu"]
    understander: Literal["auto", "voxtral", "cascade"]
    reply: Literal["smollm2", "template"]
    synthesizer: Literal["auto", "kokoro", "kokoro-onnx"]
    weights: Literal["auto", "bf16", "int8"]
    slots: int = Field(ge=0, le=64)
    context_tokens: Annotated[int, Field(ge=0, le=32_768), AfterValidator(_room_for_a_turn)]
    threads: int = Field(ge=0, le=256)
    endpoint_threads: int = Field(ge=1, le=64)
    niceness: int = Field(ge=0, le=19)


class VoiceChoice(Section):
    name: str
    hindi_name: str
    language: str = Field(pattern="^(auto|[a-z]{2})$")
    speed: float = Field(ge=0.5, le=2.0)
    trim_level: float = Field(gt=0, lt=0.5)
    trim_keep_ms: Milliseconds
    trim_tail_keep_ms: Milliseconds
    max_phonemes: int = Field(ge=50, le=510)
    kept_bytes: int = Field(ge=0, le=1 << 30)


class PlayoutChoice(Section):
    lead_ms: int = Field(ge=40, le=300)
    duck_lead_ms: int = Field(ge=40, le=300)
    # With a crumb a packet is up to half as long again, without it down to half as long: 20-200 ms on the wire.
    packet_ms: int = Field(ge=40, le=133)
    ahead_ms: int = Field(ge=500, le=600_000)
    draft_clauses: int = Field(ge=0, le=10)

    @model_validator(mode="after")
    def _a_packet_waits_while_one_is_heard(self) -> PlayoutChoice:
        if min(self.lead_ms, self.duck_lead_ms) < 2 * self.packet_ms:
            raise ValueError("lead_ms and duck_lead_ms must be at least two packet_ms: the sound would have holes")
        return self


class Reply(Section):
    instructions: str
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=1, le=4096)
    context_tokens: int = Field(ge=256, le=8192)
    audio_turns: int = Field(ge=1, le=5)
    first_clause_words: int = Field(ge=1, le=50)
    first_clause_max_words: int = Field(ge=2, le=50)
    clause_max_chars: int = Field(ge=20, le=2000)
    without_voice: Literal["english", "text"]


def _in_small_letters(word: object) -> object:
    return word.lower() if isinstance(word, str) else word


class Logging(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_in_small_letters)]
    format: Literal["plain", "json"]
    file: Path | None
    file_bytes: int = Field(ge=1024)
    file_count: int = Field(ge=0, le=100)
    content: bool


class Config(Section):
    server: Server
    limits: Limits
    models: Models
    engines: EngineChoice
    voice: VoiceChoice
    vad: Vad
    turns: Turns
    playout: PlayoutChoice
    reply: Reply
    logging: Logging


def load(
    path: str | Path | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read the settings.

    `path`: a file of the user's, else the one VOXTRAL_CONFIG names; `overrides`: dotted key to value, strongest.
    Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    origins: dict[str, str] = {}
    merged = read(DEFAULTS, origins)
    chosen = path or environ.get(f"{PREFIX}CONFIG")
    if chosen:
        merge(merged, read(Path(chosen), origins))
    for key, text, name in _from_environment(environ):
        kind = _kind(key)
        if text.strip() or kind is None:  # templates and dashboards leave a variable empty that is not set
            put(merged, key, parse(text, name, kind), name, origins)
    for key, value in (overrides or {}).items():
        if value is not None:
            put(merged, key, value, f"--{key.rpartition('.')[2].replace('_', '-')}", origins)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(entry, origins) for entry in error.errors())) from None


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(dotted key, text, variable) for each variable that is a setting."""
    found = []
    if profile := environ.get(f"{PREFIX}PROFILE"):
        found.append(("engines.profile", profile, f"{PREFIX}PROFILE"))
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or (rest := name.removeprefix(PREFIX)) in _FLAT:
            continue
        if "__" not in rest:
            raise ConfigError(f"{name}: unknown variable; settings are {PREFIX}<SECTION>__<KEY>")
        found.append((".".join(rest.lower().split("__")), text, name))
    for name, key in _PLATFORM.items():  # the platform's choice wins over ours
        if chosen := environ.get(name):
            found.append((key, chosen, name))
    return found


def _kind(dotted: str) -> object:
    """The type of one key, None where there is no such key."""
    kind: object = Config
    for part in dotted.split("."):
        field = kind.model_fields.get(part) if isinstance(kind, type) and issubclass(kind, Section) else None
        if field is None:
            return None
        kind = field.annotation
    return kind


def _explain(entry: Any, origins: dict[str, str]) -> str:
    path = [str(part) for part in entry["loc"]]
    where = next((origins[key] for n in range(len(path), 0, -1) if (key := ".".join(path[:n])) in origins), "settings")
    value = "" if entry["type"] in ("extra_forbidden", "missing") else f" (it is {entry['input']!r})"
    what = "unknown key" if entry["type"] == "extra_forbidden" else entry["msg"]
    return f"{where}: {'.'.join(path)}: {what}{value}"
