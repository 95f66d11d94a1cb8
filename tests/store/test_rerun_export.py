"""An episode for the Rerun viewer, where its package is there; a clear error where it is not."""

import sys

import pytest

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.store.exchange import ExportOptions
from robot_agent.store.rerun_export import export_rerun
from tests.store.episodes import make_episode


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ConfigError, match="pip install rerun-sdk"):
        export_rerun([make_episode()], tmp_path / "out", ExportOptions())
    assert not (tmp_path / "out").exists()


def test_reruns_own_reader_finds_every_moment(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (CONTRIBUTING, other readers)")
    from rerun.chunk import RrdReader

    done = export_rerun(
        [make_episode("a", steps=4), make_episode("b", steps=2, stamps=False)],
        tmp_path / "out",
        ExportOptions(codec="png"),
    )
    assert (done.episodes, done.steps) == (2, 6)
    rows: dict[str, int] = {}
    for chunk in RrdReader(tmp_path / "out" / "a.rrd").stream():
        rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    assert rows["/camera"] == 5
    assert rows["/tool"] == 5
    assert rows["/control"] == 4
    assert rows["/sent"] == rows["/proposed"] == 5, "four actions and the names of their axes"
    with pytest.raises(InputError, match="must be new"):
        export_rerun([make_episode()], tmp_path / "out", ExportOptions())
