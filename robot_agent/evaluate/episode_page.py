"""One episode to look at: a sheet of its pictures, and a page with clip and curves."""

from pathlib import Path

import numpy as np
from PIL import Image

from robot_agent.core.types import CONTROL_HZ, Episode, FloatArray
from robot_agent.evaluate.figures import Point, animation, curves
from robot_agent.evaluate.report_page import PAGE, STYLE, escaped, html_table, section
from robot_agent.sim.sheet import draw_sheet
from robot_agent.store.durable import replace_file, storage_errors
from robot_agent.store.episode_checks import check_episode
from robot_agent.store.exchange import states_of
from robot_agent.store.images import resize_images

_TILES = 12
_CLIP_PX = (120, 160)


def contact_sheet(episode: Episode, tiles: int = _TILES) -> Image.Image:
    """Return up to `tiles` pictures, evenly spaced, with what the controller did next."""
    shown = np.unique(np.linspace(0, episode.num_steps, tiles).round().astype(int))
    captions = [(f"{index / CONTROL_HZ:.1f} s", _caption(episode, index)) for index in shown]
    return draw_sheet([episode.images[index] for index in shown], captions)


def write_episode_page(path: Path, episode: Episode) -> None:
    """Write one HTML file that needs no other: facts, clip, curves, findings.

    Raises:
        StorageError: The file cannot be written.
    """
    findings = check_episode(episode)
    rows = [(finding.kind, finding.detail) for finding in findings]
    size = episode.images.shape[1:3]
    frames = resize_images(episode.images, _CLIP_PX) if size > _CLIP_PX else episode.images
    sections = [
        section(
            "What happened",
            "As recorded; the guard's changes are what it made of proposals.",
            html_table(("what", "value"), _facts(episode)),
        ),
        section("Clip", "In real time.", animation(frames, episode.episode_id)),
        section(
            "Curves", "Measured at each picture, sent and proposed after it.", *_plots(episode)
        ),
        section("Findings", "What is wrong with it.", html_table(("what", "why"), rows))
        if rows
        else "",
    ]
    page = PAGE.substitute(
        title=escaped(f"Episode {episode.episode_id}"),
        lead=escaped(f"“{episode.instruction}”: {episode.outcome}"),
        style=STYLE,
        body="\n".join(part for part in sections if part),
    )
    with storage_errors("writing the page", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode())


def _caption(episode: Episode, index: int) -> str:
    if index >= episode.num_steps:
        return "the end"
    dx, dy, dz = 1e3 * episode.actions[index, :3]
    who = episode.controllers[index]
    return f"{who}: {dx:+.0f} {dy:+.0f} {dz:+.0f} mm, gripper {episode.actions[index, 6]:.2f}"


def _facts(episode: Episode) -> list[tuple[str, str]]:
    by = f" (by {episode.judged_by})" if episode.judged_by else ""
    changed = int((np.abs(episode.actions - episode.proposed) > 1e-9).any(axis=1).sum())
    return [
        ("scene", episode.scene),
        ("outcome", f"{episode.outcome}{by}"),
        ("steps", f"{episode.num_steps} ({episode.num_steps / CONTROL_HZ:.1f} s)"),
        ("in control", ", ".join(dict.fromkeys(episode.controllers))),
        ("weights", ", ".join(dict.fromkeys(episode.weights_versions))),
        ("changed by the guard", f"{changed} of {episode.num_steps} steps"),
    ]


def _plots(episode: Episode) -> list[str]:
    states = states_of(episode)
    tool = {axis: _line(1e3 * states[:, index]) for index, axis in enumerate("xyz")}
    grip = {"measured": _line(episode.gripper), "sent": _line(episode.actions[:, 6])}
    length = 1e3 * np.linalg.norm(episode.actions[:, :3], axis=1)
    wanted = 1e3 * np.linalg.norm(episode.proposed[:, :3], axis=1)
    moves = {"proposed": _line(wanted), "sent": _line(length)}
    return [
        curves(tool, "tool position", "s", "mm"),
        curves(moves, "length of a step", "s", "mm"),
        curves(grip, "gripper, 1 is open", "s", ""),
    ]


def _line(values: FloatArray) -> list[Point]:
    return [(index / CONTROL_HZ, float(value)) for index, value in enumerate(values)]
