"""What the study found, beside what the paper reports."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from robot_agent.learn.ledger import pearson
from robot_agent.models.tiny_team import TWIN_INSTRUCTIONS
from robot_agent.studies.resumable import Key, difference_of, rate_of

BASE = "SFT"
SOURCE = (
    "World-Gymnast, arXiv 2602.02454, tables 1 to 3 and sections 4.2 to 4.5; +- standard error"
)
_OPEN, _CLOSE, _BASKET, _SINK = TWIN_INSTRUCTIONS
_PAPER_1: Mapping[str, tuple[str, str, str, str]] = {
    "SFT": ("40 +- 10", "62 +- 6", "8 +- 4", "4 +- 4"),
    "Iter-SFT": ("30 +- 10", "60 +- 8", "17 +- 17", "10 +- 3"),
    "RL in the trainer's simulator": ("34 +- 7", "74 +- 5", "40 +- 10", "32 +- 10"),
    "RL in the world model": ("58 +- 4", "62 +- 6", "78 +- 2", "72 +- 10"),
}
"""On a real robot, AutoEval, 50 trials a task in groups of 10 [%]: open, close, basket, sink."""
_PAPER_2 = {
    "SFT": "58 +- 4",
    "RL in the world model": "74 +- 3",
    "with distractors": "78 +- 2",
    "with new instructions": "81 +- 1",
    "with more tasks": "81 +- 4",
}
"""Within the paper's own world model, by the judge that was the reward; no robot [%]."""
PAPER: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "1": {arm: dict(zip(TWIN_INSTRUCTIONS, row, strict=True)) for arm, row in _PAPER_1.items()},
    "2": {arm: {"in its world model": value} for arm, value in _PAPER_2.items()},
    "3, close": {
        "SFT": {_CLOSE: "62 +- 6"},
        "close, one frame": {_CLOSE: "100 +- 0", "others": "not reported: degrade"},
    },
    "4": {"SFT": {_CLOSE: "62 +- 6"}, "round 3": {_CLOSE: "95"}},
}
"""Experiment to arm to what the paper has for it; nothing where it has nothing."""


class Found:
    """What came of one experiment: outcomes of its arms, and what their training recorded."""

    def __init__(self, others: Sequence[str]) -> None:
        """Name the tasks, `scene: instruction`, that only show what was forgotten."""
        self._others = set(others)
        self._outcomes: dict[str, dict[Key, bool]] = {}
        self._records: list[Mapping[str, Any]] = []

    def add(
        self, trials: Mapping[str, Mapping[Key, bool]], records: Iterable[Mapping[str, Any]]
    ) -> None:
        """Take the trials and records of one seed."""
        for arm, outcomes in trials.items():
            self._outcomes.setdefault(arm, {}).update(outcomes)
        self._records.extend(records)

    def summary(self, experiment: str, group: int) -> dict[str, Any]:
        """Return success by arm and task, differences to SFT, records, and the paper's numbers.

        Args:
            experiment: Its name in `PAPER`.
            group: Trials of one group, for AutoEval's standard error.
        """
        return {
            "arms": {arm: self._arm(trials, group) for arm, trials in self._outcomes.items()},
            "less SFT": {
                arm: self._less(trials, self._outcomes.get(BASE, {}))
                for arm, trials in self._outcomes.items()
                if arm != BASE
            },
            "records": self._records,
            "paper": PAPER.get(experiment, {}),
            "source": SOURCE,
        }

    def _parts(self, trials: Mapping[Key, bool]) -> dict[str, list[Key]]:
        """Return the keys of all tasks in one, and of those that show forgetting."""
        tasks = _tasks(list(trials))
        wanted = [key for name, own in tasks.items() if name not in self._others for key in own]
        others = [key for name, own in tasks.items() if name in self._others for key in own]
        return {"all": wanted, "others": others} if others else {"all": wanted}

    def _arm(self, trials: Mapping[Key, bool], group: int) -> dict[str, Any]:
        found: dict[str, Any] = {n: rate_of(trials, k) for n, k in self._parts(trials).items()}
        found["tasks"] = {
            task: {**rate_of(trials, own), "groups": groups_of(trials, own, group)}
            for task, own in _tasks(list(trials)).items()
        }
        return found

    def _less(self, trials: Mapping[Key, bool], base: Mapping[Key, bool]) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: difference_of(trials, base, keys) for name, keys in self._parts(trials).items()
        }
        found["tasks"] = {
            task: difference_of(trials, base, own) for task, own in _tasks(list(trials)).items()
        }
        return found


def _tasks(keys: Sequence[Key]) -> dict[str, list[Key]]:
    """Return the keys of each task, those of one place together."""
    named: dict[str, list[Key]] = {}
    for key in keys:
        named.setdefault(f"{key[1]}: {key[2]}", []).append(key)
    return named


def groups_of(trials: Mapping[Key, bool], keys: Sequence[Key], size: int) -> dict[str, Any]:
    """Return the mean of whole groups of trials and its standard error, as AutoEval reports.

    None where there are too few.
    """
    num = len(keys) // size
    rates = np.array([trials[key] for key in keys][: num * size], float).reshape(num, size)
    means = rates.mean(axis=1)
    return {
        "groups": num,
        "mean": float(means.mean()) if num else None,
        "standard_error": float(means.std(ddof=1) / np.sqrt(num)) if num > 1 else None,
    }


def ledger_of(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return predicted, held-out and measured gains of every arm that was promised one.

    `runs` are arms by seed, each once; a gain is a difference of success rates to the arm that it
    began with, the measured one by the simulator's state on the tasks that were practised.
    """
    runs: dict[tuple[Any, ...], dict[str, Any]] = {}
    for table in tables.values():
        for record in table["records"]:
            if "after" in record:
                key = (record["arm"], record["seed"])
                runs[key] = {"arm": record["arm"], "seed": record["seed"], **_gains(record, table)}
    found = list(runs.values())
    pairs = {
        f"{name}, measured": pearson((run[name], run["measured"]) for run in found)
        for name in ("predicted", "held_out")
    }
    return {"runs": found, "correlations": pairs}


def _gains(record: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, float]:
    promised = {
        name: _mean(record["after"][name]) - _mean(record["before"][name])
        for name in ("predicted", "held_out")
    }
    rows = [table["arms"][record[which]]["all"] for which in ("arm", "base")]
    ours, base = (row["by_seed"][record["seed"]] for row in rows)
    return {**promised, "measured": (ours - base) * len(rows[0]["by_seed"]) / rows[0]["trials"]}


def _mean(rates: Mapping[str, Sequence[float]]) -> float:
    """Return the mean over tasks of (rate, rollouts)."""
    return float(np.mean([rate for rate, _ in rates.values()])) if rates else 0.0
