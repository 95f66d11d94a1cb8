"""The ledger: what adaptations promised, what judges and worlds they never saw said, what came.

One run folder is one adaptation. Its gains are of the weights that act at its end over those that
acted at its start, from the records that each round leaves durable, and nothing is guessed: what a
run did not record is named.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.evaluate.statistics import CONFIDENCE, Interval, wilson_interval
from robot_agent.learn.journal import RoundRecord, RunFolder

_LEAST_RUNS = 3
"""Two points always lie on a line."""
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True)
class Gain:
    """A difference of success rates, after less before."""

    gain: float
    interval: Interval
    """95 %."""
    trials: int
    """Rollouts or episodes after; as many or more were before."""
    by: str
    """Who judged, and where."""


@dataclass(frozen=True)
class Adaptation:
    """One run, as the ledger shows it."""

    folder: str
    scene: str
    rounds: int
    version: str
    """Weights that act at the end; empty when none came of it."""
    predicted: Gain | None = None
    """Imagined, by the judge that was the reward."""
    held_out: Gain | None = None
    """Imagined by a world model, and judged by a judge, that never trained the weights."""
    measured: Gain | None = None
    """In real or simulated episodes."""
    missing: tuple[str, ...] = field(default=())
    """What the run did not record, in words."""


def read_ledger(root: Path) -> list[Adaptation]:
    """Return every adaptation below a folder, by name of its run folder.

    Raises:
        EpisodeFormatError: A record is damaged; names it.
    """
    folders = sorted({path.parent for path in root.rglob("round_0.json")})
    return [adaptation_of(folder, RunFolder(folder).load_rounds()) for folder in folders]


def adaptation_of(folder: Path, records: Sequence[RoundRecord]) -> Adaptation:
    """Return one run's line of the ledger."""
    acted = [record for record in records if record.version_after]
    missing = [] if acted else ["no round brought weights that act"]
    predicted = _sum([_predicted(record) for record in acted], "training judge, finetuned worlds")
    held_out = _sum([_held_out(record) for record in acted], "held-out judge, held-out world")
    measured = _truth(folder) or _measured(records)
    if acted:
        for gain, words in (
            (predicted, "predicted gain: an older run, without counts of its rollouts"),
            (held_out, "held-out gain: an older run, or its gate did not come that far"),
            (measured, "measured gain: no real episodes with the new weights"),
        ):
            missing += [words] if gain is None else []
    return Adaptation(
        folder=str(folder),
        scene=_scene(folder),
        rounds=len(records),
        version=acted[-1].version_after if acted else "",
        predicted=predicted if acted else None,
        held_out=held_out if acted else None,
        measured=measured if acted else None,
        missing=tuple(missing),
    )


def difference(after: tuple[int, int], before: tuple[int, int], by: str) -> Gain | None:
    """Return the gain of (successes, trials) after over before; None without trials of either.

    Source: R. G. Newcombe, Interval estimation for the difference between independent
    proportions, Statistics in Medicine 17 (1998) 873-890, method 10.
    """
    if not after[1] or not before[1]:
        return None
    (p, p_low, p_high), (q, q_low, q_high) = (
        (s / n, *wilson_interval(s, n)) for s, n in (after, before)
    )
    low = p - q - math.hypot(p - p_low, q_high - q)
    high = p - q + math.hypot(p_high - p, q - q_low)
    return Gain(p - q, (low, high), after[1], by)


def pearson(pairs: Iterable[tuple[float, float]]) -> dict[str, Any]:
    """Return {r, interval, runs}; r is None with fewer than three runs or without any spread.

    The interval is that of Fisher's z, tanh(atanh r -+ 1.96 / sqrt(n - 3)); None below four runs.
    Source: R. A. Fisher, On the probable error of a coefficient of correlation, Metron 1 (1921).
    """
    x, y = np.array(list(pairs), np.float64).reshape(-1, 2).T
    count = len(x)
    if count < _LEAST_RUNS or not x.std() or not y.std():
        return {"r": None, "interval": None, "runs": count}
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1.0, 1.0))
    if count == _LEAST_RUNS or abs(r) == 1.0:
        return {"r": r, "interval": None, "runs": count}
    half = _Z / math.sqrt(count - 3)
    z = math.atanh(r)
    return {"r": r, "interval": [math.tanh(z - half), math.tanh(z + half)], "runs": count}


def ledger_json(adaptations: Sequence[Adaptation]) -> dict[str, Any]:
    """Return plain values: `runs`, `pearson` of predicted and measured gain, and the others."""

    def between(first: str, second: str) -> dict[str, Any]:
        both = ((getattr(a, first), getattr(a, second)) for a in adaptations)
        return pearson((x.gain, y.gain) for x, y in both if x is not None and y is not None)

    predicted = between("predicted", "measured")
    return {
        "runs": [asdict(adaptation) for adaptation in adaptations],
        "pearson": predicted["r"],
        "correlations": {
            "predicted, measured": predicted,
            "held_out, measured": between("held_out", "measured"),
            "predicted, held_out": between("predicted", "held_out"),
        },
    }


def _predicted(record: RoundRecord) -> Gain | None:
    tasks = sorted(record.imagined_after.keys() & record.imagined_before.keys())
    count = record.imagined_trials * len(tasks)
    if not count:
        return None
    rates = [
        sum(rates[task] for task in tasks) / len(tasks)
        for rates in (record.imagined_after, record.imagined_before)
    ]
    after, before = ((round(rate * count), count) for rate in rates)
    return difference(after, before, "")


def _held_out(record: RoundRecord) -> Gain | None:
    found = record.held_out
    if not found:
        return None
    gain, half = found["candidate"] - found["base"], _Z * found["standard_error"]
    return Gain(gain, (gain - half, gain + half), int(found["trials"]), "")


def _sum(gains: Sequence[Gain | None], by: str) -> Gain | None:
    """Return the gain of rounds in a row: gains add up, and independent half widths by squares."""
    known = [gain for gain in gains if gain is not None]
    if not known or len(known) < len(gains):
        return None
    total = sum(gain.gain for gain in known)
    down = math.hypot(*(gain.gain - gain.interval[0] for gain in known))
    up = math.hypot(*(gain.interval[1] - gain.gain for gain in known))
    return Gain(total, (total - down, total + up), min(gain.trials for gain in known), by)


def _measured(records: Sequence[RoundRecord]) -> Gain | None:
    """Return the last weights' real episodes less the first's, by who judged them then."""
    if not records:
        return None
    last = records[-1]
    after = last.final_outcomes
    if not after and len(records) > 1:
        after = last.real_outcomes
    return difference(_count(after), _count(records[0].real_outcomes), "held-out judge, real")


def _count(outcomes: Sequence[bool | None]) -> tuple[int, int]:
    known = [outcome for outcome in outcomes if outcome is not None]
    return sum(known), len(known)


def _truth(folder: Path) -> Gain | None:
    """Return what a demo measured by the simulator's state, when the run is of one."""
    content = _read(folder.parents[1] / "demo.json") if len(folder.parents) > 1 else None
    if not isinstance(content, Mapping) or "new_after" not in content:
        return None
    after, before = (
        (int(content[key]["successes"]), int(content[key]["trials"]))
        for key in ("new_after", "new_before")
    )
    return difference(after, before, "simulator's state, paired trials")


def _scene(folder: Path) -> str:
    order = _read(folder / "order.json")
    return str(order.get("scene", "")) if isinstance(order, Mapping) else ""


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EpisodeFormatError(f"{path}: is no JSON ({error}). Move it away.") from error
