"""Starts the weights of a registry as the policy node does; run by test_boot.py.

    python -m tests.release.boot_once RELEASES [DEADLY]

Prints what acts. Loading the release called DEADLY kills the process.
"""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from robot_agent.core.errors import RobotAgentError
from robot_agent.release.weights import ReleaseWeights


def main(releases: str, deadly: str = "") -> int:
    def load(bundle: Path) -> Any:
        if bundle.name == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return SimpleNamespace(version=bundle.name)

    try:
        sys.stdout.write(ReleaseWeights(Path(releases), load).boot().version)
    except RobotAgentError as error:
        sys.stderr.write(str(error))
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
