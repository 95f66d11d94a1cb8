"""What is no episode of this arm, or no episode at all, is refused in words; nothing is lost."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.store import recording
from robot_agent.store.episode_format import INFO_NAME, info_to_json
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.exchange import ExportOptions
from robot_agent.store.lerobot_export import export_lerobot
from robot_agent.store.recovery import recover
from robot_agent.store.rlds import export_rlds
from tests.store.episodes import LOSSLESS, make_episode


@pytest.fixture
def store(episodes_path) -> EpisodeStore:
    made = EpisodeStore(episodes_path, LOSSLESS)
    made.append(make_episode("ours"))
    return made


def test_an_episode_of_another_convention_is_named_and_left_alone(store):
    info = replace(store.describe("ours"), action_space="joint_position_6d")
    (store.folder / "ours" / INFO_NAME).write_bytes(info_to_json(info))
    with pytest.raises(EpisodeFormatError, match="another arm or convention"):
        store.load("ours")
    (entry,) = recover(store, check_all=True).entries
    assert entry.action == "foreign"
    assert (store.folder / "ours").is_dir()


def test_the_joints_of_another_arm_are_said_to_be(store, monkeypatch):
    monkeypatch.setattr(recording, "JOINT_NAMES", tuple(f"panda_joint{k}" for k in range(1, 7)))
    store.append(make_episode("panda"))
    monkeypatch.undo()
    with pytest.raises(EpisodeFormatError, match=r"panda_joint1.*another arm's"):
        store.load("panda")
    (entry,) = recover(store, check_all=True).entries
    assert (entry.folder, entry.action) == ("panda", "quarantined")
    assert list(store.list()) == ["ours"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89MCAP0\r\n", b"{}"])
def test_a_file_that_calls_itself_an_episode_is_none(store, content):
    (store.folder / "letter").write_bytes(content)
    foreign = store.folder / "folder"
    foreign.mkdir()
    (foreign / INFO_NAME).write_bytes(content)
    assert list(store.list()) == ["ours"]
    for name in ("letter", "folder"):
        with pytest.raises(EpisodeFormatError):
            store.load(name)
    actions = {entry.folder: entry.action for entry in recover(store).entries}
    assert actions["folder"] in ("foreign", "quarantined")
    assert (store.folder / "letter").read_bytes() == content
    assert store.load("ours").num_steps == 3


def test_an_unsafe_name_never_leaves_the_store(store):
    for name in ("../ours", "/etc/passwd", ".windows", "a/b", ""):
        with pytest.raises(InputError, match="must be 1 to 100"):
            store.load(name)


@pytest.mark.parametrize("export", [export_lerobot, export_rlds])
def test_a_data_set_of_mixed_sizes_is_refused_before_it_looks_whole(tmp_path, export):
    episodes = [make_episode("a", size=(16, 16)), make_episode("b", size=(16, 32))]
    with pytest.raises(InputError, match="must be of one size"):
        export(episodes, tmp_path / "out", ExportOptions())


def test_how_much_of_a_cut_recording_was_lost_is_said(store):
    path = store.folder / "ours" / "episode.mcap"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    (entry,) = recover(store, check_all=True).entries
    assert entry.action == "quarantined"
    assert "of its steps can still be read, the last" in entry.detail
    cut = recording.read_recording(content[: len(content) // 2])
    assert 0 < cut.lost_bytes < len(content) // 2
    assert f"{cut.num_steps} of its steps" in entry.detail
    assert recording.read_recording(content).lost_bytes == 0


QUIET = """
import json, sys
touched = []
sys.addaudithook(lambda event, _: touched.append(event) if event.startswith("socket.") else None)
from pathlib import Path
from robot_agent.evaluate.episode_page import write_episode_page
from robot_agent.store.clip_exchange import export_clips
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.exchange import ExportOptions
from robot_agent.store.lerobot_export import export_lerobot
from robot_agent.store.recovery import recover
from robot_agent.store.rlds import export_rlds
from tests.store.episodes import LOSSLESS, make_episode
folder = Path(sys.argv[1])
store = EpisodeStore(folder / "episodes", LOSSLESS)
store.append(make_episode("e", steps=4, size=(32, 32)))
recover(store, check_all=True)
write_episode_page(folder / "e.html", store.load("e"))
for export in (export_lerobot, export_rlds, export_clips):
    export([store.load("e")], folder / export.__name__, ExportOptions())
print(json.dumps(touched))
"""


def test_nothing_leaves_the_machine_while_recording_showing_and_exporting(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == []
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http://www.w3.org/", ""), "a page asks for nothing"
