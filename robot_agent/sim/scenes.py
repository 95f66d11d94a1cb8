"""Where the simulated arm stands: looks, camera, drawer; home, novel and broad scenes."""

from dataclasses import dataclass, field, replace

import numpy as np

from robot_agent.sim.textures import PLAIN, Texture
from robot_agent.sim.things import Thing

TRAVEL_M = 0.12
"""Travel of the drawer on its rail."""
OPEN_M, CLOSED_M = 0.105, 0.015
"""Opening from which the drawer counts as open, and up to which as closed."""
START_OPENING_M = (0.035, 0.080)
"""Both tasks start half open, so that only the instruction tells them apart."""

Color = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One place, and how much it varies from reset to reset."""

    name: str
    cell: str = "table"
    """What stands there: `table` (the demo's drawer), or AutoEval's `drawer` or `sink`."""
    camera_azimuth_rad: float = 0.0
    """Turn of the camera about the vertical through the table's centre, from the Bridge pose."""
    camera_elevation_rad: float = 0.0
    camera_distance: float = 1.0
    """Distance to the table's centre relative to the Bridge pose."""
    drawer_x_m: float = 0.36
    """Front plate when closed, along base x."""
    drawer_y_m: float = 0.02
    drawer_yaw_rad: float = 0.0
    rail_friction_n: float = 1.5
    sink_x_m: float = 0.285
    """Middle of the sink along base x."""
    sink_y_m: float = 0.045
    sink_yaw_rad: float = 0.0
    object_half_length_m: float = 0.040
    """Half the length of the toy."""
    object_radius_m: float = 0.018
    """Of its thin part; the fattest end has 7/6 of it."""
    object_mass_kg: float = 0.05
    object_friction: float = 1.0
    """Sliding friction of rubber tips on the toy."""
    table: Color = (0.62, 0.47, 0.33)
    wall: Color = (0.75, 0.77, 0.78)
    cabinet: Color = (0.85, 0.83, 0.78)
    drawer: Color = (0.90, 0.88, 0.84)
    handle: Color = (0.20, 0.30, 0.65)
    counter: Color = (0.80, 0.80, 0.78)
    basin: Color = (0.15, 0.35, 0.75)
    basket: Color = (0.95, 0.80, 0.10)
    object_color: Color = (0.30, 0.08, 0.38)
    light: float = 0.8
    """Diffuse intensity."""
    light_direction: tuple[float, float, float] = (-0.3, 0.4, -1.0)
    jitter: float = 1.0
    """Scale of the variation between resets: 7 mm of fixture position, 2 degrees of yaw, light."""
    start_opening_m: tuple[float, float] = field(default=START_OPENING_M)
    light_color: Color = (1.0, 1.0, 1.0)
    ambient: float = 0.35
    """Light from everywhere."""
    table_texture: Texture = PLAIN
    wall_texture: Texture = PLAIN
    handle_shape: str = "bar"
    """`bar` (round), `square`, or `bow` (bent, its ends at the front plate)."""
    handle_radius_m: float = 0.007
    handle_half_length_m: float = 0.048
    handle_friction: float = 0.8
    """Between handle and fingers; 0.8 is the fingers' own."""
    drawer_mass_kg: float = 0.6
    object_shape: str = "eggplant"
    """`eggplant`, `carrot`, `corn`, `cucumber` or `banana`; in the sink's cell."""
    distractors: tuple[Thing, ...] = ()
    """Things that stand about, out of the arm's way."""
    physics: str = "trainer"
    """A key of `physics.PHYSICS`: how bodies move and the camera sees."""
    board: str = ""
    """A calibration board: none, in the `gripper`, or in a person's `hand` before the camera."""

    def varied(self, rng: np.random.Generator) -> "Scene":
        """Return this scene as one reset finds it."""
        shift = self.jitter * rng.uniform(-0.007, 0.007, 2)
        turn_rad = self.jitter * rng.uniform(-0.035, 0.035)
        return replace(
            self,
            drawer_x_m=self.drawer_x_m + shift[0],
            drawer_y_m=self.drawer_y_m + shift[1],
            drawer_yaw_rad=self.drawer_yaw_rad + turn_rad,
            sink_x_m=self.sink_x_m + shift[0],
            sink_y_m=self.sink_y_m + shift[1],
            sink_yaw_rad=self.sink_yaw_rad + turn_rad,
            light=self.light * (1.0 + self.jitter * rng.uniform(-0.1, 0.1)),
        )


HOME = Scene(name="home")
CALIBRATION = Scene(name="calibration", drawer_x_m=0.75, jitter=0.0, board="gripper")
"""The arm holds a ChArUco board, and nothing stands in its way."""
CELL_SCENES = {
    "table": HOME,
    "drawer": Scene(name="drawer", cell="drawer", drawer_x_m=0.35, drawer_y_m=-0.03),
    "sink": Scene(name="sink", cell="sink"),
}
"""Each cell as it stands at home."""
NOVEL = {
    scene.name: scene
    for scene in (
        Scene(
            name="kitchen",
            camera_azimuth_rad=0.21,
            camera_elevation_rad=0.08,
            drawer_x_m=0.335,
            drawer_y_m=0.055,
            drawer_yaw_rad=-0.17,
            table=(0.30, 0.33, 0.36),
            wall=(0.86, 0.80, 0.62),
            cabinet=(0.55, 0.70, 0.60),
            drawer=(0.62, 0.78, 0.68),
            handle=(0.85, 0.55, 0.20),
        ),
        Scene(
            name="study",
            camera_azimuth_rad=-0.14,
            camera_elevation_rad=-0.04,
            camera_distance=1.05,
            drawer_x_m=0.372,
            drawer_y_m=-0.015,
            drawer_yaw_rad=0.10,
            table=(0.80, 0.78, 0.72),
            wall=(0.42, 0.50, 0.62),
            cabinet=(0.45, 0.30, 0.20),
            drawer=(0.55, 0.38, 0.25),
            handle=(0.90, 0.85, 0.35),
            light=0.6,
        ),
        Scene(
            name="nursery",
            camera_azimuth_rad=0.27,
            camera_elevation_rad=0.12,
            camera_distance=0.92,
            drawer_x_m=0.33,
            drawer_y_m=0.04,
            drawer_yaw_rad=0.22,
            table=(0.55, 0.70, 0.80),
            wall=(0.93, 0.80, 0.82),
            cabinet=(0.95, 0.93, 0.70),
            drawer=(0.92, 0.62, 0.60),
            handle=(0.30, 0.60, 0.30),
            light=0.95,
        ),
    )
}


def broad_scene(rng: np.random.Generator) -> Scene:
    """Return a scene drawn far around home and the novel ones, to train world and judge on."""

    def color() -> Color:
        r, g, b = rng.uniform(0.12, 0.97, 3)
        return (float(r), float(g), float(b))

    body = color()
    drawer = color() if rng.random() < 0.5 else body
    return Scene(
        name="broad",
        camera_azimuth_rad=float(rng.uniform(-0.28, 0.28)),
        camera_elevation_rad=float(rng.uniform(-0.13, 0.13)),
        camera_distance=float(rng.uniform(0.90, 1.12)),
        drawer_x_m=float(rng.uniform(0.325, 0.385)),
        drawer_y_m=float(rng.uniform(-0.05, 0.075)),
        drawer_yaw_rad=float(rng.uniform(-0.24, 0.24)),
        rail_friction_n=float(rng.uniform(1.0, 2.5)),
        table=color(),
        wall=color(),
        cabinet=body,
        drawer=drawer,
        handle=color(),
        light=float(rng.uniform(0.5, 1.0)),
        light_direction=(float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6)), -1.0),
        jitter=0.0,
        start_opening_m=(0.0, TRAVEL_M),
    )


def broad_cell_scene(cell: str, rng: np.random.Generator) -> Scene:
    """Return a scene drawn far around the home of a cell; the sink stays blue and yellow, roughly.

    Fixtures move less than at the table, because the tool must reach them inside the cell's box.
    """
    scene = broad_scene(rng)
    if cell == "table":
        return scene

    def near(color: Color) -> Color:
        r, g, b = np.clip(np.array(color) + rng.uniform(-0.15, 0.15, 3), 0.0, 1.0)
        return (float(r), float(g), float(b))

    home = CELL_SCENES[cell]
    return replace(
        scene,
        cell=cell,
        drawer_x_m=float(rng.uniform(0.338, 0.356)),
        drawer_y_m=float(rng.uniform(-0.06, 0.0)),
        drawer_yaw_rad=float(rng.uniform(-0.12, 0.12)),
        sink_x_m=home.sink_x_m + float(rng.uniform(-0.012, 0.012)),
        sink_y_m=home.sink_y_m + float(rng.uniform(-0.012, 0.012)),
        sink_yaw_rad=float(rng.uniform(-0.08, 0.08)),
        object_mass_kg=float(rng.uniform(0.03, 0.08)),
        object_friction=float(rng.uniform(0.8, 1.2)),
        object_radius_m=float(rng.uniform(0.016, 0.019)),
        counter=near(home.counter),
        basin=near(home.basin),
        basket=near(home.basket),
        object_color=near(home.object_color),
    )
