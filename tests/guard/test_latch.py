"""The latch on disk: whole or not at all, and never forgotten."""

import json
import os

import pytest

from robot_agent.core.errors import StorageError
from robot_agent.guard import latch
from robot_agent.guard.reactions import REACTIONS

_STOPS = tuple(cause for cause, row in REACTIONS.items() if row.kind == "stop")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "guard" / "latch.json"


def test_without_a_file_nothing_is_latched(path):
    assert latch.load(path) == ()


@pytest.mark.parametrize("latched", [(), ("operator_stop",), _STOPS])
def test_what_is_saved_comes_back(path, latched):
    latch.save(path, ("guard_fault",))
    latch.save(path, latched)
    assert latch.load(path) == latched
    assert [entry.name for entry in path.parent.iterdir()] == ["latch.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "0",
        '"x"',
        '{"latched": []}',
        '{"schema_version": 2, "latched": []}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "latched": "operator_stop"}',
        '{"schema_version": 1, "latched": ["starved"]}',
        '{"schema_version": 1, "latched": ["new"]}',
        '{"schema_version": 1, "latched": [1]}',
    ],
)
def test_a_file_that_is_not_understood_is_a_stop(path, content):
    path.parent.mkdir()
    path.write_text(content)
    assert latch.load(path) == latch.UNREADABLE
    assert set(latch.UNREADABLE) <= set(_STOPS)


def test_a_file_of_noise_and_a_folder_are_a_stop(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\x00\xfe" * 99)
    assert latch.load(path) == latch.UNREADABLE
    path.unlink()
    path.mkdir()
    assert latch.load(path) == latch.UNREADABLE


def test_cut_at_every_byte_the_file_is_a_stop_or_whole(path):
    latch.save(path, ("operator_stop",))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert latch.load(path) in (latch.UNREADABLE, ("operator_stop",))
    assert json.loads(whole)["schema_version"] == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_at_any_step_leaves_the_old_latch_and_says_so(path, call, monkeypatch):
    latch.save(path, ("operator_stop",))

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "replace":
        monkeypatch.setattr(type(path), "replace", broken)
    else:
        monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        latch.save(path, ())
    assert "the arm stays stopped" in str(caught.value)
    assert latch.load(path) == ("operator_stop",)


def test_file_and_folder_are_synced_around_the_rename(path, monkeypatch):
    done = []
    fsync, replace = os.fsync, type(path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("sync"), fsync(fd)))
    monkeypatch.setattr(
        type(path), "replace", lambda old, new: (done.append("rename"), replace(old, new))[1]
    )
    latch.save(path, ("operator_stop",))
    assert done == ["sync", "rename", "sync"]
