"""Settings as yaml: what a file says and in which line, one key from elsewhere put in, all of it merged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class ConfigError(Exception):
    """The settings cannot be used; the message says where and why."""


def read(path: Path, origins: dict[str, str]) -> dict[str, Any]:
    """What the file says; `origins` learns where each dotted key stands. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text)
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected sections such as `turns:`, found {type(data).__name__}")
    _locate(node, "", path, origins)
    return data


def _locate(node: yaml.Node | None, prefix: str, path: Path, origins: dict[str, str]) -> None:
    """Remember the line of every key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            dotted = f"{prefix}{key.value}"
            origins[dotted] = f"{path}:{key.start_mark.line + 1}"
            _locate(value, f"{dotted}.", path, origins)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            origins[f"{prefix}{index}"] = f"{path}:{value.start_mark.line + 1}"
            _locate(value, f"{prefix}{index}.", path, origins)


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    """`over` wins, key by key."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def put(data: dict[str, Any], dotted: str, value: object, origin: str, origins: dict[str, str]) -> None:
    """Set one dotted key, which `origin` says. Raises ConfigError where it runs through a value."""
    *sections, key = dotted.split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise ConfigError(f"{origin}: {section} has no keys of its own")
    data[key] = value
    origins[dotted] = origin


def parse(text: str, name: str) -> object:
    """A value as yaml has it. Raises ConfigError that blames `name`."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {error}") from None
