"""`bench swap`: what a swap of weights does to a running loop over DDS, beside a paired run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_agent.evaluate.statistics import fisher_p
from robot_agent.ros import realtime
from robot_agent.ros.bench_swap_runs import pooled, run_kept


@dataclass(frozen=True, kw_only=True)
class SwapOptions:
    """How `bench swap` is run."""

    ticks_per_swap: int = 10
    """Ticks of the loop for each swap."""
    pairs: int = 1
    """Pairs of runs, with swaps and without in turn, among which the swaps are shared."""
    lerobot_swaps: int = 0
    """Swaps of the run for comparison; 0 leaves it out."""
    in_place: bool = False
    """New weights are copied over those in use: a control that must be torn."""
    fifo: bool = False
    """Where the machine permits it, run the loop under SCHED_FIFO, and what brings the weights of
    either run at the lowest such priority."""
    kept: Path | None = None
    """Folder where finished runs are kept, so that the same call goes on after an interruption."""


TABLE = (
    (1000, 34.0, 5.0, 1),
    (1000, 34.0, 20.0, 1),
    (1000, 34.0, 50.0, 3),
    (100, 512.0, 50.0, 32),
)
"""Rows of the published table: swaps, size [MB], rate [Hz], least ticks for each swap."""


def bench_swap(
    swaps: int = 1000,
    size_mb: float = 34.0,
    rate_hz: float = 50.0,
    *,
    options: SwapOptions | None = None,
    domain_id: int | None = None,
    on_run: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the measurement with swaps, and as many ticks without under `control`.

    A loop of `rate_hz` in its own process takes the policy from its slot at every tick and
    publishes an action over DDS. A helper process verifies a signed bundle of `size_mb` as the
    robot does (signature, sizes, hashes, schema, finite numbers) into shared memory, and a thread
    of the loop's process offers it, `swaps` times. This process receives and looks for
    torn actions. Missed is a tick that began a whole period late or was skipped; lost is one that
    did not arrive. `seen_to_active_ms` runs from the moment the bundle is there to the first
    action of it, `work_ms` leaves out the wait for the tick. `roll_back_ms` runs from the order to
    return to the first action of the previous weights, which are in memory. `stolen_ms` is the
    time that the host of a virtual machine took from its processors meanwhile.

    With `lerobot_swaps`, a last run brings as many versions by a stream that is loaded in the
    loop's process (`bench_swap_stream`), under `lerobot_style`; `ratio` and `work_ratio` are our
    medians to theirs.
    """
    options = options or SwapOptions()
    runner = _Runner(size_mb, rate_hz, options, domain_id, on_run)
    road = "in_place" if options.in_place else "slot"
    swapping, without = [], []
    for pair in range(options.pairs):
        share = swaps // options.pairs + (pair < swaps % options.pairs)
        swapping.append(runner.run("swaps", pair, road, share, share * options.ticks_per_swap))
        without.append(runner.run("control", pair, "none", 0, len(swapping[-1]["late_ns"])))
    results = {"rate_hz": rate_hz, "size_mb": size_mb, **pooled(swapping, rate_hz)}
    control = pooled(without, rate_hz)
    results |= {"control": control, "comparison": _compared(results, control)}
    if options.lerobot_swaps:
        ticks = options.lerobot_swaps * options.ticks_per_swap
        streamed = runner.run("lerobot_style", 0, "lerobot_style", options.lerobot_swaps, ticks)
        theirs = results["lerobot_style"] = pooled([streamed], rate_hz)
        for key, of in (("ratio", "seen_to_active_ms"), ("work_ratio", "work_ms")):
            results[key] = results[of]["p50"] / theirs[of]["p50"]
    results["scheduling"] = {
        "nice": results["nice"],
        "wanted_nice": realtime.CONTROL_NICE,
        "fifo": results["fifo"],
        "load_average": list(os.getloadavg()),
    }
    return results


@dataclass(frozen=True)
class _Runner:
    """Runs of one row."""

    size_mb: float
    rate_hz: float
    options: SwapOptions
    domain_id: int | None
    on_run: Callable[[str], None]

    def run(self, name: str, number: int, road: str, swaps: int, ticks: int) -> dict[str, Any]:
        """Return the counts of one run, kept or new."""
        row = f"{self.size_mb:g} MB at {self.rate_hz:g} Hz"
        self.on_run(f"{row}: {name} {number + 1}")
        common = {"size_mb": self.size_mb, "rate_hz": self.rate_hz, "fifo": self.options.fifo}
        settings = {**common, "ticks": ticks, "swaps": swaps, "road": road}
        folder = self.options.kept
        file = f"{self.size_mb:g}mb-{self.rate_hz:g}hz-{name}-{number + 1}.json"
        return run_kept(settings, self.domain_id, None if folder is None else folder / file)


def _compared(swapping: dict[str, Any], control: dict[str, Any]) -> dict[str, Any]:
    """Return whether swaps cost ticks: one-sided p, difference of lateness, 3/N bound."""
    return {
        "fisher_p": fisher_p(
            swapping["missed"], swapping["ticks"], control["missed"], control["ticks"]
        ),
        "p999_difference_ms": swapping["late_ms"]["p999"] - control["late_ms"]["p999"],
        "missed_bound": 3.0 / swapping["ticks"] if not swapping["missed"] else None,
    }
