"""The real policy node over the real registry; weights are the stub's, steps follow the version.

A bundle `v0003-...` moves the tool by 3 mm.
"""

import sys
from pathlib import Path

from stub_policy_node import StubPolicy  # beside this script

from robot_agent.release.weights import ReleaseWeights
from robot_agent.ros import policy
from robot_agent.ros.policy_config import PolicyConfig


def load_policy(bundle: Path) -> StubPolicy:
    return StubPolicy(bundle.name, {"step_m": 0.001 * int(bundle.name[1:5])})


def make_weights(config: PolicyConfig) -> ReleaseWeights:
    return ReleaseWeights(Path(config.releases), load_policy)


if __name__ == "__main__":
    raise SystemExit(policy.main(make_weights, sys.argv[1:]))
