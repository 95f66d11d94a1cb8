"""What `evaluate` shows in a terminal."""

from collections.abc import Mapping
from typing import Any

from robot_agent.commands.output import table


def tables(results: Mapping[str, Any]) -> list[Any]:
    """Return the tables and sentences of the results of `evaluate`."""
    shown = [_success(results)]
    if results["pairs"]:
        shown.append(_pairs(results))
    if results["early_stop"]:
        shown.append(early_stop_sentence(results["early_stop"]))
    if "groups" in results:
        shown.append(_groups(results["groups"]))
    if "judge" in results:
        shown.append(_judge(results["judge"]))
    return shown


def early_stop_sentence(stop: Mapping[str, Any]) -> str:
    """Return what the sequential test found, with its stated rates."""
    return (
        f"Sequential test: {stop['verdict']} after {stop['pairs']} of at most "
        f"{stop['max_pairs']} pairs. Chance to call equal policies different at most "
        f"{stop['alpha']:g}, to miss a difference of {stop['min_effect']:g} at most "
        f"{1 - stop['power']:.2g}. After an early stop, intervals and p only describe."
    )


def percents(interval: tuple[float, float]) -> str:
    """Return an interval of rates as whole percents."""
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def _success(results: Mapping[str, Any]) -> Any:
    rows = [
        (
            f"{task}: {policy}",
            f"{cell['successes']}/{cell['trials']}",
            percents(cell["interval"]),
            _steps(cell["steps_to_success"]),
            _events(cell["safety_events"]),
            _aborts(cell),
        )
        for task, cells in {**results["tasks"], "all of the suite": results["pooled"]}.items()
        for policy, cell in cells.items()
    ]
    columns = ("task: policy", "success", "interval", "steps", "safety events", "aborts")
    return table("Success, with 95 % intervals; median steps to success", columns, rows)


def _steps(steps: Mapping[str, Any] | None) -> str:
    if steps is None:
        return "-"
    low, high = steps["quartiles"]
    return f"{steps['median']:.0f} ({low:.0f} to {high:.0f})"


def _events(events: Mapping[str, Any] | None) -> str:
    return f"{events['total'] / events['trials']:.2g} a trial" if events else "not counted"


def _aborts(cell: Mapping[str, Any]) -> str:
    left_out = f", {cell['left_out']} left out" if cell["left_out"] else ""
    return f"{cell['aborts']}{left_out}"


def _pairs(results: Mapping[str, Any]) -> Any:
    rows = []
    for name, pair in results["pairs"].items():
        parts = {f"{name}, all of the suite": pair}
        parts |= {f"{name}, {task}": found for task, found in pair["tasks"].items()}
        if "forgetting" in pair:
            parts[f"{name}, forgetting elsewhere"] = pair["forgetting"]
        rows += [
            (what, _points(found["difference"]), percents(found["interval"]), float(found["p"]))
            for what, found in parts.items()
        ]
    columns = ("pair", "difference in points", "interval", "p")
    return table("Paired differences, McNemar's exact test", columns, rows)


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f}"


def _groups(groups: Mapping[str, Any]) -> Any:
    rows = [
        (
            f"{task}: {policy}",
            " ".join(f"{100 * rate:.0f}" for rate in cell["rates"]),
            _mean_and_error(cell),
        )
        for task, cells in groups.items()
        for policy, cell in cells.items()
    ]
    columns = ("task: policy", "success of each group in %", "mean +- standard error")
    return table("Groups of trials, as AutoEval reports them", columns, rows)


def _mean_and_error(cell: Mapping[str, Any]) -> str:
    if cell["mean"] is None:
        return "no whole group"
    error = cell["standard_error"]
    return f"{100 * cell['mean']:.0f}" + (f" +- {100 * error:.0f}" if error is not None else "")


def _judge(judge: Mapping[str, Any]) -> Any:
    confusion = judge["confusion"]
    rows = [(name.replace("_", " "), str(count)) for name, count in confusion.items()]
    for name in ("accuracy", "true_positive_rate", "false_positive_rate"):
        share = judge[name]
        rate = f"{100 * share['hits'] / share['of']:.0f} %" if share["of"] else "-"
        rows.append((name.replace("_", " "), f"{rate} ({percents(share['interval'])})"))
    rows += [
        ("Brier score", f"{judge['brier']:.3f}"),
        ("calibration error", f"{judge['calibration_error']:.3f}"),
    ]
    title = f"The judge against the truth, threshold {judge['threshold']:g}"
    return table(f"{title}, {judge['trials']} episodes", ("what", "value"), rows)
