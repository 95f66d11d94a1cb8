"""The description of the processes as launch descriptions; needs launch and launch_ros."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessStart, OnShutdown
from launch.events import matches_action
from launch.launch_description import LaunchDescription
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState

from robot_agent.ros import environment, launch_parts
from robot_agent.ros.calls import ACTIVATE, CONFIGURE
from robot_agent.ros.description import (
    AgentOptions,
    NodeProcess,
    calibration_processes,
    farewell,
    processes,
)
from robot_agent.ros.launch_arguments import Argument, arguments_of, options_from

_RETRY_S = 0.5
_DISCOVERY_S, _MOST_TRIES = 4.0, 4
"""A process that was started again is asked once it has been found: a request that reaches only
its dead predecessor is never answered, and each keeps a thread of launch waiting."""


def agent_launch(*, is_simulated: bool) -> Any:
    """Return the launch description of the whole agent."""

    def make(values: Mapping[str, str]) -> list[Any]:
        options = options_from(values, is_simulated=is_simulated)
        parts = (
            launch_parts.arm_description(options.namespace)
            if is_simulated
            else _body(options, values)
        )
        parts += launch_parts.device_driver(options.teleop, options.namespace, "joy")
        return [*parts, *_nodes(processes(options), options)]

    return _described(arguments_of("sim" if is_simulated else "agent"), make)


def calibration_launch() -> Any:
    """Return the launch description of driver, camera and guard alone."""

    def make(values: Mapping[str, str]) -> list[Any]:
        options = options_from(values, is_simulated=False)
        say = LogInfo(
            msg=f"when the guard is active, in another shell: robot-agent calibrate hand-eye "
            f"--namespace {options.namespace}   (robot-agent calibrate --help lists the others)"
        )
        nodes = _nodes(calibration_processes(options), options)
        return [*_body(options, values), *nodes, say]

    return _described(arguments_of("calibrate"), make)


def teleop_launch() -> Any:
    """Return the launch description of an operator's device beside a running agent."""

    def make(values: Mapping[str, str]) -> list[Any]:
        parameters = {"device": values["device"], "layout": values["layout"]}
        options = AgentOptions(namespace=values["namespace"], params_file=values["params_file"])
        drivers: list[Any] = []
        if values["start_driver"] == "true":
            drivers = launch_parts.device_driver(
                values["device"], options.namespace, values["layout"]
            )
        node = _node(NodeProcess(name="teleop", parameters=parameters), options)
        return [*drivers, node]

    return _described(arguments_of("teleop"), make)


def _described(arguments: Mapping[str, Argument], make: Any) -> Any:
    """Return declared arguments, the environment of the nodes, and what `make` returns."""
    declared = [
        DeclareLaunchArgument(
            name,
            default_value=argument.default,
            description=argument.says,
            choices=list(argument.choices) or None,
        )
        for name, argument in arguments.items()
    ]
    variables = [SetEnvironmentVariable(*item) for item in environment.variables().items()]

    def made(context: Any) -> list[Any]:
        return list(make({name: context.launch_configurations[name] for name in arguments}))

    return LaunchDescription([*declared, *variables, OpaqueFunction(function=made)])


def _body(options: AgentOptions, values: Mapping[str, str]) -> list[Any]:
    """Return the driver and, where Intel's node reads the camera, that node."""
    environment.require_robot()
    parts = []
    if values["driver"] == "xsarm_control":
        parts.append(launch_parts.arm_driver(options.namespace, values["load_configs"]))
    if options.camera == "realsense2_camera":
        parts.append(launch_parts.realsense_node(options))
    return parts


def _nodes(described: Sequence[NodeProcess], options: AgentOptions) -> list[Any]:
    """Return the nodes; lifecycle nodes come up one after the other, in the order given."""
    actions: list[Any] = []
    before: _BringUp | None = None
    for one in described:
        node = _node(one, options)
        actions.append(node)
        if one.is_lifecycle:
            before = _BringUp(node, before)
            actions += before.handlers()
    say = LogInfo(msg=farewell(options))
    return [*actions, RegisterEventHandler(OnShutdown(on_shutdown=[say]))]


def _node(described: NodeProcess, options: AgentOptions) -> Any:
    kind = LifecycleNode if described.is_lifecycle else Node
    files = [options.params_file] if options.params_file else []
    return kind(
        executable=sys.executable,
        arguments=[*described.module, described.name],
        name=described.name,
        namespace=options.namespace,
        parameters=[dict(described.parameters), *files],
        output="both",
        respawn=True,
        respawn_delay=1.0,
        respawn_max_retries=3,
    )


class _BringUp:
    """Configures and activates a node once the one before it is active.

    A process that dies after that is started again, configured and left inactive: what made it
    die may still be there, so a person activates it.
    """

    def __init__(self, node: Any, before: "_BringUp | None") -> None:
        self._node, self._before = node, before
        self._is_started = self._is_configured = self._is_up = False
        self._tries = 0
        self._after: _BringUp | None = None
        if before is not None:
            before._after = self

    def handlers(self) -> list[Any]:
        """Return what listens to the node's process and states."""
        return [
            RegisterEventHandler(OnProcessStart(target_action=self._node, on_start=self._started)),
            self._when("configuring", "inactive", self._configured),
            # Refused while what it needs, such as joint states, has not come yet.
            self._when("activating", "inactive", self._refused),
            self._when("activating", "active", self._activated),
        ]

    def _when(self, start: str, goal: str, react: Any) -> Any:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=self._node,
                start_state=start,
                goal_state=goal,
                entities=[OpaqueFunction(function=react)],
            )
        )

    def _change(self, transition: int) -> Any:
        return EmitEvent(
            event=ChangeState(
                lifecycle_node_matcher=matches_action(self._node), transition_id=transition
            )
        )

    def _started(self, event: Any, context: Any) -> list[Any]:
        del event, context
        is_again, self._is_started = self._is_started, True
        self._is_configured, self._tries = False, 0
        return [self._later()] if is_again else self._configure_when_due()

    def _later(self) -> Any:
        return TimerAction(period=_DISCOVERY_S, actions=[OpaqueFunction(function=self._again)])

    def _again(self, context: Any) -> list[Any]:
        del context
        self._tries += 1
        if self._is_configured or self._tries > _MOST_TRIES:
            return []
        return [*self._configure_when_due(), self._later()]

    def _configure_when_due(self) -> list[Any]:
        is_due = self._is_started and (self._before is None or self._before._is_up)
        return [self._change(CONFIGURE)] if is_due else []

    def _configured(self, context: Any) -> list[Any]:
        del context
        self._is_configured = True
        return [] if self._is_up else [self._change(ACTIVATE)]

    def _refused(self, context: Any) -> list[Any]:
        del context
        again = TimerAction(period=_RETRY_S, actions=[self._change(ACTIVATE)])
        return [] if self._is_up else [again]

    def _activated(self, context: Any) -> list[Any]:
        del context
        is_first, self._is_up = not self._is_up, True
        return self._after._configure_when_due() if is_first and self._after is not None else []
