"""Calibration through the running nodes: the guard moves the arm, the camera sees the board."""

import json

import numpy as np
import pytest

from robot_agent.calibrate.board import Board
from robot_agent.calibrate.frames import judge, wiggle
from robot_agent.calibrate.hand_eye import pose_error
from robot_agent.calibrate.intrinsics import board_pose
from robot_agent.calibrate.latency import excitation, solve_latency
from robot_agent.calibrate.poses import bridge_camera, guided_poses, held_board
from robot_agent.calibrate.records import Record, require_set, save
from robot_agent.calibrate.stage import collect
from robot_agent.core import wx250s
from robot_agent.core.errors import ArmFaultError, CalibrationError
from robot_agent.guard.limits import GuardConfig
from robot_agent.ros.calibration_stage import RunningStage
from robot_agent.ros.calibrations import SIMULATED, seal_for, simulated_seal
from robot_agent.ros.description import AgentOptions, NodeProcess, processes
from robot_agent.ros.up import Agent
from robot_agent.sim.calibration_stage import true_intrinsics
from robot_agent.sim.household import scene_named
from robot_agent.sim.world import SimWorld


def lens_and_place(folder, **changes):
    for kind in ("camera", "hand-eye"):
        given = {"robot": "wx250s", "camera": "123", "values": {}, "residuals": {"rms_px": 0.2}}
        save(Record(kind=kind, **{**given, **changes}), folder)


def test_only_the_calibration_of_this_robot_stands_behind_an_episode(tmp_path):
    assert seal_for("", "wx250s", "123") is None
    assert seal_for(SIMULATED, "wx250s", "123") == simulated_seal()
    with pytest.raises(CalibrationError, match="no such file"):
        seal_for(str(tmp_path), "wx250s", "123")
    lens_and_place(tmp_path)
    assert seal_for(str(tmp_path), "wx250s", "123") == require_set(tmp_path, "", "")
    with pytest.raises(CalibrationError, match="of camera '123', must be of '456'"):
        seal_for(str(tmp_path), "wx250s", "456")


def test_a_robot_is_brought_up_with_its_calibration_and_a_simulation_with_the_built_in_one():
    real = next(p for p in processes(AgentOptions(is_simulated=False)) if p.name == "recorder")
    assert real.parameters["calibration"] == "calibration"
    assert real.parameters["robot"] == "wx250s"
    simulated = next(p for p in processes(AgentOptions()) if p.name == "recorder")
    assert simulated.parameters["calibration"] == SIMULATED


def _agent(tmp_path, ros_domain_id, parameters):
    """Return sim_world, arm_guard and a recorder with these parameters."""
    options = AgentOptions(folder=tmp_path / "agent", scene="calibration")
    nodes = [p for p in processes(options) if p.name in ("sim_world", "arm_guard")]
    given = {"store": str(options.store_folder), "captures": str(tmp_path / "captures")}
    nodes.append(NodeProcess(name="recorder", parameters={**given, **parameters}))
    return Agent(options, nodes, domain_id=ros_domain_id)


@pytest.mark.ros
@pytest.mark.slow
def test_an_episode_is_refused_without_calibration_and_carries_it_with_one(
    tmp_path, ros_domain_id
):
    folder = tmp_path / "calibration"
    needs = {"calibration": str(folder), "robot": "wx250s", "camera_serial": "123"}
    with _agent(tmp_path, ros_domain_id, needs) as agent:
        assert agent.client is not None
        calls = agent.client.calls

        def start():
            return calls.call(
                "episode/start", instruction="open the drawer", allow_unknown_task=True
            )

        answer = start()
        assert not answer.success
        assert "camera.yaml: no such file" in answer.message
        lens_and_place(folder, camera="999")
        assert "of camera '999', must be of '123'" in start().message
        lens_and_place(folder, created="20200101T000000", max_age_days=30.0)
        assert "days old, limit 30" in start().message
        lens_and_place(folder)
        assert start().success
        stage = RunningStage(agent.client)
        for _ in range(3):
            stage.act(np.array([0.005, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
        stage.hold(0.5)
        ended = calls.call("episode/end", timeout_s=30.0, outcome="success", judged_by="test")
        assert ended.success, ended.message
    path = tmp_path / "agent/episodes" / ended.episode_id / "episode.json"
    info = json.loads(path.read_text())
    seal = require_set(folder, "wx250s", "123")
    assert info["calibration_hash"] == seal.hash
    assert info["config"]["calibration"]["residuals"]["camera.rms_px"] == 0.2


@pytest.mark.ros
@pytest.mark.slow
def test_the_guard_takes_the_board_to_poses_that_the_camera_sees(tmp_path, ros_domain_id):
    world = SimWorld(scene_named("calibration"))
    lens = true_intrinsics(world)
    board = Board()
    with _agent(tmp_path, ros_domain_id, {"calibration": SIMULATED}) as agent:
        assert agent.client is not None
        stage = RunningStage(agent.client)
        poses = guided_poses(lens, board.config, GuardConfig())[:3]
        for sample in collect(stage, poses, board):
            assert sample.corners.count >= 20
            T_camera_board, rms_px = board_pose(sample.corners, lens)
            assert rms_px < 0.5
            seen = bridge_camera() @ T_camera_board
            felt = wx250s.forward(sample.joints_rad) @ held_board(board.config)
            apart_m, apart_deg = pose_error(seen, felt)
            assert apart_m < 2e-3, "picture and joints are of different moments"
            assert apart_deg < 0.5
        verdicts = judge(wiggle(stage))
        assert [v.axis for v in verdicts if not v.is_right] == []
        result = solve_latency(stage.record(excitation(8.0)))
        assert result.command_to_picture.correlation > 0.4
        assert 0.05 < result.command_to_picture.delay_s < 0.6
        assert -0.1 < result.joints_to_picture.delay_s < 0.2
        agent.client.stop()
        with pytest.raises(ArmFaultError, match="reset the guard"):
            stage.move_to(poses[0])
