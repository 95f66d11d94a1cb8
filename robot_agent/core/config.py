"""Frozen dataclasses from YAML: unknown keys, wrong types and bad ranges are refused by path."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from robot_agent.core.errors import ConfigError

Config = TypeVar("Config")


def load_config(
    kind: type[Config], paths: Sequence[Path] = (), overrides: Sequence[str] = ()
) -> Config:
    """Return `kind` from YAML files laid one over the other and `a.b=c` overrides.

    Args:
        kind: A frozen dataclass; its defaults hold where no file speaks.
        paths: YAML files, later ones win key by key.
        overrides: Texts like `grpo.clip_low=0.1`; the value is read as YAML.

    Raises:
        ConfigError: Names the path, the value, the limit and a suggestion.
    """
    merged: dict[str, Any] = {}
    name = kind.__name__
    for path in paths:
        name = path.name
        _lay_over(merged, _read_yaml(path), name)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"--set {override}: expected key=value, for example a.b=3.")
        nested: Any = yaml.safe_load(text)
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        _lay_over(merged, nested, "--set")
        name = name if paths else "--set"
    return build(kind, merged, name)


def build(kind: type[Config], values: Mapping[str, Any], path: str) -> Config:
    """Return the dataclass `kind` from nested mappings; errors begin with `path`."""
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(known)}."
            raise ConfigError(f"{path}: unknown key '{key}'.{hint}")
    arguments = {
        key: _convert(hints[key], value, f"{path}.{key}") for key, value in values.items()
    }
    missing = [
        f.name
        for f in known.values()
        if f.name not in arguments
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{path}: missing key '{missing[0]}'. Add it to the file.")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def require_range(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Raise ValueError unless low <= value <= high; NaN is refused. For `__post_init__`."""
    if not low <= value <= high:
        raise ValueError(f"{name}={value} is outside [{low}, {high}] {unit}".rstrip())


def to_plain(config: Any) -> dict[str, Any]:
    """Return a config as nested plain values, ready for YAML or JSON."""
    return typing.cast("dict[str, Any]", _plain(dataclasses.asdict(config)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold keys and values, got {type(content).__name__}.")
    return content


def _lay_over(below: dict[str, Any], above: Mapping[str, Any], path: str) -> None:
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(key), dict):
            _lay_over(below[key], value, f"{path}.{key}")
        else:
            below[key] = dict(value) if isinstance(value, Mapping) else value


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}: expected keys and values, got {value!r}.")
        return build(typing.cast("type[Any]", hint), value, path)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _convert(options[0], value, path)
    if origin is tuple:
        return _convert_tuple(typing.get_args(hint), value, path)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            allowed = ", ".join(map(str, typing.get_args(hint)))
            raise ConfigError(f"{path}: '{value}' is not one of {allowed}.")
        return value
    return _convert_scalar(hint, value, path)


def _convert_tuple(items: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}: expected a list, got {value!r}.")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ConfigError(f"{path}: expected {len(items)} values, got {len(value)}.")
    pairs = enumerate(zip(items, value, strict=True))
    return tuple(_convert(item, entry, f"{path}[{i}]") for i, (item, entry) in pairs)


def _convert_scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigError(f"{path}: expected {hint.__name__}, got {value!r}.")
    return value
