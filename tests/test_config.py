"""Settings: which one wins, and errors that name the line to mend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from voxtral_voice import config
from voxtral_voice.config import Config, ConfigError

SOURCE = Path(config.__file__).parent


def load(environ: Mapping[str, str] | None = None, path: Path | None = None, **overrides: object) -> Config:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return config.load(path, environ=environ or {}, overrides=dotted)


def fields(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, name) of every setting."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", name


def test_the_packaged_file_holds_every_setting_and_nothing_else() -> None:
    packaged = yaml.safe_load(config.DEFAULTS.read_text(encoding="utf-8"))
    assert load().model_dump(mode="json", exclude={"models"}) == {
        section: values for section, values in packaged.items() if section != "models"
    }
    assert {section: set(values) for section, values in packaged.items()} == {
        section: set(values) for section, values in load().model_dump().items()
    }


def test_a_file_overrides_the_package_the_environment_the_file_and_flags_the_environment(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("turns:\n  join_ms: 1\n  gap_ms: 1\n  duck_ms: 1\n")
    environ = {"VOXTRAL_TURNS__GAP_MS": "2", "VOXTRAL_TURNS__DUCK_MS": "2", "VOXTRAL_CONFIG": str(mine)}
    turns = load(environ, turns__duck_ms=3).turns
    assert (turns.join_ms, turns.gap_ms, turns.duck_ms) == (1, 2, 3)
    assert turns.max_turn_ms == load().turns.max_turn_ms
    assert load(environ, turns__duck_ms=None).turns.duck_ms == 2  # a flag that was not given
    assert load(path=mine).turns.join_ms == 1


def test_the_platform_decides_about_the_port_and_the_short_names_work() -> None:
    assert load({"PORT": "9000", "VOXTRAL_SERVER__PORT": "9001"}).server.port == 9000
    assert load({"VOXTRAL_PROFILE": "cpu"}).engines.profile == "cpu"
    assert load({"VOXTRAL_API_KEY": "secret", "VOXTRAL_TEST_AUDIO": "/x", "OTHER": "1"}) == load()


def test_lists_and_null_can_be_given_in_the_environment() -> None:
    grades = "[{probability: 0, silence_ms: 123}]"
    assert load({"VOXTRAL_TURNS__GRADED__LOW": grades}).turns.graded.low[0].silence_ms == 123
    assert load({"VOXTRAL_LOGGING__FILE": "null"}).logging.file is None


TEXTS = (
    "You are Bob: be brief.",
    "- be brief",
    "[short]",
    "{name}",
    "yes",
    "123",
    "null",
    "~",
    "# be brief",
    "Be brief # always",
    '"Be" brief',
    "It's fine",
    "Line one\nLine two: x",
    "*bold*",
    "@bot",
    "!cmd",
    "%x",
    "  spaced ",
    "2026-11-21",
    "tab\there",
)


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_the_environment_is_taken_as_it_is(text: str) -> None:
    assert load({"VOXTRAL_REPLY__INSTRUCTIONS": text}).reply.instructions == text


def test_words_and_paths_in_the_environment_are_no_yaml_either() -> None:
    chosen = {"VOXTRAL_VOICE__LANGUAGE": "no", "VOXTRAL_LOGGING__FILE": "/tmp/a: b", "VOXTRAL_MODELS__VOXTRAL": "123"}
    settings = load(chosen)
    assert (settings.voice.language, settings.logging.file, settings.models.voxtral) == ("no", Path("/tmp/a: b"), "123")
    assert load({"VOXTRAL_MODELS__VOXTRAL": "null"}).models.voxtral is None
    assert load({"VOXTRAL_LOGGING__LEVEL": "INFO"}).logging.level == "info"


@pytest.mark.parametrize(
    "name",
    ["VOXTRAL_REPLY__INSTRUCTIONS", "VOXTRAL_LIMITS__JOBS", "VOXTRAL_SERVER__ORIGINS", "VOXTRAL_LOGGING__FILE", "PORT"],
)
def test_an_empty_variable_is_none(name: str) -> None:
    assert load({name: ""}) == load({name: " "}) == load()


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a.example", ("https://a.example",)),
        ("https://a.example, https://b.example:8443", ("https://a.example", "https://b.example:8443")),
        ('["https://a.example", "null"]', ("https://a.example", "null")),
        ("- https://a.example\n- https://b.example", ("https://a.example", "https://b.example")),
        ("[]", ()),
    ],
)
def test_a_list_of_texts_is_yaml_or_has_commas(text: str, origins: tuple[str, ...]) -> None:
    assert load({"VOXTRAL_SERVER__ORIGINS": text}).server.origins == origins


@pytest.mark.parametrize(
    "path", ["/", "//ping", "/v1", "/v1/audio/speech", "/v1/realtime", "/status", "/docs", "/web/x"]
)
def test_the_open_health_path_is_no_path_of_something_else(path: str) -> None:
    with pytest.raises(ConfigError, match="HEALTH_CHECK_PATH: server.health_path: .*something else there"):
        load({"HEALTH_CHECK_PATH": path})


MISTAKES = {
    "an unknown key": ("turns:\n  join_ms: 1\n  jion_ms: 2\n", "turns.jion_ms", 3, "unknown key"),
    "an unknown section": ("server:\n  port: 1\nturn:\n  join_ms: 1\n", "turn", 3, "unknown key"),
    "out of range": ("server:\n\n  port: 70000\n", "server.port", 3, "70000"),
    "the wrong type": ("# mine\nturns:\n  join_ms: soon\n", "turns.join_ms", 3, "soon"),
    "not a number at all": ("voice:\n  speed: .nan\n", "voice.speed", 2, "nan"),
    "one of a list": (
        "turns:\n graded:\n  low:\n  - {probability: 0, silence_ms: 1}\n  - {probability: 2, silence_ms: 1}\n",
        "turns.graded.low.1.probability",
        5,
        "2",
    ),
    "a rule of two": ("vad:\n  onset: 0.2\n  offset: 0.5\n", "vad", 1, "offset must not be above onset"),
    "a packet longer than the lead": ("playout:\n  duck_lead_ms: 60\n", "playout", 1, "at least two packet_ms"),
    "a packet too long for the wire": ("playout:\n  packet_ms: 150\n", "playout.packet_ms", 2, "133"),
    "no end": ("turns:\n  graded:\n    low: []\n", "turns.graded", 2, "every silence must end the turn"),
    "a section that is a value": ("turns: 5\n", "turns", 1, "5"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, name: str) -> None:
    text, key, line, what = MISTAKES[name]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(path=path)
    message = str(refused.value)
    assert f"{path}:{line}: {key}: " in message
    assert what in message


@pytest.mark.parametrize(
    ("environ", "overrides", "where", "what"),
    [
        ({"VOXTRAL_TURNS__JION_MS": "5"}, {}, "VOXTRAL_TURNS__JION_MS: turns.jion_ms", "unknown key"),
        ({"VOXTRAL_TURNS__JOIN_MS": "-5"}, {}, "VOXTRAL_TURNS__JOIN_MS: turns.join_ms", "-5"),
        ({"VOXTRAL_TURNS__JOIN_MS": "soon"}, {}, "VOXTRAL_TURNS__JOIN_MS: turns.join_ms", "soon"),
        (
            {"VOXTRAL_ENGINES__CONTEXT_TOKENS": "100"},
            {},
            "VOXTRAL_ENGINES__CONTEXT_TOKENS: engines.context_tokens",
            "fewer than 1024 hold no spoken turn and its answer; 0 takes what fits (it is 100)",
        ),
        ({"VOXTRAL_TURNS__JOIN_MS": "[1"}, {}, "VOXTRAL_TURNS__JOIN_MS", "while parsing"),
        ({"VOXTRAL_TURNS__JION_MS": ""}, {}, "VOXTRAL_TURNS__JION_MS: turns.jion_ms", "unknown key"),
        ({"VOXTRAL_SERVER__ORIGINS": "a.example"}, {}, "VOXTRAL_SERVER__ORIGINS: server.origins.0", "a.example"),
        ({"VOXTRAL_LOGGING__LEVEL": "loud"}, {}, "VOXTRAL_LOGGING__LEVEL: logging.level", "loud"),
        ({"VOXTRAL_PORTT": "1"}, {}, "VOXTRAL_PORTT", "unknown variable"),
        ({"VOXTRAL_PROFILE": "tpu"}, {}, "VOXTRAL_PROFILE: engines.profile", "tpu"),
        ({"PORT": "http"}, {}, "PORT: server.port", "http"),
        ({}, {"server__port": 70_000}, "--port: server.port", "70000"),
        ({}, {"voice__name__x": 1}, "--x", "name has no keys of its own"),
    ],
)
def test_a_mistake_elsewhere_is_told_with_the_variable_or_flag(
    environ: dict[str, str], overrides: dict[str, Any], where: str, what: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(environ, **overrides)
    assert str(refused.value).startswith(where)
    assert what in str(refused.value)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("server:\n  port: -1\nturns:\n  join_ms: -1\n")
    with pytest.raises(ConfigError) as refused:
        load(path=path)
    assert len(str(refused.value).splitlines()) == 2


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    for name, text in (("broken.yaml", "a: [1"), ("list.yaml", "- 1\n"), ("missing.yaml", None)):
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            load(path=path)
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing yet\n")
    assert load(path=empty) == load()


def test_settings_do_not_change_once_they_are_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().server.port = 1


def test_every_setting_is_read_somewhere() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py") if path.name != "config.py")
    used_by_name = {"low", "medium", "high"}  # the eagerness that a client names
    models = {key for key, _ in fields() if key.startswith("models.")}  # read by the name of the model
    unread = [
        key
        for key, name in fields()
        if name not in used_by_name and key not in models and not re.search(rf"\.{name}\b", code)
    ]
    assert unread == []
    for key in models - {"models.directory", "models.hub_timeout_s"}:
        assert re.search(rf'"{key.removeprefix("models.")}"', code), key


def test_every_value_in_the_file_has_its_unit_or_reason_beside_or_above_it() -> None:
    lines = config.DEFAULTS.read_text(encoding="utf-8").splitlines()
    bare, covered = [], False
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("#"):
            covered = True  # a comment above covers the block below it
        elif not stripped or not line.startswith(" "):
            covered = False
        elif re.match(r"\w+:", stripped) and "#" not in stripped and not covered and ">-" not in stripped:
            bare.append(stripped)
    assert bare == []
