"""`scenes list|sheet`: where the simulated arm can stand, in words and in one picture."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_seed,
    new_file,
)
from robot_agent.commands.output import progress, show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.sim.scenes import Scene

_SAMPLES = 12
"""Pictures of the home distribution on its sheet."""


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "scenes", "places that the simulated arm can stand in")
    listed = add_command(group, "list", "names, what they show, how far from home", _list)
    add_json(listed)
    sheet = add_command(group, "sheet", "render scenes into one labelled picture", _sheet)
    sheet.add_argument(
        "--suite",
        default="household",
        help="home (the training distribution), novel, household, all, or names with commas "
        "between; @real for the other physics",
    )
    sheet.add_argument("--out", type=Path, required=True, help="picture to write, PNG or JPEG")
    add_seed(sheet)
    add_json(sheet)


def _list(arguments: argparse.Namespace) -> int:
    from robot_agent.sim.household import household, load_home_axes
    from robot_agent.sim.scenes import HOME, NOVEL
    from robot_agent.sim.sheet import severities

    found = {HOME.name: {"cell": HOME.cell, "description": "Where the base policy was trained."}}
    found |= {
        name: {"cell": scene.cell, "description": "Novel: other colours, camera and drawer."}
        for name, scene in NOVEL.items()
    }
    rows = [(name, *entry.values(), "") for name, entry in found.items()]
    results: dict[str, object] = {
        **found,
        HOME.name: {**found[HOME.name], "axes": load_home_axes()},
    }
    for name, home in household().items():
        results[name] = {
            "cell": home.cell,
            "description": home.description,
            "axes": home.axes,
            "seed": home.seed,
        }
        rows.append((name, home.cell, home.description, severities(home.axes)))
    shown = table("Scenes", ("name", "cell", "what one sees", "axes and severities"), rows)
    show("scenes list", results, as_json=arguments.json, tables=[shown])
    return 0


def _sheet(arguments: argparse.Namespace) -> int:
    from robot_agent.sim.sheet import draw_sheet
    from robot_agent.sim.world import SimWorld
    from robot_agent.store.durable import storage_errors

    out = new_file(arguments.out)
    scenes = _scenes(arguments.suite, arguments.seed)
    pictures = []
    with progress("rendering") as say:
        for scene, _ in scenes:
            world = SimWorld(scene, arguments.seed)
            pictures.append(world.render())
            world.close()
            say(len(pictures), len(scenes), scene.name)
    sheet = draw_sheet(pictures, [caption for _, caption in scenes])
    with storage_errors("writing a sheet", out):
        sheet.save(out)
    results = {"file": out, "scenes": [scene.name for scene, _ in scenes]}
    show(
        "scenes sheet",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[f"{len(scenes)} scenes in {out}"],
    )
    return 0


def _scenes(suite: str, seed: int) -> "list[tuple[Scene, tuple[str, str]]]":
    """Return the scenes of a suite with their captions."""
    from robot_agent.sim.household import (
        home_variant,
        household,
        load_home_axes,
        scenes_named,
    )
    from robot_agent.sim.sheet import severities

    if suite == "home":
        text = severities(load_home_axes())
        seeds = range(seed, seed + _SAMPLES)
        return [(home_variant(s), (f"home, seed {s}", text)) for s in seeds]
    found = []
    for scene in scenes_named(suite):
        home = household().get(scene.name.partition("@")[0])
        text = f"{home.description} [{severities(home.axes)}]" if home else ""
        found.append((scene, (scene.name, text)))
    return found
