"""JSON with one spelling: sorted keys, no spaces, no NaN, no repeated keys, a size limit."""

import json
from typing import Any

MAX_JSON_BYTES = 8 << 20


def canonical_json(content: Any) -> bytes:
    """Return the one spelling of `content`; ValueError for NaN and infinity."""
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )
    return text.encode()


def parse_json_object(content: bytes, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Return the object that `content` spells.

    Raises:
        ValueError: It is too long or too deep, is not JSON or not an object, repeats a key, or
            holds NaN.
    """
    if len(content) > max_bytes:
        raise ValueError(f"{len(content)} bytes of JSON, limit {max_bytes}")
    try:
        parsed = json.loads(
            content.decode(), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"JSON is a {type(parsed).__name__}, must be an object")
    return parsed


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("JSON repeats a key")
    return unique


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON holds {name}, must be a finite number")
