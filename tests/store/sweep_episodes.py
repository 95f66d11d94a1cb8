"""The sweep over the system calls of the episode store; prints JSON.

`python -m tests.store.sweep_episodes KIND SHARE FAULT ...`: KIND is store or naive.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from robot_agent.store import episode_store
from tests.store.power_loss_episodes import commit_in_place, live, problems
from tests.store.system_call_sweep import sweep


def live_naive(folder: Path, acknowledge: Callable[[str], None]) -> None:
    sound, episode_store.publish_folder = episode_store.publish_folder, commit_in_place
    try:
        live(folder, acknowledge)
    finally:
        episode_store.publish_folder = sound


if __name__ == "__main__":
    lives = {"store": live, "naive": live_naive}
    found = sweep(lives[sys.argv[1]], problems, sys.argv[3:], int(sys.argv[2]))
    sys.stdout.write(json.dumps(found))
