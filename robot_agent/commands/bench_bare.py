"""The bare session of `bench policy`: the same weights in a process that does nothing else."""

import json
import sys
from pathlib import Path

from robot_agent.core.clock import Stopwatch, SystemClock

_PICTURE_PX = (480, 640, 3)
"""Of the simulated camera that the node looks through."""


def main() -> int:
    """Infer at a pace and print the times [ms]: BUNDLE COUNT SECONDS."""
    import numpy as np

    from robot_agent.compose import load_policy
    from robot_agent.core.types import Observation
    from robot_agent.core.wx250s import NEUTRAL_RAD

    folder, count, pause_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    policy, clock = load_policy(folder), SystemClock()
    image = np.random.default_rng(0).integers(0, 256, _PICTURE_PX).astype(np.uint8)
    observation = Observation(image, np.array(NEUTRAL_RAD), 1.0, 0)
    policy.reset("open the drawer", 0)
    policy.act(observation)
    times = []
    for _ in range(count):
        clock.sleep_until(clock.now_ns() + round(pause_s * 1e9))
        watch = Stopwatch()
        policy.act(observation)
        times.append(watch.seconds() * 1e3)
    sys.stdout.write(json.dumps(times))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
