"""The real policy node over the real registry; weights are the stub's, steps follow the version.

A bundle `v0003-...` moves the tool by 3 mm. In a folder with a file `deadly`, loading the bundle
that it names kills the process, as a driver or a full memory may.
"""

import os
import signal
import sys
from pathlib import Path

from robot_agent.ros import policy
from robot_agent.ros.weights import ReleaseWeights
from tests.ros.stub_policy_node import StubPolicy


def load_policy(bundle: Path) -> StubPolicy:
    deadly = bundle.parents[1] / "deadly"
    if deadly.exists() and deadly.read_text() == bundle.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return StubPolicy(bundle.name, {"step_m": 0.001 * int(bundle.name[1:5])})


def make_weights(releases: Path) -> ReleaseWeights:
    return ReleaseWeights(releases, load_policy)


if __name__ == "__main__":
    raise SystemExit(policy.main(make_weights, sys.argv[1:]))
