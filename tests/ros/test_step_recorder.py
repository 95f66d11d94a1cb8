"""Steps are recorded with the picture they were taken from, however late its parts come."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from robot_agent.act.observation import ObservationPairing, PairingConfig
from robot_agent.core.errors import InputError, StorageError
from robot_agent.ros.step_recorder import Accepted, StepRecorder
from robot_agent.store import durable
from robot_agent.store.episode_format import RECORDING_NAME
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recording import STREAM_IMAGE_TOPIC, STREAM_JOINTS_TOPIC, read_recording
from tests.store.episodes import LOSSLESS

MS = 1_000_000
STEP = 200 * MS


class Bench:
    """A recorder whose camera, joints and guard are told one by one; time is an argument."""

    def __init__(self, folder: Path) -> None:
        self.store = EpisodeStore(folder, LOSSLESS)
        self.pairing = ObservationPairing(PairingConfig(kept_pictures=30))
        self.recorder = StepRecorder(self.store, self.pairing)
        self.accepted = 0

    def picture(self, at_ns: int) -> None:
        image = np.full((4, 4, 3), at_ns // STEP % 256, np.uint8)
        self.pairing.add_image(image, at_ns)
        self.recorder.flush(at_ns)

    def joints(self, at_ns: int) -> None:
        self.pairing.add_joints(np.full(6, at_ns * 1e-9), 1.0, at_ns)

    def guard(self, at_ns: int, count: int | None = None) -> None:
        self.accepted = self.accepted + 1 if count is None else count
        action = np.array([0.01, 0, 0, 0, 0, 0, 1.0])
        accepted = Accepted(
            stamp_ns=at_ns, proposed=2 * action, sent=action, weights_version="v1",
            controller="operator", changes=("shortened", "control: operator (pad)"),
        )  # fmt: skip
        self.recorder.on_guard(self.accepted, accepted)

    def both(self, at_ns: int) -> None:
        self.joints(at_ns)
        self.picture(at_ns)


@pytest.fixture
def bench(episodes_path: Path) -> Iterator[Bench]:
    made = Bench(episodes_path)
    made.guard(0, 0)
    made.recorder.start("open the drawer", "kitchen")
    yield made
    made.recorder.close()


def run(bench: Bench, steps: int) -> None:
    for index in range(steps):
        at_ns = STEP * (index + 1)
        bench.both(at_ns)
        bench.guard(at_ns)
    bench.both(STEP * (steps + 1))
    bench.recorder.flush(STEP * (steps + 1))


def test_a_step_says_who_what_why_and_when(bench: Bench):
    run(bench, 3)
    name, folder, problem = bench.recorder.end("success", "a person")
    assert problem == ""
    episode = bench.store.load(name)
    assert episode.num_steps == 3
    assert [int(i[0, 0, 0]) for i in episode.images] == [1, 2, 3, 4]
    assert np.array_equal(episode.proposed, 2 * episode.actions)
    assert set(episode.controllers) == {"operator"}
    steps = read_recording((folder / RECORDING_NAME).read_bytes()).steps
    assert steps[1]["changes"] == ["shortened", "control: operator (pad)"]
    assert steps[1]["accepted_ns"] == 2 * STEP
    assert steps[1]["weights_version"] == "v1"


def test_joints_that_come_behind_the_pictures_are_waited_for(bench: Bench):
    bench.picture(STEP)
    bench.guard(STEP)
    bench.picture(STEP + 33 * MS)
    bench.recorder.flush(STEP + 40 * MS)
    assert bench.recorder.problem == ""
    bench.joints(STEP)
    bench.joints(2 * STEP)
    bench.picture(2 * STEP)
    name, _, problem = bench.recorder.end("success", "a person")
    assert problem == ""
    episode = bench.store.load(name)
    assert episode.stamps_ns.tolist() == [STEP, 2 * STEP]
    assert episode.joints_rad[0, 0] == pytest.approx(0.2)


@pytest.mark.parametrize("missing", ["picture", "joint states"])
def test_what_never_comes_ends_the_recording_with_the_reason(bench: Bench, missing: str):
    run(bench, 2)
    bench.guard(4 * STEP)
    if missing == "picture":
        bench.joints(4 * STEP)
    else:
        bench.picture(4 * STEP)
    bench.recorder.flush(4 * STEP + 1001 * MS)
    assert f"no {missing} came" in bench.recorder.problem
    name, _, problem = bench.recorder.end("failure", "a person")
    assert "no " in problem
    assert bench.store.load(name).num_steps == 1, "what was whole is kept"
    assert bench.store.describe(name).note == problem


def test_a_lost_report_of_the_guard_is_noticed(bench: Bench):
    run(bench, 2)
    bench.guard(4 * STEP, bench.accepted + 3)
    assert bench.recorder.problem == "2 reports of the guard were lost"


def test_a_disk_that_fills_up_stops_the_recording_and_says_so(bench: Bench, monkeypatch):
    run(bench, 3)

    def full(folder: Path, *_: int) -> None:
        raise StorageError(f"{folder}: 0.000 GB free")

    monkeypatch.setattr("robot_agent.store.episode_writer.require_free_space", full)
    bench.both(5 * STEP)
    bench.guard(5 * STEP)
    bench.both(6 * STEP)
    assert "GB free" in bench.recorder.problem
    bench.guard(6 * STEP)  # the arm goes on
    monkeypatch.setattr(
        "robot_agent.store.episode_writer.require_free_space", durable.require_free_space
    )
    name, _, problem = bench.recorder.end("failure", "a person")
    assert "GB free" in problem
    assert bench.store.load(name).num_steps == 2, "what was whole is kept"


def test_streams_lie_beside_the_steps_and_readers_of_steps_do_not_see_them(bench: Bench):
    for number in range(30):
        at_ns = STEP + number * 33 * MS
        bench.joints(at_ns)
        bench.recorder.add_stream_joints(b"\x00\x01\x00\x00" + bytes(40), at_ns)
        image = np.full((4, 4, 3), number, np.uint8)
        bench.recorder.add_stream_image(image, at_ns)
        bench.pairing.add_image(image, at_ns)
        if number % 6 == 0:
            bench.guard(at_ns)
        bench.recorder.flush(at_ns)
    name, folder, problem = bench.recorder.end("success", "a person")
    assert problem == ""
    assert bench.store.load(name).num_steps == 4, "the fifth has no picture at its end"
    with (folder / RECORDING_NAME).open("rb") as file:
        summary = make_reader(file).get_summary()
    counts = summary.statistics.channel_message_counts
    named = {channel.topic: counts[channel.id] for channel in summary.channels.values()}
    assert named[STREAM_IMAGE_TOPIC] == named[STREAM_JOINTS_TOPIC] == 30
    bench.recorder.add_stream_image(np.zeros((4, 4, 3), np.uint8), 10**12)  # none is open


def test_two_episodes_at_once_and_ends_of_none_are_refused(bench: Bench):
    with pytest.raises(InputError, match="is open; end it first"):
        bench.recorder.start("close the drawer", "")
    bench.recorder.discard()
    for end in (bench.recorder.discard, lambda: bench.recorder.end("success", "me")):
        with pytest.raises(InputError, match="no episode is open"):
            end()
