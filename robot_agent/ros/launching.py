"""The description of the processes as a launch description; needs launch and launch_ros."""

import sys
from pathlib import Path
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.launch_description import LaunchDescription
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState

from robot_agent.ros import environment
from robot_agent.ros.calls import ACTIVATE, CONFIGURE
from robot_agent.ros.description import AgentOptions, NodeProcess, processes

_RETRY_S = 0.5
_ARGUMENTS = {
    "namespace": ("wx250s", "Name of the robot; all names are below it."),
    "folder": ("runs/up", "Logs, latch, and by default episodes and releases."),
    "store": ("", "Episode store; empty is FOLDER/episodes."),
    "releases": ("", "Release registry; empty is FOLDER/releases."),
    "limits_file": ("", "YAML of the guard's limits; empty keeps the coded ones."),
    "promotion_file": ("", "YAML of what new weights must show; empty keeps the coded values."),
}
_SIM_ARGUMENTS = {
    "scene": ("home", "Simulated scene."),
    "seed": ("0", "Seed of the simulated world."),
    "time_factor": ("1.0", "Simulated time over wall time."),
}


def agent_launch(*, is_simulated: bool) -> Any:
    """Return a LaunchDescription with the declared arguments and every process."""
    arguments = _ARGUMENTS | (_SIM_ARGUMENTS if is_simulated else {})
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]
    variables = [SetEnvironmentVariable(*item) for item in environment.variables().items()]

    def make(context: Any) -> list[Any]:
        values = {name: context.launch_configurations[name] for name in arguments}
        return _actions(options_from(values, is_simulated=is_simulated))

    return LaunchDescription([*declared, *variables, OpaqueFunction(function=make)])


def options_from(values: dict[str, str], *, is_simulated: bool) -> AgentOptions:
    """Return the options that launch arguments, all text, stand for."""
    return AgentOptions(
        is_simulated=is_simulated,
        namespace=values["namespace"],
        folder=Path(values["folder"]),
        store=Path(values["store"]) if values["store"] else None,
        releases=Path(values["releases"]) if values["releases"] else None,
        limits_file=values["limits_file"],
        promotion_file=values["promotion_file"],
        scene=values.get("scene", "home"),
        seed=int(values.get("seed", "0")),
        time_factor=float(values.get("time_factor", "1.0")),
    )


def _actions(options: AgentOptions) -> list[Any]:
    """Return the nodes; each lifecycle node is configured when it starts and then activated.

    A process that dies is started again and stays unconfigured: a person brings it up.
    """
    actions: list[Any] = []
    for described in processes(options):
        node = _node(described, options.namespace)
        actions.append(node)
        if described.is_lifecycle:
            actions += _bring_up(node)
    return actions


def _node(described: NodeProcess, namespace: str) -> Any:
    kind = LifecycleNode if described.is_lifecycle else Node
    return kind(
        executable=sys.executable,
        arguments=[*described.module, described.name],
        name=described.name,
        namespace=namespace,
        parameters=[dict(described.parameters)],
        output="both",
        respawn=True,
        respawn_delay=1.0,
        respawn_max_retries=3,
    )


def _bring_up(node: Any) -> list[Any]:
    def change(transition: int) -> Any:
        return EmitEvent(
            event=ChangeState(
                lifecycle_node_matcher=matches_action(node), transition_id=transition
            )
        )

    starts: list[Any] = []

    def configure_once(event: Any, context: Any) -> list[Any]:
        del event, context
        starts.append(node)
        return [change(CONFIGURE)] if len(starts) == 1 else []

    return [
        RegisterEventHandler(OnProcessStart(target_action=node, on_start=configure_once)),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state="configuring",
                goal_state="inactive",
                entities=[change(ACTIVATE)],
            )
        ),
        # Refused while what it needs, such as joint states, has not come yet.
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state="activating",
                goal_state="inactive",
                entities=[TimerAction(period=_RETRY_S, actions=[change(ACTIVATE)])],
            )
        ),
    ]
