"""Settings as text: a file's yaml and in which line a key stands, one key from elsewhere, all of it merged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's takes a tenth of the time


class ConfigError(Exception):
    """The settings cannot be used; the message says where and why."""


def read(path: Path, origins: dict[str, str]) -> dict[str, Any]:
    """What the file says; `origins` learns where each dotted key stands. Raises ConfigError."""
    try:
        node, data = _parsed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected sections such as `turns:`, found {type(data).__name__}")
    _locate(node, "", path, origins)
    return data


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """The document as yaml's nodes and as plain data. Raises YAMLError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


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


def parse(text: str, name: str, kind: object) -> object:
    """A value of the type `kind` (as pydantic has it, None where nothing is known) that stands alone in `name`.

    What is text stays as it is: ": " or "# " are no yaml there, and "no" is a language. A list of texts may be yaml or
    separated by commas. Raises ConfigError that blames `name`.
    """
    if _is_text(kind):
        return None if text == "null" and NoneType in get_args(kind) else text
    if get_origin(kind) is tuple and _is_text(get_args(kind)[0]) and not text.lstrip().startswith(("[", "- ")):
        return [each.strip() for each in text.split(",")]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {error}") from None


def _is_text(kind: object) -> bool:
    """Nothing but texts fit the type, and perhaps null."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _is_text(inside[0])
    if origin is Literal:
        return all(isinstance(each, str) for each in inside)
    if origin in (Union, UnionType):
        return all(each is NoneType or _is_text(each) for each in inside)
    return isinstance(kind, type) and issubclass(kind, (str, Path))
