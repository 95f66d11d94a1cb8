"""Which start frames an iteration of practice begins from."""

from collections.abc import Sequence

import numpy as np

from robot_agent.learn.imagine import Start


def shares_of(starts: int, worlds: int, iteration: int) -> list[int]:
    """Split the start frames over the worlds; what does not divide goes to each in turn."""
    each, rest = divmod(starts, worlds)
    return [each + ((i + iteration) % worlds < rest) for i in range(worlds)]


def draw_starts(starts: Sequence[Start], count: int, rng: np.random.Generator) -> list[Start]:
    """Draw start frames, the instructions in equal shares."""
    by_task: dict[int, list[Start]] = {}
    for start in starts:
        by_task.setdefault(start.instruction_id, []).append(start)
    tasks = sorted(by_task)
    chosen = [tasks[i % len(tasks)] for i in range(count)]
    return [by_task[task][rng.integers(len(by_task[task]))] for task in chosen]
