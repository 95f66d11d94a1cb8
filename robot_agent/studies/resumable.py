"""What studies share: parts that are done once, and tables of success with intervals."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from robot_agent.core.errors import ConfigError
from robot_agent.evaluate.outcomes import Comparison
from robot_agent.evaluate.statistics import count_pairs, paired_difference, wilson_interval
from robot_agent.store.durable import make_folder, replace_file, storage_errors

Say = Callable[[int, str], None]
"""Called with the parts that are finished and a few words."""
Tell = Callable[[str], None]
"""Called with a few words."""
Key = tuple[Any, ...]
"""(seed, scene, instruction, start state): what two arms are paired on."""
Outcomes = Mapping[str, Mapping[Key, bool]]
"""Arm to what came of each of its trials."""


def once(done: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `done` holds; made, and written whole, the first time.

    A part of a study that was killed is made again, from whatever it kept itself.
    """
    if done.exists():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return found
    made = make()
    with storage_errors("writing a part of a study", done):
        make_folder(done.parent)
        replace_file(done, json.dumps(made, indent=1).encode())
    return made


def require_same(path: Path, order: Mapping[str, Any]) -> None:
    """Refuse to go on in the folder of a study that was asked for otherwise.

    Raises:
        ConfigError: Names what differs; finished parts would not fit those to come.
    """
    wanted = json.loads(json.dumps(order))
    before = once(path, lambda: wanted)
    wrong = sorted(k for k in {**before, **wanted} if before.get(k) != wanted.get(k))
    if wrong:
        raise ConfigError(
            f"{path}: {', '.join(wrong)} differ from those of the study there, must be equal to "
            f"go on. Ask for the same again, or choose another --out."
        )


def outcomes_of(comparison: Comparison, seed: int) -> dict[str, dict[Key, bool]]:
    """Return the outcomes of every policy; aborts are none."""
    found: dict[str, dict[Key, bool]] = {name: {} for name in comparison.policies}
    for record in comparison.records:
        if record.outcome != "abort":
            key = (seed, record.scene, record.instruction, record.seed)
            found[record.policy][key] = record.success
    return found


def rate_of(outcomes: Mapping[Key, bool], keys: Iterable[Key]) -> dict[str, Any]:
    """Return successes, trials and the Wilson interval over `keys`, and successes by seed."""
    chosen = list(keys)
    successes = sum(outcomes[key] for key in chosen)
    seeds = sorted({key[0] for key in chosen})
    return {
        "successes": successes,
        "trials": len(chosen),
        "interval": list(wilson_interval(successes, len(chosen))),
        "by_seed": [sum(outcomes[k] for k in chosen if k[0] == seed) for seed in seeds],
    }


def difference_of(
    ours: Mapping[Key, bool], base: Mapping[Key, bool], keys: Iterable[Key]
) -> dict[str, Any] | None:
    """Return by how many points `ours` succeeds more often on shared starts; None without any."""
    shared = [key for key in keys if key in ours and key in base]
    if not shared:
        return None
    found = paired_difference(count_pairs((ours[key], base[key]) for key in shared))
    return {
        "points": 100.0 * found.difference,
        "interval": [100.0 * end for end in found.interval],
        "p": found.p,
    }
