"""The table of late policies: starved ticks and success, by mode and latency, paired by start."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from robot_agent.act.execution import MODES, ExecutionConfig
from robot_agent.core.config import require_range
from robot_agent.core.protocols import Policy
from robot_agent.evaluate.late import LatencyConfig, LateTrial, run_late_trial, starvation
from robot_agent.evaluate.statistics import (
    count_pairs,
    mcnemar_p,
    newcombe_interval,
    wilson_interval,
)
from robot_agent.sim.household import scene_named
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.tasks import tasks_of

LoadPolicy = Callable[[str], Policy]
"""Makes a policy of its name; a function at the top of a module, so that a process can have it."""
Cell = tuple[str, int]
"""Mode and median latency [ms]."""
UNDELAYED: Cell = ("synchronous", 0)
"""What every other cell is held against: the policy as it was trained and is evaluated."""
CHUNKS = (5, 8)
"""Sizes of chunks: of the tiny policy and World-Gymnast, and of OpenVLA-OFT."""
HORIZONS = (1, 2, 0)
"""Actions that synchronous executes before it looks again; 0 is the whole chunk."""


@dataclass(frozen=True, kw_only=True)
class LateConfig:
    """What is measured."""

    policy: str = "tiny"
    scene: str = "home"
    modes: tuple[str, ...] = MODES
    latencies_ms: tuple[int, ...] = (0, 100, 300, 600)
    """Medians."""
    sigma: float = 0.5
    trials: int = 200
    """Of each mode and latency, on the same start states."""
    refill: int = 0
    """Of the modes that infer beside the steps; 0 chooses by measured latency."""
    steps: int = 10_000
    """Of the simulated policy whose ticks are counted."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("trials", self.trials, 0, 100_000)
        require_range("steps", self.steps, 100, 10_000_000)
        for mode in self.modes:
            ExecutionConfig(mode=mode, refill=self.refill)
        for latency_ms in self.latencies_ms:
            LatencyConfig(median_s=latency_ms / 1000, sigma=self.sigma)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The undelayed policy first, then every mode at every latency."""
        wanted = itertools.product(self.modes, self.latencies_ms)
        return (UNDELAYED, *(cell for cell in wanted if cell != UNDELAYED))


def starved_ticks(config: LateConfig) -> dict[str, Any]:
    """Return the share of starved ticks of a simulated policy, by chunk, latency and mode.

    Synchronous is measured as often as it looks: after every action, every two, or every chunk.
    """
    found: dict[str, Any] = {}
    for chunk, latency_ms in itertools.product(CHUNKS, config.latencies_ms):
        row = found.setdefault(str(chunk), {}).setdefault(str(latency_ms), {})
        latency = LatencyConfig(median_s=latency_ms / 1000, sigma=config.sigma)
        for mode, horizon in _variants(config.modes):
            execution = ExecutionConfig(mode=mode, horizon=horizon, refill=config.refill)
            counted = starvation(
                execution, latency, chunk=chunk, steps=config.steps, seed=config.seed
            )
            name = f"{mode}, looks every {horizon}" if horizon else mode
            row[name] = {
                "ticks": counted.ticks,
                "starved": counted.starved,
                "share": counted.share,
                "dropped_actions": counted.dropped,
            }
    return found


def _variants(modes: Sequence[str]) -> Iterator[tuple[str, int]]:
    for mode in modes:
        for horizon in HORIZONS if mode == "synchronous" else (0,):
            yield mode, horizon


def successes(
    config: LateConfig,
    load: LoadPolicy,
    *,
    workers: int = 1,
    on_cell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return successes by mode and latency, with paired differences to the undelayed policy.

    The tasks of the scene take turns; trial i starts alike in every cell.
    """
    found: dict[Cell, list[LateTrial]] = {}
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        runs = pool.map(partial(_run_cell, config, load), config.cells)
        for cell, trials in zip(config.cells, runs, strict=True):
            found[cell] = trials
            on_cell(f"{cell[0]} at {cell[1]} ms")
    table: dict[str, Any] = {}
    for (mode, latency_ms), trials in found.items():
        row = _row(trials, found[UNDELAYED], found.get((mode, 0)))
        table.setdefault(mode, {})[str(latency_ms)] = row
    return table


def _run_cell(config: LateConfig, load: LoadPolicy, cell: Cell) -> list[LateTrial]:
    os.environ["OMP_NUM_THREADS"] = "1"  # before the policy's libraries start theirs
    scene, policy = scene_named(config.scene), load(config.policy)
    tasks, robot = tasks_of(scene.cell), SimRobot(scene)
    mode, latency_ms = cell
    try:
        return [
            run_late_trial(
                robot,
                policy,
                scene,
                tasks[index % len(tasks)].instruction,
                config.seed + index,
                execution=ExecutionConfig(mode=mode, refill=config.refill),
                latency=LatencyConfig(median_s=latency_ms / 1000, sigma=config.sigma),
            )
            for index in range(config.trials)
        ]
    finally:
        robot.world.close()


def _row(
    trials: Sequence[LateTrial],
    undelayed: Sequence[LateTrial],
    same_mode: Sequence[LateTrial] | None,
) -> dict[str, Any]:
    count, ticks = sum(late.trial.success for late in trials), sum(late.ticks for late in trials)
    row = {
        "successes": count,
        "trials": len(trials),
        "interval": wilson_interval(count, len(trials)),
        "starved_share": sum(late.starved for late in trials) / max(ticks, 1),
        "mean_ticks": ticks / max(len(trials), 1),
        "against_undelayed": _against(trials, undelayed),
    }
    if same_mode is not None:
        row["against_same_mode"] = _against(trials, same_mode)
    return row


def _against(trials: Sequence[LateTrial], others: Sequence[LateTrial]) -> dict[str, Any]:
    outcomes = ((a.trial.success, b.trial.success) for a, b in zip(trials, others, strict=True))
    pairs = count_pairs(outcomes)
    return {
        "difference": pairs.difference,
        "interval": newcombe_interval(pairs),
        "p": mcnemar_p(pairs),
    }
