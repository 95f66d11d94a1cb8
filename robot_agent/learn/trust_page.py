"""The trust report as one HTML page with clips, and its JSON beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_agent.core.types import ImageArray
from robot_agent.evaluate.figures import animation, curves
from robot_agent.evaluate.report_page import PAGE, STYLE, escaped, html_table, section
from robot_agent.store.durable import replace_file, storage_errors

_MEASURES = {"psnr": "PSNR [dB]", "ssim": "SSIM", "lpips": "LPIPS"}


def write_report(
    folder: Path, results: Mapping[str, Any], clips: Mapping[str, ImageArray]
) -> Path:
    """Write `trust.json` and `trust.html` into a folder; return the page."""
    page = folder / "trust.html"
    with storage_errors("writing a trust report", folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "trust.json", json.dumps(results, indent=1).encode())
        replace_file(page, _page(results, clips).encode())
    return page


def _page(results: Mapping[str, Any], clips: Mapping[str, ImageArray]) -> str:
    kind = "bad" if results["verdict"] == "refuse" else "good"
    reasons = "".join(f"<li>{escaped(reason)}</li>" for reason in results["reasons"])
    notes = "".join(f"<li>{escaped(note)}</li>" for note in results["notes"])
    verdict = (
        f'<div class="cards"><div class="card"><b class="{kind}">{escaped(results["verdict"])}</b>'
        f'<span>verdict</span></div><div class="card"><b>{results["safe_horizon"]}</b>'
        f"<span>safe steps</span></div></div><ul>{reasons}</ul>"
    )
    shown = [
        f"<figure>{animation(frames, title)}<figcaption>{escaped(title)}</figcaption></figure>"
        for title, frames in clips.items()
    ]
    body = [
        verdict,
        section(
            "Clips",
            "Left the real episode, right imagined from its first frame.",
            f'<div class="side">{"".join(shown)}</div>',
        ),
        _errors(results["errors"]),
        section(
            "Axes",
            "Motion of the imagined tool over what was commanded; 1 is perfect.",
            _axes(results["axes"]),
        ),
        section(
            "Edited actions",
            "How much worse real pictures agree when actions are edited.",
            _edits(results["edits"]),
        ),
        _disagreement(results["disagreement"]),
        section("Task success", "By the judge, imagined beside real.", _outcomes(results)),
        section("Notes", "Seen, and deciding nothing; or not measured.", f"<ul>{notes}</ul>"),
    ]
    return PAGE.substitute(
        title="Trust report", style=STYLE, lead=escaped(results["source"]), body="\n".join(body)
    )


def _errors(errors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    charts = []
    for measure, title in _MEASURES.items():
        methods = next(iter(errors.values()))[measure]
        lines = {
            name: [(float(step), found[measure][name]) for step, found in errors.items()]
            for name in methods
        }
        if lines:
            charts.append(curves(lines, f"{title} by step", "step", title))
    words = "Against held-out real pictures, beside the repeated start frame and foreign actions."
    return section("Error by step", words, f'<div class="side">{"".join(charts)}</div>')


def _axes(axes: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("gain", "gain_half", "picture_gain", "mirrored_worse_db", "used")
    rows = [
        (name, *(_number(axis[key]) for key in names), axis["fault"] or "none")
        for name, axis in axes.items()
    ]
    columns = ("axis", "by state", "half", "by pictures", "mirrored worse [dB]", "used", "fault")
    return html_table(columns, rows)


def _edits(edits: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        (name, f"{found['worse_db']:+.2f}", f"{found['error_db']:.2f}")
        for name, found in edits.items()
    ]
    return html_table(("edit", "worse by [dB]", "standard error"), rows)


def _disagreement(apart: Sequence[float]) -> str:
    line = {"apart": [(float(step + 1), value) for step, value in enumerate(apart)]}
    words = "Two imaginations of the same actions, over how far the real picture moved."
    return section("Disagreement", words, curves(line, "Disagreement by step", "step", "share"))


def _outcomes(results: Mapping[str, Any]) -> str:
    parts, replay = [], results["replay"]
    if replay:
        columns = ("replayed", "agreed", "imagined only", "real only")
        row = (replay["episodes"], f"{replay['agreed']:.2f}", replay["imagined_only"],
               replay["real_only"])  # fmt: skip
        parts.append(html_table(columns, [row]))
    loops = [
        (task, f"{loop['imagined']:.2f} of {loop['rollouts']}",
         f"{loop['real']:.2f} of {loop['episodes']}")
        for task, loop in results["closed_loop"].items()
    ]  # fmt: skip
    if loops:
        parts.append(html_table(("closed loop", "imagined", "real"), loops))
    return "\n".join(parts) or "<p>Not measured: see the notes.</p>"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
