"""Which of the devices that were heard the guard listens to; pure."""

from collections.abc import Mapping
from dataclasses import replace

from robot_agent.guard.state import OperatorInput

_MOST = 8
"""Devices that are remembered; a flood of names pushes out the oldest."""

Heard = Mapping[str, OperatorInput]
"""Newest command of each device, by its name."""


def hear(
    heard: Heard, new: OperatorInput, now_ns: int, max_age_ns: int
) -> tuple[Heard, OperatorInput]:
    """Return what is remembered after `new`, and the command that counts.

    One device whose deadman is held and fresh counts; of several, the newest, with its rivals.
    Where none is, one that fell silent while held counts before those at rest, so that its loss is
    seen. A loss is forgotten when another device takes over.
    """
    newest = {**{name: old for name, old in heard.items() if name != new.source}, new.source: new}
    if len(newest) > _MOST:
        newest = dict(sorted(newest.items(), key=lambda item: item[1].stamp_ns)[-_MOST:])
    held = [one for one in newest.values() if one.deadman is True]
    fresh = [one for one in held if now_ns - one.stamp_ns < max_age_ns]
    if fresh:
        newest = {name: one for name, one in newest.items() if one not in held or one in fresh}
        chosen = max(fresh, key=lambda one: one.stamp_ns)
        rivals = tuple(sorted(one.source for one in fresh if one is not chosen))
        return newest, replace(chosen, rivals=rivals)
    return newest, max(held or newest.values(), key=lambda one: one.stamp_ns)
