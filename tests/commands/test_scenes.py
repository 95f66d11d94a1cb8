"""`scenes`: a list that names everything, and a sheet that is never written over another."""

import json

import numpy as np
from PIL import Image

from robot_agent import cli
from robot_agent.sim.household import household
from robot_agent.sim.scenes import NOVEL


def test_the_list_names_every_scene_with_its_axes(capsys):
    assert cli.main(["scenes", "list", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert list(results) == ["home", *NOVEL, *household()]
    assert results["farmhouse"]["axes"] == household()["farmhouse"].axes
    assert results["home"]["axes"]["light"] > 0.0
    assert cli.main(["scenes", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in results)


def test_a_sheet_shows_each_scene_of_a_suite(tmp_path, capsys):
    out = tmp_path / "sheets/two.png"
    words = ["scenes", "sheet", "--suite", "home@trainer,tiled_pantry", "--out", str(out)]
    assert cli.main([*words, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["scenes"] == ["home@trainer", "tiled_pantry"]
    picture = np.array(Image.open(out)).astype(int)
    first, second = picture[8:248, 8:328], picture[8:248, 336:656]
    assert np.abs(first - second).mean() > 20
    assert cli.main(words) == 2
    assert "exists, must be new" in capsys.readouterr().err


def test_a_sheet_of_nothing_known_is_refused(tmp_path, capsys):
    assert cli.main(["scenes", "sheet", "--suite", "moon", "--out", str(tmp_path / "a.png")]) == 2
    assert "scene 'moon' is unknown" in capsys.readouterr().err
