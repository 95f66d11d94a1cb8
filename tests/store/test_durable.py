"""What is published was made durable first, in the right order; JSON has one spelling."""

import sys
from pathlib import Path

import pytest

from robot_agent.core.errors import StorageError
from robot_agent.store.durable import (
    make_folder,
    publish_folder,
    replace_file,
    storage_errors,
    write_durably,
)
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.strict_json import canonical_json, parse_json_object
from tests.store.episodes import LOSSLESS, make_episode


def calls_of(action) -> list[str]:
    """Return the calls that decide what survives a power loss, in order."""
    seen: list[str] = []

    def hook(frame, event, function) -> None:
        decides = event == "c_call" and function.__name__ in {"fsync", "rename", "replace"}
        if decides and getattr(function, "__module__", "") == "posix":
            seen.append(function.__name__)

    sys.setprofile(hook)
    try:
        action()
    finally:
        sys.setprofile(None)
    return seen


def test_an_episode_is_synced_before_and_after_its_name_appears(episodes_path: Path):
    store = EpisodeStore(episodes_path, LOSSLESS)
    calls = calls_of(lambda: store.append(make_episode()))
    assert calls == ["fsync", "fsync", "fsync", "rename", "fsync"], (
        "recording, json, folder; then the name; then the folder that holds the name"
    )


def test_each_new_folder_is_synced_into_its_parent(tmp_path: Path):
    assert calls_of(lambda: make_folder(tmp_path / "a/b")) == ["fsync", "fsync"]
    assert calls_of(lambda: make_folder(tmp_path / "a/b")) == ["fsync"], "its maker may be dead"


def test_a_replaced_file_is_synced_before_and_after(tmp_path: Path):
    assert calls_of(lambda: replace_file(tmp_path / "f", b"x")) == ["fsync", "replace", "fsync"]
    assert (tmp_path / "f").read_bytes() == b"x"


def test_a_folder_that_holds_something_is_never_replaced(tmp_path: Path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        write_durably(tmp_path / name / "f", name.encode())
    with pytest.raises(StorageError), storage_errors("publishing", tmp_path):
        publish_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "f").read_bytes() == b"old"


def test_a_storage_error_says_what_failed_and_what_to_do(tmp_path: Path):
    message = r"reading it failed \(No such file.*Check the path"
    with pytest.raises(StorageError, match=message), storage_errors("reading it", tmp_path / "x"):
        (tmp_path / "x").read_bytes()


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": [1, 0.5], "a": "é"}) == '{"a":"é","b":[1,0.5]}'.encode()
    assert parse_json_object(canonical_json({"b": 1})) == {"b": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a":1,"a":2}', "repeats a key"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b"[1]", "must be an object"),
        (b"[" * 200_000, "too deeply|Expecting"),
        (b'{"a":"' + b"x" * 300 + b'"}', "limit 256"),
        (b"\xff", "decode"),
        (b"", "Expecting"),
    ],
)
def test_json_that_is_not_strict_is_refused(content: bytes, message: str):
    limit = 256 if message == "limit 256" else 1 << 20
    with pytest.raises(ValueError, match=message):
        parse_json_object(content, limit)


def test_numbers_that_are_not_numbers_are_never_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})
