"""Judges commands without any code of the guard or of the kinematics: the URDF chain, in batches.

All numbers are typed in again on purpose: a mistake in the package must not excuse itself.
"""

import numpy as np

_LOWER = np.array([-3.14158265, -1.8849556, -2.1467550, -3.14158265, -1.7453293, -3.14158265])
_UPPER = np.array([3.14158265, 1.9896753, 1.6057029, 3.14158265, 2.1467550, 3.14158265])
_OFFSETS = np.array(
    [
        [0.0, 0.0, 0.072],
        [0.0, 0.0, 0.03865],
        [0.04975, 0.0, 0.25],
        [0.175, 0.0, 0.0],
        [0.075, 0.0, 0.0],
        [0.065, 0.0, 0.0],
    ]
)
_AXES = "zyyxyx"
_HAND = np.array([0.043 + 0.023 + 0.027575, 0.0, 0.0])
_TOOL_BOX = (np.array([0.10, -0.25, 0.015]), np.array([0.48, 0.30, 0.35]))
_BODY_BOX = (np.array([-0.35, -0.45, 0.015]), np.array([0.60, 0.45, 0.70]))
_STEP_RAD = 0.3
_LEAD_M = 0.06
_SLACK_M = 0.0025
_BY_WAIST, _BY_SHOULDER, _BY_ELBOW, _BY_ROLL, _BY_WRIST, _BY_ROTATE = range(6)
_BODIES = {
    # name: (last joint that moves it, -1 for the base; ends in its own frame [m]; radius [m])
    "plate": [
        (-1, (-0.12, y, -0.01), (0.05, y, -0.01), 0.034) for y in (-0.047, -0.016, 0.016, 0.047)
    ],
    "hub": [(-1, (-0.11, -0.01, 0.01), (-0.11, 0.01, 0.01), 0.058)],
    "motor": [
        (-1, (-0.025, -0.02, 0.05), (-0.025, 0.02, 0.05), 0.035),
        (-1, (0.0, -0.025, 0.05), (0.0, 0.025, 0.05), 0.035),
        (-1, (0.025, -0.02, 0.05), (0.025, 0.02, 0.05), 0.035),
    ],
    "shoulder": [(_BY_WAIST, (0.0, -0.035, 0.028), (0.0, 0.035, 0.028), 0.022)],
    "upper": [(_BY_SHOULDER, (0.0, 0.0, -0.00065), (0.005, 0.0, 0.21935), 0.022)],
    "elbow": [(_BY_SHOULDER, (0.026, -0.03, 0.24535), (0.026, 0.03, 0.24535), 0.043)],
    "forearm": [
        (_BY_ELBOW, (0.01025, 0.0, 0.0), (0.17025, 0.0, 0.0), 0.032),
        (_BY_ROLL, (0.01025, 0.006, 0.0), (0.06025, 0.006, 0.0), 0.037),
    ],
    "hand": [(_BY_WRIST, (0.01525, 0.0, 0.00735), (0.06025, 0.0, 0.00735), 0.035)],
    "gripper": [
        (_BY_ROTATE, (0.00025, 0.0, 0.00735), (0.03025, 0.0, 0.00735), 0.035),
        (_BY_ROTATE, (0.05025, -0.03, 0.00735), (0.05025, 0.03, 0.00735), 0.032),
    ],
    "fingers": [
        (_BY_ROTATE, (0.06725, 0.034, 0.0), (0.09725, 0.034, 0.0), 0.018),
        (_BY_ROTATE, (0.06725, -0.034, 0.0), (0.09725, -0.034, 0.0), 0.018),
    ],
}
_FREE = ("elbow", "forearm", "hand", "gripper", "fingers")
_MEET = [(a, b) for a in _FREE for b in ("plate", "hub", "motor", "shoulder")]
_MEET += [(a, b) for a in ("hand", "gripper", "fingers") for b in ("upper", "elbow")]


def _turn(axis: str, angle_N: np.ndarray) -> np.ndarray:
    c, s = np.cos(angle_N), np.sin(angle_N)
    o, i = np.zeros_like(c), np.ones_like(c)
    rows = {
        "x": [[i, o, o], [o, c, -s], [o, s, c]],
        "y": [[c, o, s], [o, i, o], [-s, o, c]],
        "z": [[c, -s, o], [s, c, o], [o, o, i]],
    }[axis]
    return np.moveaxis(np.array(rows), -1, 0)


def gaps_m(joints_N6: np.ndarray, spacing_m: float = 0.006) -> np.ndarray:
    """Return the smallest gap (N,) of links that can meet, and of links and the table at z = 0.

    Brute force: each link is a row of balls along its axis.
    """
    count, balls = len(joints_N6), {}
    R, p = np.broadcast_to(np.eye(3), (count, 3, 3)), np.zeros((count, 3))
    frames = [(R, p)]
    for k, axis in enumerate(_AXES):
        p = p + R @ _OFFSETS[k]
        R = R @ _turn(axis, joints_N6[:, k])
        frames.append((R, p))
    for name, bodies in _BODIES.items():
        rows, radii = [], []
        for link, start, end, radius in bodies:
            number = int(np.ceil(np.linalg.norm(np.subtract(end, start)) / spacing_m)) + 1
            places = np.linspace(start, end, number)
            R, p = frames[link + 1]
            rows.append(np.einsum("nij,bj->nbi", R, places) + p[:, None])
            radii += [radius] * number
        balls[name] = np.concatenate(rows, axis=1), np.array(radii)
    smallest = np.full(count, np.inf)
    for a, b in _MEET:
        (centres_a, radii_a), (centres_b, radii_b) = balls[a], balls[b]
        far = np.linalg.norm(centres_a[:, :, None] - centres_b[:, None], axis=-1)
        gaps = far - radii_a[:, None] - radii_b
        smallest = np.minimum(smallest, gaps.min(axis=(1, 2)))
    for name in ("elbow", "forearm", "hand", "gripper"):
        centres, radii = balls[name]
        smallest = np.minimum(smallest, (centres[:, :, 2] - radii).min(axis=1))
    return smallest


def points(joints_N6: np.ndarray) -> dict[str, np.ndarray]:
    """Return elbow, wrist and tool points (N, 3) by walking along the URDF."""
    R = np.broadcast_to(np.eye(3), (len(joints_N6), 3, 3))
    p = np.zeros((len(joints_N6), 3))
    found = {}
    for k, axis in enumerate(_AXES):
        p = p + R @ _OFFSETS[k]
        R = R @ _turn(axis, joints_N6[:, k])
        if k == 2:
            found["elbow"] = p
        if k == 4:
            found["wrist"] = p + R @ np.array([0.05, 0.0, 0.0])
    found["tool"] = p + R @ _HAND
    return found


def _outside_m(point_N3: np.ndarray, box: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.maximum(box[0] - point_N3, point_N3 - box[1]).max(axis=1).clip(0.0)


def faults(
    measured_N6: np.ndarray,
    target_N6: np.ndarray,
    tool_target_N44: np.ndarray,
    pwm_N: np.ndarray,
    moved_N: np.ndarray,
) -> list[str]:
    """Return one line per kind of fault found in N commands; empty when all are safe.

    `moved_N` says which commands follow a newly accepted step; the others must not move the arm.
    """
    p_measured, p_target = points(measured_N6), points(target_N6)
    judged = {
        "not finite": ~(
            np.isfinite(target_N6).all(1)
            & np.isfinite(tool_target_N44).all((1, 2))
            & np.isfinite(pwm_N)
        ),
        "joint limit": ((target_N6 < _LOWER) | (target_N6 > _UPPER)).any(1),
        "joint step": np.abs(target_N6 - measured_N6).max(1) > _STEP_RAD + 1e-9,
        "pwm": np.abs(pwm_N) > 350.0,
        "moved while it held": ~moved_N & (np.abs(target_N6 - measured_N6).max(1) > 1e-12),
        "tool target is not where the joints lead": np.linalg.norm(
            tool_target_N44[:, :3, 3] - p_target["tool"], axis=1
        )
        > 2e-4,
        "lead": np.linalg.norm(tool_target_N44[:, :3, 3] - p_measured["tool"], axis=1)
        > _LEAD_M + 1e-6,
        "rotation": np.abs(
            tool_target_N44[:, :3, :3] @ np.swapaxes(tool_target_N44[:, :3, :3], 1, 2) - np.eye(3)
        ).max((1, 2))
        > 1e-6,
    }
    for name in ("tool", "wrist", "elbow"):
        box = _TOOL_BOX if name == "tool" else _BODY_BOX
        out_m, was_m = _outside_m(p_target[name], box), _outside_m(p_measured[name], box)
        judged[f"{name} box"] = (out_m > _SLACK_M) & (out_m > was_m + 1e-9)
    # By brute force, so of every twentieth command only; balls leave a quarter of a millimetre.
    gap_m, gap_before_m = gaps_m(target_N6[::20]), gaps_m(measured_N6[::20])
    judged["touches"] = (gap_m < 0.009) & (gap_m < gap_before_m - 2.5e-4)
    return [
        f"{name}: {int(bad.sum())} of {len(bad)}, first {int(np.argmax(bad))}"
        for name, bad in judged.items()
        if bad.any()
    ]
