"""The page of an evaluation: one HTML file with numbers, plots, start frames and failures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_agent.core.types import ImageArray
from robot_agent.evaluate.figures import animation, curves, rate_bars
from robot_agent.evaluate.headline import points_interval, rate_and_interval
from robot_agent.evaluate.report_page import PAGE, STYLE, escaped, html_table, section
from robot_agent.evaluate.trial_clips import Pictures
from robot_agent.store.durable import replace_file, storage_errors


def write_page(path: Path, results: Mapping[str, Any], pictures: Pictures) -> None:
    """Write one HTML file that needs no other.

    Args:
        path: File to write; it appears whole.
        results: As `Comparison.to_json` gives them.
        pictures: Start frames and clips of failures, by title.

    Raises:
        StorageError: The file cannot be written.
    """
    sections = [
        _success(results),
        _pairs(results),
        _early_stop(results["early_stop"]),
        _judge(results.get("judge")),
        _figures("Start frames", "One start state of each task.", pictures.starts),
        _figures(
            "Failures",
            "Some of the trials that did not succeed, tasks and policies in turn; at 5 Hz.",
            pictures.failures,
        ),
        _trials(results["trials"]),
    ]
    page = PAGE.substitute(
        title="Evaluation",
        lead=f"{len(results['trials'])} trials; all policies met the same start states, in turn.",
        style=STYLE,
        body="\n".join(part for part in sections if part),
    )
    with storage_errors("writing the page", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode())


def _success(results: Mapping[str, Any]) -> str:
    groups = {**results["tasks"], "all of the suite": results["pooled"]}
    plots, rows = [], []
    for task, cells in groups.items():
        bars = {policy: rate_and_interval(cell) for policy, cell in cells.items()}
        plots.append(
            f"<figure><figcaption>{escaped(task)}</figcaption>{rate_bars(bars, task)}</figure>"
        )
        rows += [(task, policy, *_cells(cell)) for policy, cell in cells.items()]
    columns = (
        "task", "policy", "success", "95 % interval", "steps (quartiles)",
        "safety events", "aborts, left out",
    )  # fmt: skip
    return section(
        "Success",
        "Whiskers are 95 % Wilson intervals. An abort is no failure: it is repeated once, and "
        "when it stays one it is in no rate and its start state in no pair. A safety event is a "
        "step that the guard changed, refused or held. Steps are the median over successes.",
        *plots,
        html_table(columns, rows),
    )


def _cells(cell: Mapping[str, Any]) -> tuple[str, ...]:
    steps, events = cell["steps_to_success"], cell["safety_events"]
    return (
        f"{cell['successes']} of {cell['trials']}",
        points_interval(cell["interval"]),
        f"{steps['median']:.0f} ({steps['quartiles'][0]:.0f} to {steps['quartiles'][1]:.0f})"
        if steps
        else "none",
        f"{events['total']} in {events['trials']} trials" if events else "not counted",
        f"{cell['aborts']}, {cell['left_out']}",
    )


def _pairs(results: Mapping[str, Any]) -> str:
    rows = []
    for name, pair in results["pairs"].items():
        parts = {"all of the suite": pair, **pair["tasks"]}
        if "forgetting" in pair:
            parts["forgetting: all others"] = pair["forgetting"]
        rows += [
            (
                name,
                what,
                f"{100 * found['difference']:+.0f}",
                points_interval(found["interval"]),
                f"{found['p']:.3g}",
                found["trials"],
            )
            for what, found in parts.items()
        ]
    if not rows:
        return ""
    return section(
        "Paired differences",
        "Points of success on the same start states, with Newcombe's interval for pairs and "
        "McNemar's exact two-sided p.",
        html_table(("pair", "over", "points", "95 % interval", "p", "pairs"), rows),
    )


def _early_stop(stop: Mapping[str, Any] | None) -> str:
    if stop is None:
        return ""
    return section(
        "Sequential test",
        f"Verdict: {stop['verdict']}, after {stop['pairs']} of at most {stop['max_pairs']} "
        f"pairs. Wald's test on discordant pairs and a bet: equal policies are called different "
        f"with chance {stop['alpha']:g} at most; a difference of {stop['min_effect']:g} is found "
        f"with chance {stop['power']:g} at least. Intervals and p above only describe.",
    )


def _judge(judge: Mapping[str, Any] | None) -> str:
    if judge is None:
        return ""
    lines = {
        "judge": [(b["mean_score"], b["success_rate"]) for b in judge["bins"]],
        "calibrated": [(0.0, 0.0), (1.0, 1.0)],
    }
    shares = {
        name.replace("_", " "): (
            judge[name]["hits"] / max(judge[name]["of"], 1),
            *judge[name]["interval"],
        )
        for name in ("accuracy", "true_positive_rate", "false_positive_rate")
    }
    rows = [(name.replace("_", " "), count) for name, count in judge["confusion"].items()]
    rows += [("Brier score", f"{judge['brier']:.3f}")]
    rows += [("calibration error", f"{judge['calibration_error']:.3f}")]
    return section(
        "The judge against the truth",
        f"{judge['trials']} episodes whose truth the simulator knows; success is a score above "
        f"{judge['threshold']:g}. A calibrated judge lies on the diagonal.",
        f"<figure>{curves(lines, 'reliability', 'score', 'true')}</figure>",
        rate_bars(shares, "accuracy and rates of the judge"),
        html_table(("what", "value"), rows),
        html_table(
            ("score", "episodes", "mean score", "true success rate"),
            (
                (
                    f"{found['low']:.1f} to {found['high']:.1f}",
                    found["trials"],
                    f"{found['mean_score']:.2f}",
                    f"{found['success_rate']:.2f}",
                )
                for found in judge["bins"]
            ),
        ),
    )


def _figures(title: str, sentence: str, clips: Mapping[str, ImageArray]) -> str:
    shown = "".join(
        f"<figure>{animation(frames, name, 2)}<figcaption>{escaped(name)}</figcaption></figure>"
        for name, frames in clips.items()
    )
    return section(title, sentence, f'<div class="side">{shown}</div>') if shown else ""


def _trials(trials: list[Mapping[str, Any]]) -> str:
    columns = ("task", "seed", "policy", "outcome", "steps", "safety_events", "reason")
    table = html_table(columns, ([trial[name] for name in columns] for trial in trials))
    return section(
        "Trials",
        "Every trial, in the order of the plan.",
        f"<details><summary>{len(trials)} trials</summary>{table}</details>",
    )
