"""The numbers of a demo, each with a sentence that says what it means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_agent.core.errors import InputError
from robot_agent.evaluate.statistics import Interval, wilson_interval

PLACES = {"new": "new scene", "home": "home scene"}
WHEN = ("before", "after")
_REQUIRED = (
    "home_before", "home_after", "new_before", "new_after", "new_gain_points",
    "new_gain_interval", "adapt_seconds", "swap_missed_ticks", "gate_passed", "peak_memory_mb",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One number for a person."""

    title: str
    value: str
    sentence: str
    mood: str = ""
    """good, bad or neither."""


def require_results(results: Mapping[str, Any]) -> None:
    """Raise InputError unless `results` has the keys of a demo."""
    missing = [key for key in _REQUIRED if key not in results]
    if missing:
        raise InputError(
            f"results: {', '.join(missing)} missing, must hold {', '.join(_REQUIRED)}. Pass what "
            f"is in demo.json."
        )


def rate_and_interval(cell: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return success rate and Wilson interval of {successes, trials}; 0 without trials."""
    successes, trials = int(cell["successes"]), int(cell["trials"])
    low, high = wilson_interval(successes, trials)
    return (successes / trials if trials else 0.0, low, high)


def headline(results: Mapping[str, Any]) -> list[Fact]:
    """Return what the demo showed, most important first; InputError when a key is missing."""
    require_results(results)
    return [
        _gain(results),
        *(_place(results, place) for place in PLACES),
        _time(results),
        _swap(results),
        _gate(results),
        _memory(results),
    ]


def _gain(results: Mapping[str, Any]) -> Fact:
    points, interval = float(results["new_gain_points"]), results["new_gain_interval"]
    low, high = (float(bound) for bound in interval)
    sentence = (
        f"Change of success in the new scene, in points, on the same start states before and "
        f"after; with 95 % confidence between {low:+.0f} and {high:+.0f}"
    )
    if low > 0:
        return Fact("Gain in the new scene", f"{points:+.0f}", f"{sentence}: better.", "good")
    if high < 0:
        return Fact("Gain in the new scene", f"{points:+.0f}", f"{sentence}: worse.", "bad")
    return Fact("Gain in the new scene", f"{points:+.0f}", f"{sentence}: could be chance.")


def _place(results: Mapping[str, Any], place: str) -> Fact:
    rates = [rate_and_interval(results[f"{place}_{when}"])[0] for when in WHEN]
    trials = [results[f"{place}_{when}"]["trials"] for when in WHEN]
    sentence = (
        f"Success in the {PLACES[place]} before and after adapting, judged by the simulator's "
        f"state in {trials[0]} and {trials[1]} trials."
    )
    return Fact(
        f"Success, {PLACES[place]}", f"{100 * rates[0]:.0f} % to {100 * rates[1]:.0f} %", sentence
    )


def _time(results: Mapping[str, Any]) -> Fact:
    seconds = results["adapt_seconds"]
    if seconds is None:
        return Fact("Time to adapt", "none", "No new weights became active.", "bad")
    value = f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return Fact(
        "Time to adapt", value, "From the first captured frame of the new scene to active weights."
    )


def _swap(results: Mapping[str, Any]) -> Fact:
    missed = results["swap_missed_ticks"]
    if missed is None:
        return Fact("Missed ticks", "not measured", "No swap was made while the arm moved.", "bad")
    return Fact(
        "Missed ticks",
        str(missed),
        "Ticks of the 50 Hz guard that were missed while weights were swapped under control.",
        "good" if missed == 0 else "bad",
    )


def _gate(results: Mapping[str, Any]) -> Fact:
    checks = results.get("gate") or []
    passed = bool(results["gate_passed"])
    sentence = "The checks between a candidate and the arm"
    sentence += f"; {len(checks)} are listed below." if checks else "."
    return Fact("Gate", "passed" if passed else "refused", sentence, "good" if passed else "bad")


def _memory(results: Mapping[str, Any]) -> Fact:
    megabytes = float(results["peak_memory_mb"])
    return Fact(
        "Peak memory", f"{megabytes / 1000:.1f} GB", "Most resident memory that the run took."
    )


def points_interval(interval: Interval) -> str:
    """Return an interval of rates as whole percents."""
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"
