"""Shadow and probation over real DDS: what is worse, slow or unsafe goes by itself."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from robot_agent_interfaces.msg import ActionProposal, OperatorCommand

from robot_agent.core.clock import SystemClock
from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient
from robot_agent.ros.episodes import EpisodeOrder, EpisodeReport
from robot_agent.ros.up import Agent
from tests.ros.conftest import stub_agent
from tests.ros.running import until, wait_for_actions

TASK = "open the drawer"
CHUNK, SHADOW_STEPS = 5, 20


@pytest.fixture
def agent(ros_domain_id: int, tmp_path: Path) -> Iterator[Agent]:
    """An agent of each test alone: a promotion that was cut short would show in the next."""
    with stub_agent(ros_domain_id, tmp_path) as running:
        yield running


@pytest.fixture
def proposals(client: AgentClient) -> list[Any]:
    """Every proposal from now on."""
    seen: list[Any] = []
    subscription = client.node.create_subscription(
        ActionProposal, topics.PROPOSAL, seen.append, topics.EVENTS
    )
    yield seen
    client.node.destroy_subscription(subscription)


@pytest.fixture
def events(agent: Agent) -> Path:
    """What the stub's registry was told."""
    path = Path(agent.options.releases_folder) / "events"
    path.unlink(missing_ok=True)
    return path


def run(client: AgentClient, outcome: str = "success", steps: int = CHUNK) -> EpisodeReport:
    """Run one episode whose outcome a person says."""
    order = EpisodeOrder(
        instruction=TASK,
        max_steps=steps,
        is_simulated=False,
        is_recorded=False,
        judge=lambda: outcome,
    )
    report = client.episodes.run(order)
    if report.outcome == "abort" and not report.steps and client.episodes.revive_simulation():
        report = client.episodes.run(order)  # a busy machine had starved the driver in between
    assert report.outcome == outcome, report
    return report


def arm(client: AgentClient, version: str, acting: str = "v1") -> None:
    """Promote `version` and let it watch until it may act."""
    assert "shadow, 0 of 4 observations" in client.promote(version)
    for _ in range(3):  # a busy machine may let the shadow drop what it sees
        assert run(client, steps=SHADOW_STEPS).weights_version == acting
        client.episodes.repeats_start()  # waits for the newest report
        if client.policy_status.stage == "armed":
            return
    pytest.fail(f"{version} is not armed: {client.policy_status.stage_message}")


def test_a_candidate_goes_through_shadow_and_probation_and_stays(
    client: AgentClient, proposals: list[Any], events: Path
) -> None:
    arm(client, "v4")
    assert {proposal.weights_version for proposal in proposals} == {"v1"}, "the shadow acted"
    acted = []
    for outcome in ("success", "failure") * 2:
        report = run(client, outcome)
        acted.append(report.weights_version)
    assert acted == ["v4", "v1", "v4", "v1"]
    assert report.proving.startswith("v4: GOOD, not worse than the previous: 2/2 against 0/2")
    assert run(client).weights_version == "v4"
    told = events.read_text().splitlines()
    assert [line.split()[0] for line in told if not line.startswith("note")] == [
        "activate",
        "prove",
    ]
    assert told[-1].endswith("approved by simulation")
    report = json.loads(next(t for t in told if "shadow ends" in t).split("shadow ends ")[1])
    assert report["passed"] is True
    assert "divergence" in report["divergence"]
    assert client.roll_back("test") == "v1"


def test_worse_weights_are_rolled_back_by_themselves(
    client: AgentClient, proposals: list[Any]
) -> None:
    arm(client, "v5")
    for _ in range(3):
        assert run(client, "failure").weights_version == "v5"
        last = run(client, "success")
        assert last.weights_version == "v1"
    assert "v5: rolled back, worse than the previous: 0/3 against 3/3" in last.proving
    proposals.clear()
    assert run(client).weights_version == "v1"
    assert {proposal.weights_version for proposal in proposals} == {"v1"}


def test_a_slow_candidate_delays_no_tick_and_is_refused(client: AgentClient, events: Path) -> None:
    before = client.policy_status.starved_ticks
    run(client, steps=6 * CHUNK)
    alone = client.policy_status.starved_ticks - before
    client.promote("late")
    before = client.policy_status.starved_ticks
    report = run(client, steps=6 * CHUNK)
    beside = client.policy_status.starved_ticks - before
    assert (report.weights_version, report.message) == ("v1", "")
    assert beside <= alone + 1, f"{beside} ticks starved, {alone} without a shadow"
    until(lambda: "reject late" in events.read_text(), 5.0, "late is refused")
    assert "shadow: inference takes" in events.read_text()
    assert "late: refused" in client.policy_status.stage_message


def test_a_candidate_with_numbers_that_are_none_never_acts(
    client: AgentClient, events: Path
) -> None:
    client.promote("wild")
    assert run(client, steps=2 * CHUNK).weights_version == "v1"
    until(lambda: "reject wild" in events.read_text(), 3.0, "wild is refused")
    assert "finite is 1 answers not" in events.read_text()
    assert run(client).weights_version == "v1"


def versions_after(proposals: list[Any], version: str) -> list[str]:
    """Return who proposed, in order, from the first proposal of `version` on."""
    names = [name for name, _ in itertools.groupby(p.weights_version for p in proposals)]
    return names[names.index(version) :]


def test_a_takeover_on_probation_rolls_back_before_the_next_action(
    client: AgentClient, proposals: list[Any], events: Path
) -> None:
    arm(client, "v6")
    operator = client.node.create_publisher(OperatorCommand, topics.OPERATOR, topics.COMMAND)
    clock = SystemClock()
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(run, client, steps=6 * CHUNK)
        wait_for_actions(client, client.guard_state.accepted + 2, episode)
        assert client.policy_status.active_version == "v6"
        count = len(proposals)
        for _ in range(5):
            message = OperatorCommand(stamp_ns=clock.now_ns(), source="test", deadman=True)
            operator.publish(message)
            clock.sleep_until(clock.now_ns() + 50_000_000)
        report = episode.result(30.0)
    client.node.destroy_publisher(operator)
    assert versions_after(proposals, "v6") == ["v6", "v1"]
    late = [p for p in proposals[count:] if p.weights_version == "v6"]
    assert len(late) <= 2, "the chunk went on after the takeover"
    assert report.weights_version == "v1"
    assert "roll_back v6 safety event: takeover" in events.read_text()


def test_a_stop_on_probation_rolls_back_and_stays_latched(
    client: AgentClient, events: Path
) -> None:
    arm(client, "v7")
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(
            client.run_task, TASK, max_steps=30, is_simulated=False, is_recorded=False
        )
        wait_for_actions(client, client.guard_state.accepted + 2, episode)
        client.stop()
        assert episode.result(20.0).outcome == "abort"
    until(lambda: "roll_back v7" in events.read_text(), 3.0, "v7 is out")
    assert "safety event: operator_stop" in events.read_text()
    until(lambda: client.policy_status.active_version == "v1", 2.0, "v1 acts")
    assert client.guard_state.latched, "weights touched the latch"
