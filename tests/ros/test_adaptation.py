"""The adaptation node around a learner that speaks as told; real nodes below it."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from robot_agent.ros.adapt_session import AdaptOrder, AdaptSession
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions
from robot_agent.ros.episodes import EpisodeOrder
from robot_agent.ros.up import Agent
from robot_agent.store.episode_store import EpisodeStore
from tests.ros.running import HERE, stub_releases, until, with_stub

TASKS = ("open the drawer", "close the drawer")
LEARNER = str(HERE / "fake_learner.py")


@pytest.fixture(scope="module")
def agent(ros_domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent whose adaptation node starts a learner that works."""
    folder = tmp_path_factory.mktemp("agent")
    options = AgentOptions(
        folder=folder, releases=stub_releases(folder / "releases"), camera_size_px=(160, 120)
    )
    nodes = [
        replace(
            node,
            parameters={
                **node.parameters,
                "learner": (sys.executable, LEARNER, "work"),
                "episode_steps": 5,
            },
        )
        if node.name == "adaptation"
        else node
        for node in with_stub(options)
    ]
    with Agent(options, nodes, domain_id=ros_domain_id) as running:
        yield running


class Watched(AdaptSession):
    """Remembers instruction and seed of every episode, and what was said."""

    def _episode(self, instruction: str, seed: int) -> EpisodeOrder:
        self.starts = [*getattr(self, "starts", []), (instruction, seed)]
        return super()._episode(instruction, seed)


def session(client: AgentClient, mode: str, events: list[Any], **changes: Any) -> Watched:
    """Return a session beside the node's, with the same calls and another learner."""
    order = AdaptOrder(
        scene="home",
        instructions=("open the drawer",),
        budget_minutes=changes.pop("budget_minutes", 2.0),
        max_real_episodes=changes.pop("max_real_episodes", 2),
        run_folder="run",
        store="store",
        releases="releases",
        is_simulated=True,
        episode_steps=5,
    )
    return Watched(
        calls=client.calls,
        order=order,
        on_progress=events.append,
        is_cancelled=changes.pop("is_cancelled", lambda: False),
        log=changes.pop("log", lambda line: None),
        command=[sys.executable, LEARNER, mode],
    )


def test_an_adaptation_collects_promotes_and_reports(agent: Agent, client: AgentClient) -> None:
    stages: list[str] = []
    result = client.adapt(
        "home",
        ["open the drawer"],
        budget_minutes=2.0,
        max_real_episodes=3,
        on_feedback=lambda feedback: stages.append(feedback.stage),
    )
    assert result.success, result.message
    assert (result.version, result.report_path) == ("v3", "report.html")
    assert stages[0] == "begin"
    assert stages[-1] == "gate"
    episodes = EpisodeStore(agent.options.store_folder)
    episode = episodes.load(episodes.list()[-1])
    assert set(episode.weights_versions) == {"v2"}, "collected with the version asked for"
    assert episode.num_steps == 5
    assert episode.scene == "home"
    until(lambda: client.policy_status.active_version == "v3", 5.0, "v3 acts")
    until(lambda: client.guard_state.mode in ("idle", "hold"), 2.0, "the arm holds")


def test_a_budget_that_is_not_sensible_is_refused(client: AgentClient) -> None:
    from robot_agent.core.errors import ArmFaultError

    with pytest.raises(ArmFaultError, match="refused"):
        client.adapt("home", [], budget_minutes=-1.0, max_real_episodes=3)


def test_the_episodes_that_a_round_collects_are_the_pairs_of_a_probation(
    client: AgentClient,
) -> None:
    """One observation in an episode of five steps: four of them are the shadow."""
    said: list[str] = []
    running = session(client, "prove", [], max_real_episodes=12, log=said.append)
    outcome = running.run()
    assert outcome.success, outcome.message
    assert "shadow, 0 of 4 observations; 12" in outcome.message
    acted = [line.split(", ")[1].split()[0] for line in said if line.startswith("episode ")]
    first = acted.index("v4")
    assert 4 <= first <= 6, acted
    assert acted == ["v1"] * first + ["v4", "v1"] * 3 + ["v4"] * (6 - first)
    for pair in range(3):
        one, other = running.starts[first + 2 * pair : first + 2 * pair + 2]
        assert one == other, "a pair must begin alike"
    assert len({running.starts[first + 2 * pair] for pair in range(3)}) == 3
    assert {task for task, _ in running.starts[first : first + 6]} == set(TASKS)
    assert any("v4: GOOD, not worse than the previous: 0/3 against 0/3" in line for line in said)
    assert client.roll_back("test") == "v1"


def test_cancel_ends_the_learner_within_five_seconds(client: AgentClient) -> None:
    events: list[Any] = []
    cancel = threading.Event()
    running = session(client, "hang", events, is_cancelled=cancel.is_set)
    threading.Timer(0.3, cancel.set).start()
    outcome = running.run()
    assert not outcome.success
    assert "cancelled" in outcome.message
    assert running.watch.seconds() < 5.5


def test_a_learner_over_its_budget_is_ended(client: AgentClient) -> None:
    outcome = session(client, "hang", [], budget_minutes=0.01).run()
    assert "budget 0.0 min" in outcome.message


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("die", "ended with status 3 before it was done"),
        ("babble", "must be a JSON object"),
        ("greedy", "more than 2 real episodes"),
    ],
)
def test_a_learner_that_misbehaves_is_said_in_words(
    client: AgentClient, mode: str, words: str
) -> None:
    outcome = session(client, mode, []).run()
    assert not outcome.success
    assert words in outcome.message


def test_the_learner_is_started_with_the_agreed_command() -> None:
    order = AdaptOrder(
        scene="kitchen",
        instructions=("a", "b"),
        budget_minutes=12.5,
        max_real_episodes=40,
        resume=True,
        run_folder="run",
        store="store",
        releases="releases",
        is_simulated=True,
        episode_steps=30,
    )
    words = " ".join(order.command()[1:])
    assert words == (
        "-m robot_agent.cli adapt --source pipe --run run --store store --releases releases "
        "--scene kitchen --instruction a --instruction b --budget-minutes 12.5 "
        "--max-real-episodes 40 --resume"
    )
