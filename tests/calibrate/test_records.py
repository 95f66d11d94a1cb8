"""A calibration is used only while it is whole, fresh and of this robot and camera."""

import dataclasses

import pytest
import yaml

from robot_agent.calibrate.easy_handeye import (
    T_LINK_OPTICAL_ROTATION,
    calib_text,
    static_transform,
)
from robot_agent.calibrate.gates import Gate, require_gates
from robot_agent.calibrate.poses import bridge_camera
from robot_agent.calibrate.records import (
    Record,
    load,
    path_of,
    require_fit,
    require_set,
    save,
    seal_of,
)
from robot_agent.core.errors import CalibrationError
from robot_agent.core.geometry import pose


def record(kind="camera", **changes):
    given = {
        "robot": "wx250s",
        "camera": "123",
        "values": {"matrix_px": [[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]},
        "residuals": {"rms_px": 0.21},
        "max_age_days": 30.0,
    }
    return Record(kind=kind, **{**given, **changes})


def test_what_is_saved_is_loaded(tmp_path):
    made = record("hand-eye")
    assert save(made, tmp_path) == tmp_path / "hand_eye.yaml"
    found = load(tmp_path, "hand-eye")
    assert found == made
    assert found.hash == made.hash
    assert require_fit(found, "wx250s", "123") is found


def test_a_missing_calibration_says_how_to_make_it(tmp_path):
    with pytest.raises(CalibrationError, match=r"hand_eye.yaml: no such file.*calibrate hand-eye"):
        load(tmp_path, "hand-eye")


def test_an_edited_or_damaged_calibration_is_refused(tmp_path):
    path = save(record(), tmp_path)
    path.write_text(path.read_text().replace("0.21", "0.11"))
    with pytest.raises(CalibrationError, match=r"sha256 is .*must match the content"):
        load(tmp_path, "camera")
    path.write_text(path.read_text()[:80])
    with pytest.raises(CalibrationError, match="Make it again: robot-agent calibrate camera"):
        load(tmp_path, "camera")
    path.write_text("kind: camera\nschema: 2\n")
    with pytest.raises(CalibrationError, match="schema is 2, this program reads 1"):
        load(tmp_path, "camera")
    path.write_text(path_of(tmp_path, "camera").read_text().replace("camera", "view"))
    with pytest.raises(CalibrationError, match="is no calibration of kind 'camera'"):
        load(tmp_path, "camera")


def test_an_old_calibration_is_refused():
    old = record(created="20250101T000000")
    with pytest.raises(
        CalibrationError, match=r"is \d+ days old, limit 30 days.*calibrate camera"
    ):
        require_fit(old, "wx250s", "123")
    assert require_fit(dataclasses.replace(old, max_age_days=0.0), "wx250s", "123")


def test_a_calibration_from_the_future_is_refused():
    with pytest.raises(CalibrationError, match=r"days in the future.*Set the clock"):
        require_fit(record(created="21000101T000000"), "", "")


def test_a_foreign_calibration_is_refused():
    with pytest.raises(CalibrationError, match="of camera '123', must be of '456'"):
        require_fit(record(), "wx250s", "456")
    with pytest.raises(CalibrationError, match="of robot 'wx250s', must be of 'left_arm'"):
        require_fit(record(), "left_arm", "123")


def test_a_set_needs_lens_and_place_and_takes_the_rest(tmp_path):
    save(record("camera"), tmp_path)
    with pytest.raises(CalibrationError, match=r"hand_eye.yaml: no such file"):
        require_set(tmp_path, "wx250s", "123")
    save(record("hand-eye"), tmp_path)
    both = require_set(tmp_path, "wx250s", "123")
    assert set(both.kinds) == {"camera", "hand-eye"}
    assert both.residuals["camera.rms_px"] == 0.21
    save(record("latency", residuals={"correlation": 0.9}), tmp_path)
    more = require_set(tmp_path, "wx250s", "123")
    assert more.hash != both.hash
    assert more.residuals["latency.correlation"] == 0.9
    save(record("workspace", robot="other"), tmp_path)
    with pytest.raises(CalibrationError, match="workspace calibration: of robot 'other'"):
        require_set(tmp_path, "wx250s", "123")


def test_the_seal_follows_the_numbers():
    assert seal_of({"camera": record()}).hash != seal_of({"camera": record(camera="9")}).hash


def test_a_broken_gate_refuses_unless_forced():
    gates = [
        Gate("rms", 1.4, 1.0, "px", "repeat."),
        Gate("views", 20, 12, "", "more.", is_floor=True),
    ]
    with pytest.raises(CalibrationError, match=r"rms is 1.4 px, must be at most 1 px.*--force"):
        require_gates("camera calibration", gates)
    assert require_gates("camera calibration", gates, force=True) == (gates[0].words,)
    assert not Gate("rms", float("nan"), 1.0, "px", "").is_kept


def test_the_file_for_easy_handeye_holds_the_transform():
    content = yaml.safe_load(calib_text(bridge_camera(), "mine", "wx250s"))
    assert content["parameters"]["calibration_type"] == "eye_on_base"
    assert content["parameters"]["robot_base_frame"] == "wx250s/base_link"
    assert content["transform"]["translation"] == pytest.approx({"x": 0.0, "y": -0.16, "z": 0.36})
    q = content["transform"]["rotation"]
    assert sum(value**2 for value in q.values()) == pytest.approx(1.0)


def test_the_camera_has_one_parent():
    """base -> camera_link -> optical gives the hand-eye result, and nobody else holds optical."""
    T_link_optical = pose(T_LINK_OPTICAL_ROTATION, [0.0, 0.015, 0.0])
    found = static_transform(bridge_camera(), T_link_optical, "wx250s")
    assert (found["parent"], found["child"]) == ("wx250s/base_link", "camera_link")
    p = found["translation"]
    # The lens sits 15 mm to the left of the camera's root, which therefore is 15 mm to its right.
    right = bridge_camera()[:3, 0]
    assert [p["x"], p["y"], p["z"]] == pytest.approx(bridge_camera()[:3, 3] + 0.015 * right)
