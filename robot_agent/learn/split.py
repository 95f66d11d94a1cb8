"""What training never sees: whole episodes, and the last part of the others.

Axis letters: N episodes, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.learn.data import Episodes, chain, subset

_ALONG_TIME = ("images_NTHWC", "states_NTP", "actions_NTA", "openings_NT", "labels_NTA")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Shares that are held out, of each source."""

    episodes: float = 0.0
    """The last episodes: does it predict what it never saw?"""
    time: float = 0.0
    """The last frames of every other episode: does it go on from what it saw?"""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("episodes", self.episodes, 0.0, 0.9)
        require_range("time", self.time, 0.0, 0.9)


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of one source."""

    seen: Episodes
    others: Episodes | None
    """Whole episodes that are held out."""
    later: Episodes | None
    """What follows the seen part of each seen episode, from its last picture on."""


def split(episodes: Episodes, config: SplitConfig, name: str = "data") -> Split:
    """Return what is trained on and what is held out; no picture to predict is in both.

    Raises:
        InputError: There are too few episodes to hold one out and train on one.
    """
    held = held_episodes(len(episodes), config, name)
    kept = len(episodes) - held
    seen = subset(episodes, range(kept))
    others = subset(episodes, range(kept, len(episodes))) if held else None
    if not config.time:
        return Split(seen, others, None)
    frames_N = ((1.0 - config.time) * (seen.lengths_N + 1)).long()
    cuts_N = (frames_N - 1).clamp_min(1)
    return Split(_until(seen, cuts_N), others, _from(seen, cuts_N))


def held_episodes(count: int, config: SplitConfig, name: str) -> int:
    """Return how many of `count` episodes are held out; InputError where none would be left."""
    held = round(count * config.episodes)
    if config.episodes and not 0 < held < count:
        raise InputError(
            f"{name}: {count} episodes, {config.episodes:.0%} of them held out are {held}; must "
            f"be at least 1, with 1 left to train on. Record more, or change the share."
        )
    return held


def held_out_parts(splits: Sequence[Split]) -> dict[str, Episodes]:
    """Return what was held out, by how: `episodes` and `time`, all sources together."""
    ways = {"episodes": [each.others for each in splits], "time": [each.later for each in splits]}
    found = {name: [part for part in parts if part is not None] for name, parts in ways.items()}
    return {name: chain(parts) for name, parts in found.items() if parts}


def _until(episodes: Episodes, cuts_N: Tensor) -> Episodes:
    parts = {**vars(episodes), "lengths_N": torch.minimum(cuts_N, episodes.lengths_N)}
    return Episodes(**parts)


def _from(episodes: Episodes, cuts_N: Tensor) -> Episodes:
    """Return the steps from `cuts_N` on, padded with whatever the last step holds."""
    lengths_N = episodes.lengths_N - cuts_N
    longest = int(lengths_N.max())
    parts: dict[str, Any] = dict(vars(episodes))
    for name in _ALONG_TIME:
        values_NT = parts[name]
        if values_NT is None:
            continue
        count = longest + (values_NT.shape[1] > episodes.actions_NTA.shape[1])
        steps_NT = (cuts_N[:, None] + torch.arange(count)).clamp_max(values_NT.shape[1] - 1)
        parts[name] = values_NT[torch.arange(len(episodes))[:, None], steps_NT]
    return Episodes(**{**parts, "lengths_N": lengths_N})
