"""The recorder in its own process: what it keeps, and that it never holds up the arm."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions
from robot_agent.ros.up import Agent
from robot_agent.store.episode_format import RECORDING_NAME
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recording import STREAM_IMAGE_TOPIC, STREAM_JOINTS_TOPIC
from tests.ros.running import stub_releases, until, wait_for_actions, with_stub


@pytest.fixture(scope="module")
def agent(ros_domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent that records streams."""
    folder = tmp_path_factory.mktemp("agent")
    options = AgentOptions(
        folder=folder,
        releases=stub_releases(folder / "releases"),
        camera_size_px=(160, 120),
        camera_hz=20.0,
        streams=True,
    )
    nodes = with_stub(options, leave_out=("adaptation",))
    with Agent(options, nodes, domain_id=ros_domain_id) as running:
        yield running


def test_streams_hold_more_than_the_steps_and_any_reader_decodes_them(
    agent: Agent, client: AgentClient
):
    report = client.run_task("open the drawer", seed=1, max_steps=8)
    store = EpisodeStore(agent.options.store_folder)
    episode = store.load(report.episode_id)
    found = {STREAM_IMAGE_TOPIC: 0, STREAM_JOINTS_TOPIC: 0}
    with (store.folder / report.episode_id / RECORDING_NAME).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages(topics=list(found)):
            found[channel.topic] += 1
            if channel.topic == STREAM_JOINTS_TOPIC:
                assert "waist" in message.name
            else:
                assert bytes(message.data[:2]) == b"\xff\xd8"
    assert found[STREAM_IMAGE_TOPIC] > 1.5 * episode.num_steps
    assert found[STREAM_JOINTS_TOPIC] > found[STREAM_IMAGE_TOPIC]


def test_a_recorder_that_hangs_does_not_hold_up_the_arm(agent: Agent, client: AgentClient):
    pid = agent.pid("recorder")
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(client.run_task, "open the drawer", seed=1, max_steps=25)
        wait_for_actions(client, 3, task)
        os.kill(pid, signal.SIGSTOP)
        try:
            before = client.guard_state.accepted
            until(lambda: client.guard_state.accepted >= before + 8, 5.0, "the arm goes on")
            assert client.guard_state.mode == "active"
            assert not client.guard_state.latched
        finally:
            os.kill(pid, signal.SIGCONT)
        report = task.result(60.0)
    assert report.steps == 25
