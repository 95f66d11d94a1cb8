"""What is wrong with an arm is refused at configuration, and the log says how to mend it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from interbotix_xs_msgs.msg import JointGroupCommand
from rclpy.qos import QoSProfile

from robot_agent.ros.calls import ACTIVATE, CLEAN_UP, CONFIGURE, INACTIVE, UNCONFIGURED
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, NodeProcess
from robot_agent.ros.up import Agent
from tests.ros.arm_rig import nodes
from tests.ros.running import until

pytestmark = pytest.mark.slow


def _agent(folder: Path, domain_id: int, namespace: str = "wx250s", **guard: object) -> Agent:
    """Return processes that nobody configures yet."""
    emulator, node = nodes(folder, **guard)
    bare = NodeProcess(name=node.name, parameters=node.parameters)
    options = AgentOptions(folder=folder, is_simulated=False, namespace=namespace)
    return Agent(options, [emulator, bare], domain_id=domain_id)


@pytest.fixture(scope="module")
def agent(ros_domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with _agent(tmp_path_factory.mktemp("arm"), ros_domain_id) as running:
        yield running


@pytest.fixture
def client(agent: Agent) -> AgentClient:
    assert agent.client is not None
    client = agent.client
    if client.calls.state_of("arm_guard", 30.0) == INACTIVE:  # a test before this one failed
        client.calls.change_state("arm_guard", CLEAN_UP)
    return client


def _refusal(agent: Agent, client: AgentClient) -> str:
    """Configure, expect failure, and return what the log says about it."""
    log = agent.log_path("arm_guard")
    before = len(log.read_text())
    client.calls.state_of("arm_guard", 30.0)
    assert not client.calls.change_state("arm_guard", CONFIGURE)
    assert client.calls.state_of("arm_guard") == UNCONFIGURED
    return log.read_text()[before:]


@pytest.mark.parametrize(
    ("component", "kind", "argument", "words"),
    [
        ("driver", "wrong", 0.0, ("a wx250s has waist", "robot_model:=wx250s")),
        ("wrist_angle", "off", 0.0, ("wrist_angle: no answer", "cable")),
        ("shoulder_shadow", "off", 0.0, ("shoulder_shadow: no answer", "cable")),
        (
            "elbow.Velocity_Limit",
            "wrong",
            200.0,
            ("elbow: Velocity_Limit is 200, wanted at most 131", "load_configs:=true"),
        ),
        ("waist.ID", "wrong", 11.0, ("waist: ID is 11, wanted 1", "motor_configs")),
        ("gripper.Shutdown", "wrong", 0.0, ("gripper: Shutdown is 0, wanted 52",)),
        ("waist.Firmware_Version", "wrong", 30.0, ("wanted at least 38", "Dynamixel Wizard")),
    ],
)
def test_a_wrong_arm_is_refused_with_the_remedy(
    agent: Agent,
    client: AgentClient,
    component: str,
    kind: str,
    argument: float,
    words: tuple[str, ...],
) -> None:
    client.calls.call("sim/inject", component=component, kind=kind, argument=argument)
    told = _refusal(agent, client)
    _mend(client, component)
    for word in words:
        assert word in told


_GOOD = {
    "elbow.Velocity_Limit": 131.0,
    "waist.ID": 1.0,
    "gripper.Shutdown": 52.0,
    "waist.Firmware_Version": 45.0,
}


def _mend(client: AgentClient, component: str) -> None:
    kind = "wrong" if component in _GOOD else "ok"
    argument = _GOOD.get(component, 0.0)
    client.calls.call("sim/inject", component=component, kind=kind, argument=argument)


def test_a_second_commander_is_refused_with_the_remedy(agent: Agent, client: AgentClient) -> None:
    assert client.calls.change_state("arm_guard", CONFIGURE)
    rogue = client.node.create_publisher(
        JointGroupCommand, "commands/joint_group", QoSProfile(depth=1)
    )
    until(lambda: client.node.count_publishers("commands/joint_group") == 2, 5.0, "the rogue")

    def is_refused() -> bool:  # at first for want of joint states
        assert not client.calls.change_state("arm_guard", ACTIVATE)
        return "2 nodes publish arm commands" in agent.log_path("arm_guard").read_text()

    until(is_refused, 10.0, "the refusal")
    client.node.destroy_publisher(rogue)
    assert client.calls.change_state("arm_guard", CLEAN_UP)


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        ({"use_sim_time": True}, ("use_sim_time is true", "driver:=simulated")),
        ({"time_factor": 2.0}, ("time_factor 2.0, must be", "driver:=simulated")),
    ],
)
def test_a_simulated_clock_on_a_real_arm_is_refused(
    ros_domain_id: int, tmp_path: Path, guard: dict[str, object], words: tuple[str, ...]
) -> None:
    with _agent(tmp_path, ros_domain_id, "another", **guard) as running:
        assert running.client is not None
        told = _refusal(running, running.client)
    for word in words:
        assert word in told
