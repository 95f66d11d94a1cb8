"""Runs one node by name: the composition root of the processes.

python -m robot_agent.node arm_guard --ros-args -r __ns:=/wx250s
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from robot_agent.core.errors import ConfigError

NAMES = (
    "sim_world",
    "camera",
    "arm_guard",
    "policy",
    "recorder",
    "adaptation",
    "teleop",
    "xs_emulator",
    "camera_frames",
)


def run(name: str, arguments: Sequence[str]) -> int:
    """Run the node called `name` until it is told to end; return the exit status.

    Raises:
        ConfigError: No node has this name; lists them.
    """
    words = [name, *arguments]
    run_node: Callable[[Sequence[str]], int]
    match name:
        case "policy":
            run_node = _policy
        case "sim_world":
            from robot_agent.ros import sim_world

            run_node = sim_world.main
        case "camera":
            from robot_agent.ros import camera

            run_node = camera.main
        case "arm_guard":
            from robot_agent.ros import arm_guard

            run_node = arm_guard.main
        case "recorder":
            from robot_agent.ros import recorder

            run_node = recorder.main
        case "adaptation":
            from robot_agent.ros import adaptation

            run_node = adaptation.main
        case "teleop":
            from robot_agent.ros import teleop

            run_node = teleop.main
        case "camera_frames":
            from robot_agent.ros import camera_frames

            run_node = camera_frames.main
        case "xs_emulator":
            from robot_agent.ros import xs_emulator

            words, run_node = ["xs_sdk", *arguments], xs_emulator.main
        case _:
            raise ConfigError(f"node '{name}' is unknown. Choose one of: {', '.join(NAMES)}.")
    return run_node(words)


def _policy(words: Sequence[str]) -> int:
    from robot_agent.compose import ensure_releases, load_policy
    from robot_agent.ros import policy
    from robot_agent.ros.weights import ReleaseWeights

    def make_weights(releases: Path, shipped: str) -> ReleaseWeights:
        ensure_releases(releases, shipped)  # a first start, by `ros2 launch`, has none
        return ReleaseWeights(releases, load_policy)

    return policy.main(make_weights, words)


def policy() -> int:
    """Run the policy node with the arguments of this process; for the console script."""
    return _policy(sys.argv)


def main() -> int:
    """Run the node that the first argument names."""
    if len(sys.argv) < 2:
        sys.stderr.write(f"usage: python -m robot_agent.node {{{','.join(NAMES)}}} ...\n")
        return 2
    return run(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    raise SystemExit(main())
