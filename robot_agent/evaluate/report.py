"""A self-contained HTML report of a demo, and the same as a table in the terminal."""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_agent.core.types import ImageArray
from robot_agent.evaluate.figures import Point, animation, curves, rate_bars
from robot_agent.evaluate.headline import (
    PLACES,
    WHEN,
    headline,
    points_interval,
    rate_and_interval,
)
from robot_agent.evaluate.report_page import PAGE, STYLE, escaped, html_table, section
from robot_agent.store.durable import replace_file, storage_errors

_CURVES = {
    "success": "share of imagined episodes that end in success",
    "reward": "mean reward of imagined episodes",
}
"""What is drawn of a round's curve, and what it is."""


def write_report(path: Path, results: Mapping[str, Any], clips: Mapping[str, ImageArray]) -> None:
    """Write one HTML file that needs no other: numbers, curves, clips.

    Args:
        path: File to write; it appears whole.
        results: As in demo.json; besides its fixed keys, `scene`, `per_task`, `gate`, `rounds` and
            `timeline` are shown when they are there.
        clips: Title to frames (T, H, W, 3) uint8. `real, NAME` and `imagined, NAME` stand side by
            side.

    Raises:
        InputError: A fixed key is missing, or a clip is no clip.
        StorageError: The file cannot be written.
    """
    facts = headline(results)
    scene = f" to the scene '{results['scene']}'" if results.get("scene") else ""
    sections = [
        _cards(facts),
        _success(results),
        _clips(clips),
        _rounds(results.get("rounds") or []),
        _gate(results.get("gate") or []),
        _timeline(results.get("timeline") or []),
        _method(results),
    ]
    page = PAGE.substitute(
        title=escaped(f"Adapting{scene}"),
        lead=_lead(results),
        style=STYLE,
        body="\n".join(section for section in sections if section),
    )
    with storage_errors("writing the report", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode())


def print_table(results: Mapping[str, Any], console: Any = None) -> None:
    """Print the numbers of a demo to the terminal, or to a rich console."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Adapting to a new scene", title_justify="left")
    for name in ("what", "value", "meaning"):
        table.add_column(name, overflow="fold")
    colors = {"good": "green", "bad": "red"}
    for fact in headline(results):
        table.add_row(fact.title, fact.value, fact.sentence, style=colors.get(fact.mood))
    for task, rates in (results.get("per_task") or {}).items():
        cells = [f"{rates[when]['successes']}/{rates[when]['trials']}" for when in WHEN]
        table.add_row(str(task), " to ".join(cells), "Successes of trials, before and after.")
    (console or Console()).print(table)


def _lead(results: Mapping[str, Any]) -> str:
    begin = "A policy met a scene it was not trained in and practised in a world model of it. "
    if results["gate_passed"]:
        return begin + "The new weights passed the gate and took over."
    return begin + "No new weights passed the gate; the old ones kept running."


def _cards(facts: Iterable[Any]) -> str:
    cards = (
        f'<div class="card"><span>{escaped(fact.title)}</span>'
        f'<b class="{fact.mood}">{escaped(fact.value)}</b>'
        f"<span>{escaped(fact.sentence)}</span></div>"
        for fact in facts
    )
    return f'<div class="cards">{"".join(cards)}</div>'


def _success(results: Mapping[str, Any]) -> str:
    bars = {
        f"{title}, {when}": rate_and_interval(results[f"{place}_{when}"])
        for place, title in PLACES.items()
        for when in WHEN
    }
    rows = [
        (task, when, f"{cell['successes']} of {cell['trials']}", points_interval((low, high)))
        for task, rates in (results.get("per_task") or {}).items()
        for when, cell in rates.items()
        for _, low, high in [rate_and_interval(cell)]
    ]
    tasks = html_table(("task", "policy", "successes", "95 % interval"), rows) if rows else ""
    return section(
        "Success",
        "Bars are success rates; whiskers their 95 % Wilson intervals. Before and after met the "
        "same start states, which training never used, and were sampled alike.",
        rate_bars(bars, "success rates before and after"),
        tasks,
    )


def _clips(clips: Mapping[str, ImageArray]) -> str:
    """Return the clips, those of one name side by side, the real one first."""
    groups: dict[str, list[str]] = {}
    for title in sorted(clips, key=lambda title: not title.startswith("real")):
        groups.setdefault(title.partition(", ")[2] or title, []).append(title)
    shown = []
    for name in sorted(groups):
        figures = "".join(
            f"<figure>{animation(clips[title], title)}<figcaption>{escaped(title)}</figcaption>"
            f"</figure>"
            for title in groups[name]
        )
        shown.append(f'<div class="side">{figures}</div>')
    if not shown:
        return ""
    return section(
        "Real and imagined",
        "What the camera saw, and what the world model made of the policy's actions. Both play at "
        "5 Hz, the rate of control.",
        *shown,
    )


def _rounds(rounds: Sequence[Mapping[str, Any]]) -> str:
    if not rounds:
        return ""
    shown = [_round_table(rounds)]
    for name, meaning in _CURVES.items():
        lines: dict[str, list[Point]] = {
            f"round {record.get('index', number)}": [
                (float(step), float(values[name]))
                for step, values in enumerate(record.get("curve") or [], 1)
                if name in values
            ]
            for number, record in enumerate(rounds)
        }
        if any(lines.values()):
            shown.append(f"<figure>{curves(lines, meaning, 'update', name)}")
            shown.append(f"<figcaption>{escaped(meaning.capitalize())}.</figcaption></figure>")
    return section(
        "Rounds",
        "Each round ran a few real episodes, finetuned the world model on them, practised in it, "
        "and asked the gate. A gap is imagined success held against the real episodes that "
        "followed; a task with a large one is stopped.",
        *shown,
    )


def _counted(outcomes: Sequence[bool | None]) -> str:
    """Say how many succeeded; an unknown outcome is in no rate."""
    known, unknown = [o for o in outcomes if o is not None], outcomes.count(None)
    words = [f"{sum(known)} of {len(known)}"] * bool(known) + [f"{unknown} unknown"] * bool(
        unknown
    )
    return ", ".join(words) or "none"


def _round_table(rounds: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for number, record in enumerate(rounds):
        outcomes = [*record.get("real_outcomes", ()), *record.get("final_outcomes", ())]
        gaps = [*record.get("gaps", ()), *record.get("final_gaps", ())]
        promised = record.get("imagined_after") or {}
        rows.append(
            (
                record.get("index", number),
                _counted(outcomes),
                "\n".join(f"{task}: {100 * rate:.0f} %" for task, rate in promised.items()),
                "\n".join(map(str, gaps)) or "none measured",
                record.get("version_after") or "not released",
                f"{float(record.get('seconds') or 0):.0f} s",
            )
        )
    columns = ("round", "real successes", "imagined after", "gaps", "released", "since start")
    return html_table(columns, rows)


def _gate(checks: Sequence[Mapping[str, Any]]) -> str:
    if not checks:
        return ""
    rows = [
        (
            check.get("name", "?"),
            "passed" if check.get("passed") else "FAILED",
            _brief(check.get("value", "")),
            _brief(check.get("limit", "")),
        )
        for check in checks
    ]
    return section(
        "Gate",
        "Every new version must pass these checks before it may drive the arm; the first that "
        "fails rejects it, and the old weights keep running.",
        html_table(("check", "outcome", "value", "limit"), rows),
    )


def _timeline(entries: Sequence[Any]) -> str:
    if not entries:
        return ""
    rows = []
    for entry in entries:
        seconds, what = (entry["seconds"], entry["what"]) if isinstance(entry, Mapping) else entry
        rows.append((f"{float(seconds):.0f} s", what))
    return section(
        "Timeline", "Seconds since the start of the run.", html_table(("at", "what"), rows)
    )


def _method(results: Mapping[str, Any]) -> str:
    plain = {
        key: value
        for key, value in results.items()
        if key not in ("rounds", "gate", "per_task", "timeline")
        and isinstance(value, str | int | float | bool | None)
    }
    text = html.escape(json.dumps(plain, indent=1))
    return section(
        "How it was measured",
        "Success is judged by the simulator's state, which neither policy nor judge sees. The "
        "interval of a difference is Newcombe's for pairs (1998, method 10). All numbers are in "
        "demo.json beside this file.",
        f'<details><summary>Single values</summary><pre class="scroll">{text}</pre></details>',
    )


def _brief(value: object) -> str:
    """Return a digest by its first characters, and everything else as it is."""
    text = str(value)
    return f"{text[:12]}..." if re.fullmatch("[0-9a-f]{64}", text) else text
