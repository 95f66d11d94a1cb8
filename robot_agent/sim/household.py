"""The homes of `household.yaml`: the distribution that policies are trained in, and novel ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from robot_agent.core.config import load_config
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.sim.physics import physics_named
from robot_agent.sim.scenes import CALIBRATION, CELL_SCENES, HOME, NOVEL, Scene
from robot_agent.sim.variation import check_axes, vary

FILE = Path(__file__).with_name("household.yaml")


@dataclass(frozen=True, kw_only=True)
class Household:
    """One home, as the file describes it."""

    name: str
    cell: str
    seed: int
    description: str
    """One sentence: what a visitor would see."""
    axes: Mapping[str, float]
    """Axis to its severity in [0, 1]."""

    def __post_init__(self) -> None:
        """Check names and severities."""
        if self.cell not in CELL_SCENES:
            raise ConfigError(
                f"scene '{self.name}': cell '{self.cell}' is unknown. "
                f"Choose one of: {', '.join(CELL_SCENES)}."
            )
        if self.seed < 0:
            raise ConfigError(f"scene '{self.name}': seed {self.seed} must be 0 or more.")
        try:
            check_axes(self.axes)
        except ConfigError as error:
            raise ConfigError(f"scene '{self.name}': {error}") from error

    @property
    def scene(self) -> Scene:
        """The scene, ready to simulate."""
        return vary(replace(CELL_SCENES[self.cell], name=self.name), self.axes, self.seed)


@dataclass(frozen=True, kw_only=True)
class HouseholdFile:
    """What `household.yaml` holds."""

    version: int
    home: Mapping[str, float] = field(default_factory=dict)
    """Axes and severities that the base policy is trained in."""
    household: tuple[Household, ...] = ()

    def __post_init__(self) -> None:
        """Check the version, the home's axes and that no name comes twice."""
        if self.version != 1:
            raise ConfigError(f"version {self.version} is unknown, must be 1. Update the program.")
        check_axes(self.home)
        seen = {HOME.name, *CELL_SCENES, *NOVEL}
        for home in self.household:
            if home.name in seen or "@" in home.name:
                raise ConfigError(
                    f"scene '{home.name}' must have a name of its own without '@'. Rename it."
                )
            seen.add(home.name)


def load_household(path: Path = FILE) -> HouseholdFile:
    """Return the homes of a file; ConfigError says what is wrong in it and what to do."""
    try:
        return load_config(HouseholdFile, [path])
    except ConfigError as error:
        told = str(error)
        raise ConfigError(
            told if told.startswith(str(path.name)) else f"{path}: {told}"
        ) from error


@cache
def household() -> Mapping[str, Household]:
    """Return the shipped suite by name, in the order of the file."""
    return {home.name: home for home in load_household().household}


def home_variant(seed: int, cell: str = "table") -> Scene:
    """Return a home of the distribution that policies are trained in, named as the cell's home."""
    return vary(CELL_SCENES[cell], load_home_axes(), seed)


def draw_home(cell: str, share: float, rng: np.random.Generator) -> Scene:
    """Return a home of the distribution in `share` of the draws, else the cell's plain home."""
    seed = int(rng.integers(2**31))
    return home_variant(seed, cell) if rng.random() < share else CELL_SCENES[cell]


@cache
def load_home_axes() -> Mapping[str, float]:
    """Return the axes and severities of the shipped home distribution."""
    return load_household().home


def _plain_scenes() -> Mapping[str, Scene]:
    """Return every scene that is not in the file: homes of cells, novel ones, the calibration."""
    return {scene.name: scene for scene in (*CELL_SCENES.values(), *NOVEL.values(), CALIBRATION)}


def scene_named(name: str) -> Scene:
    """Return a scene by name, for example `home` or `home@real`; InputError lists the names.

    What follows `@` chooses the physics.
    """
    place, _, physics = name.partition("@")
    scene = _plain_scenes().get(place)
    if scene is None and place in household():
        scene = household()[place].scene
    if scene is None:
        known = ", ".join([*_plain_scenes(), *household()])
        raise InputError(f"scene '{place}' is unknown. Choose one of: {known}.")
    if "@" not in name:
        return scene
    return replace(scene, name=name, physics=physics_named(physics).name)


def scenes_named(names: str) -> list[Scene]:
    """Return the scenes of a group, or of names with commas between.

    Groups: `novel`, `table` (home and the novel ones), `autoeval` (drawer and sink) and
    `household`; `household@real` is the group in the physics that plays the real robot.
    """
    name, at, physics = names.partition("@")
    groups = {
        "novel": [*NOVEL],
        "table": [HOME.name, *NOVEL],
        "autoeval": ["drawer", "sink"],
        "household": [*household()],
    }
    if name not in groups:
        return [scene_named(part.strip()) for part in names.split(",")]
    return [scene_named(f"{each}{at}{physics}") for each in groups[name]]
