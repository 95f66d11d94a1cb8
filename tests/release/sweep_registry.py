"""The sweep over the system calls of registry and publisher; prints JSON.

`python -m tests.release.sweep_registry KIND SHARE FAULT ...`: KIND is registry or naive.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.release.power_loss_registry import NaiveRegistry, live, problems
from tests.store.system_call_sweep import sweep


def live_naive(folder: Path, acknowledge: Callable[[str], None]) -> None:
    live(folder, acknowledge, NaiveRegistry)


if __name__ == "__main__":
    lives = {"registry": live, "naive": live_naive}
    found = sweep(lives[sys.argv[1]], problems, sys.argv[3:], int(sys.argv[2]))
    sys.stdout.write(json.dumps(found))
