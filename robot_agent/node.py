"""Runs one node by name: the composition root of the processes.

python -m robot_agent.node arm_guard --ros-args -r __ns:=/wx250s
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.release.remote_weights import RemoteWeights
    from robot_agent.release.road import Weights
    from robot_agent.ros.policy_config import PolicyConfig

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
    words = ["xs_sdk" if name == "xs_emulator" else name, *arguments]
    if name == "policy":
        return _policy(words)
    if name not in NAMES:
        raise ConfigError(f"node '{name}' is unknown. Choose one of: {', '.join(NAMES)}.")
    return int(import_module(f"robot_agent.ros.{name}").main(words))


def _policy(words: Sequence[str]) -> int:
    from robot_agent.compose import ensure_releases, load_policy
    from robot_agent.release.weights import ReleaseWeights
    from robot_agent.ros import policy

    def make_weights(config: "PolicyConfig") -> "Weights":
        if config.server:
            return remote_weights(config)
        releases = Path(config.releases)
        ensure_releases(releases, config.shipped)  # a first start, by `ros2 launch`, has none
        return ReleaseWeights(releases, load_policy)

    return policy.main(make_weights, words)


def remote_weights(config: "PolicyConfig") -> "RemoteWeights":
    """Return the policy that `config.server` serves, as what a node runs instead of releases.

    Raises:
        ConfigError: The address or the token file cannot be used.
    """
    from robot_agent.models.remote_link import RemoteLink, parse_address
    from robot_agent.models.remote_policy import RemoteConfig
    from robot_agent.models.wire import read_token
    from robot_agent.release.remote_weights import RemoteWeights

    host, port = parse_address(config.server)
    remote = RemoteConfig(
        host=host,
        port=port,
        token=read_token(Path(config.token_file)) if config.token_file else "",
        connect_s=config.max_inference_s,
        answer_s=config.max_inference_s,
    )
    return RemoteWeights(lambda: RemoteLink(remote))


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
