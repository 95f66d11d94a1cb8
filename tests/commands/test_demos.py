"""`robot-agent demos`: collect in a cell, inspect the file, check the hands."""

import json

import cv2

from robot_agent import cli


def test_what_is_collected_can_be_inspected(tmp_path, capsys):
    out, sheet = tmp_path / "play.safetensors", tmp_path / "sheet.png"
    words = ["demos", "collect", "--kind", "play", "--cell", "drawer", "--num", "2"]
    words += ["--steps", "5", "--workers", "1", "--seed", "8", "--out", str(out), "--json"]
    assert cli.main(words) == 0
    collected = json.loads(capsys.readouterr().out)["results"]
    assert (collected["cell"], collected["episodes"], collected["steps"]) == ("drawer", 2, 10)
    assert cli.main(["demos", "inspect", str(out), "--sheet", str(sheet), "--json"]) == 0
    inspected = json.loads(capsys.readouterr().out)["results"]
    assert inspected["tasks"] == collected["tasks"]
    assert cv2.imread(str(sheet)).shape == (128, 64 * 12, 3)
    assert cli.main(["demos", "inspect", str(out)]) == 0
    assert "near_miss_share" in capsys.readouterr().out


def test_a_task_of_another_cell_is_refused_with_those_of_this_one(tmp_path, capsys):
    words = ["demos", "collect", "--cell", "sink", "--task", "open the drawer", "--num", "1"]
    assert cli.main([*words, "--workers", "1", "--out", str(tmp_path / "x.safetensors")]) == 2
    assert "put the eggplant in the blue sink" in capsys.readouterr().err


def test_play_takes_no_task(tmp_path, capsys):
    words = ["demos", "collect", "--kind", "play", "--task", "open", "--num", "8"]
    assert cli.main([*words, "--out", str(tmp_path / "x.safetensors")]) == 2
    assert "--task does not go with play" in capsys.readouterr().err


def test_a_check_reports_each_task_with_its_interval(capsys):
    assert cli.main(["demos", "check", "--cell", "drawer", "--num", "2", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert set(results) == {"drawer/open", "drawer/close"}
    one = results["drawer/open"]
    assert one["trials"] == 2
    low, high = one["interval"]
    assert 0.0 <= low <= one["successes"] / 2 <= high <= 1.0
