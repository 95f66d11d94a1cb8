"""The whole calibration on rendered pictures of board and arm, as a user runs it."""

import json

import cv2
import pytest
import yaml

from robot_agent.calibrate.records import load
from robot_agent.cli import main
from robot_agent.core.config import load_config
from robot_agent.guard.limits import GuardConfig
from robot_agent.sim.calibration_proof import simulated_touches
from robot_agent.sim.calibration_stage import held_views

pytestmark = pytest.mark.slow


def run(capsys, *words):
    assert main(["calibrate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["results"]


@pytest.fixture
def simulated(tmp_path, capsys):
    """Run a calibration in simulation, all of one test into one folder."""

    def command(kind, *words):
        return run(capsys, kind, "--sim", "--out", str(tmp_path), *words)

    return command


def error_of(found):
    return next(row for row in found["methods"] if row["method"] == found["best"])


def test_hand_eye_of_an_exact_arm_is_within_a_millimetre_and_a_tenth_of_a_degree(simulated):
    lens = simulated("camera")
    assert lens["error"]["worst_px"] < 1.5
    assert lens["residuals"]["rms_px"] < 0.2
    found = simulated("hand-eye", "--count", "24")
    best = error_of(found)
    assert best["error_mm"] < 1.0
    assert best["error_deg"] < 0.1
    assert best["world_mm"] < 1.0
    assert len(found["methods"]) == 8
    view = simulated("view")
    assert view["verdict"] == "go"
    assert view["residuals"]["apart_mm"] < 2.0


def test_hand_eye_of_the_arm_that_plays_the_real_one_is_within_5_mm_and_half_a_degree(simulated):
    lens = simulated("camera", "--scene", "calibration@real")
    assert lens["error"]["focal_percent"] < 0.5
    found = simulated("hand-eye", "--scene", "calibration@real", "--count", "24")
    best = error_of(found)
    assert best["error_mm"] < 5.0
    assert best["error_deg"] < 0.5
    assert best["world_mm"] < 5.0  # the zero of the waist turns it, and is nobody's to see
    park = next(row for row in found["methods"] if row["method"] == "PARK")
    assert best["error_deg"] < park["error_deg"]


def test_the_wiggle_test_and_a_planted_delay_in_simulation(simulated):
    axes = simulated("frames")["axes"]
    assert [row["verdict"] for row in axes] == ["right"] * 7
    delays = [
        simulated("latency", "--seconds", "8", "--planted-ms", planted)["delays_ms"]
        for planted in ("0", "80")
    ]
    apart_ms = delays[1]["command_to_picture"] - delays[0]["command_to_picture"]
    assert apart_ms == pytest.approx(80.0, abs=40.0)
    assert delays[0]["joints_to_picture"] == pytest.approx(0.0, abs=40.0)


def test_the_workspace_of_a_simulated_table(simulated):
    found = simulated("workspace", "--scene", "calibration@real")
    assert found["residuals"]["plane_rms_mm"] < 3.0
    assert found["limits"]["box_low_m"][2] == pytest.approx(0.038, abs=0.008)


def test_a_lens_from_a_folder_of_pictures(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(held_views(14)):
        cv2.imwrite(str(folder / f"{number:02d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    where = ["--pictures", str(folder), "--camera", "123", "--out", str(tmp_path)]
    found = run(capsys, "camera", *where)
    assert found["residuals"]["views"] >= 12
    assert found["values"]["matrix_px"][0][0] == pytest.approx(623.588, rel=0.005)
    assert load(tmp_path, "camera").camera == "123"
    (folder / "broken.png").write_bytes(b"no picture")
    assert main(["calibrate", "camera", *where]) == 2
    assert "cannot be read as a picture" in capsys.readouterr().err


def test_a_workspace_from_a_file_of_touches(tmp_path, capsys):
    path = tmp_path / "touches.yaml"
    table, box = (
        [list(map(float, q)) for q in part] for part in simulated_touches("calibration", 0)
    )
    path.write_text(yaml.safe_dump({"table": table, "box": box}))
    words = ["--touches", str(path), "--camera", "123", "--out", str(tmp_path)]
    found = run(capsys, "workspace", *words)
    assert load_config(GuardConfig, [tmp_path / "guard_limits.yaml"]).floor_m == pytest.approx(
        found["limits"]["box_low_m"][2], abs=1e-5
    )
    path.write_text("table: 3")
    assert main(["calibrate", "workspace", *words]) == 2
    assert "must hold `table` and `box`" in capsys.readouterr().err


def test_a_hand_eye_without_a_lens_is_refused(tmp_path, capsys):
    status = main(["calibrate", "hand-eye", "--sim", "--out", str(tmp_path / "none")])
    assert status == 1
    assert "camera.yaml: no such file" in capsys.readouterr().err


def test_a_broken_gate_saves_nothing_unless_forced(tmp_path, capsys):
    words = ["camera", "--sim", "--out", str(tmp_path), "--count", "5"]
    assert main(["calibrate", *words]) == 1
    assert "usable pictures is" in capsys.readouterr().err
    assert not (tmp_path / "camera.yaml").exists()
    assert main(["calibrate", *words, "--force"]) == 0
    assert "usable pictures is" in (tmp_path / "camera.yaml").read_text().replace("\n  ", " ")


def test_the_board_is_drawn_in_its_size(tmp_path, capsys):
    found = run(capsys, "board", "--out", str(tmp_path / "board.png"), "--dpi", "254")
    assert found["size_mm"] == pytest.approx([188.0, 140.0])
    assert cv2.imread(str(tmp_path / "board.png")).shape[:2] == (1400, 1880)


def test_a_real_camera_must_be_named(capsys):
    assert main(["calibrate", "camera"]) == 2
    assert "--camera is empty" in capsys.readouterr().err
