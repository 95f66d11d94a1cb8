"""The judge of I1 to I10 finds each planted violation, in memory and in a recorded file."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.guard import checker
from tests.guard.paper_arm import WORK_RAD
from tests.ros.invariants import Recording, load, save

S = 1_000_000_000


def state(*, latched: bool = False, version: str = "v1", chunk: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        latched=latched,
        causes=["contact"] if latched else [],
        changes=[],
        accepted=3,
        weights_version=version,
        chunk_id=chunk,
    )


def asks(opening: float = 1.0) -> SimpleNamespace:
    return SimpleNamespace(deadman=True, gripper=opening)


def recorded(is_stopped: bool = False) -> Recording:
    """Three seconds of an arm whose waist turns slowly, and stands from the second second on."""
    made = Recording()
    for tick in range(300):
        t = S + tick * S // 100
        turned = WORK_RAD.copy()
        turned[0] = 0.3 * min(tick, 100) / 100
        made.joints.append((t, turned))
        if tick % 2 == 0:
            made.commands.append((t, turned.copy()))
        if tick % 10 == 0:
            is_latched = is_stopped and tick >= 110
            made.states.append((t, state(latched=is_latched, chunk=1 + tick // 50)))
            made.versions.append((t, "v1"))
    made.episodes.append("e1")
    return made


def command(made: Recording, index: int, joint: int, value: float) -> None:
    made.commands[index][1][joint] = value


def i1(made: Recording) -> None:
    command(made, 40, 2, np.nan)


def i2(made: Recording) -> None:
    for index in range(len(made.commands)):
        command(made, index, 5, 3.2)


def i3(made: Recording) -> None:
    command(made, 40, 4, made.commands[39][1][4] + 0.31)


def i3_speed(made: Recording) -> None:
    for tick, (_, q) in enumerate(made.joints):
        q[0] = min(tick, 100) * 0.01 * 1.2


def i4(made: Recording) -> None:
    for k in range(60, 150):  # lean forward in small steps until the tool is under the table
        made.commands[k][1][1] += min(k - 60, 40) * 0.014


def i5(made: Recording) -> None:
    for k in range(80, 150):
        command(made, k, 0, 0.3 + 0.001 * (k - 80))


def i6(made: Recording) -> None:
    made.commands += [(t + S // 100, q) for t, q in made.commands]
    made.commands.sort(key=lambda row: row[0])


def i6_counted(made: Recording) -> None:
    made.num_publishers += [1, 2, 1]


def i7(made: Recording) -> None:
    made.states[7] = (made.states[7][0], state(version="", chunk=0))


def i7_mixed(made: Recording) -> None:
    made.states[7] = (made.states[7][0], state(version="v2", chunk=2))


def i8(made: Recording) -> None:
    made.commands = made.commands[::4]


def i9(made: Recording) -> None:
    for tick in range(190, 300):
        made.joints[tick][1][0] += 0.0005 * (tick - 190)


CASES = [
    ("I1", i1, False),
    ("I2", i2, False),
    ("I3", i3, False),
    ("I3", i3_speed, False),
    ("I4", i4, False),
    ("I5", i5, True),
    ("I6", i6, False),
    ("I6", i6_counted, False),
    ("I7", i7, False),
    ("I7", i7_mixed, False),
    ("I8", i8, False),
    ("I9", i9, True),
]


def named(lines: list[str]) -> set[str]:
    return {line.partition(":")[0] for line in lines}


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_sound_recording_breaks_nothing(tmp_path: Path, is_stopped: bool) -> None:
    made = recorded(is_stopped)
    assert made.faults(kept=["v1", "e1"]) == []
    save(made, tmp_path / "sound.mcap")
    assert load(tmp_path / "sound.mcap").faults(kept=["v1"]) == []


@pytest.mark.parametrize(
    ("invariant", "plant", "is_stopped"), CASES, ids=[plant.__name__ for _, plant, _ in CASES]
)
def test_a_planted_violation_is_found_and_nothing_else(
    tmp_path: Path, invariant: str, plant: Callable[[Recording], None], is_stopped: bool
) -> None:
    made = recorded(is_stopped)
    plant(made)
    allowed = {invariant} | ({"I2", "I3", "I4"} if invariant == "I1" else set())
    assert invariant in named(made.faults())
    assert named(made.faults()) <= allowed
    if made.num_publishers:
        return  # nobody counts publishers in a file; there their rate tells
    save(made, tmp_path / "planted.mcap")
    assert invariant in named(load(tmp_path / "planted.mcap").faults())


@pytest.mark.parametrize("lost", ["v1", "e1"])
def test_a_lost_version_or_episode_is_found(tmp_path: Path, lost: str) -> None:
    """I10: what acted, and what was acknowledged, must be there afterwards."""
    made = recorded()
    assert made.faults(kept={"v1", "e1"} - {lost}) == [f"I10: lost {lost}"]
    save(made, tmp_path / "lost.mcap")
    assert load(tmp_path / "lost.mcap").faults(kept=[]) == ["I10: lost v1"]


def released(speed_mps: float, seconds: float) -> Recording:
    """A stopped arm whose waist backs off while a person asks for it."""
    made = recorded(is_stopped=True)
    reach_m = float(np.hypot(*checker.points(WORK_RAD[None])["tool"][0][:2]))
    for k in range(80, 150):
        turned = min(0.02 * (k - 80), seconds) * speed_mps / reach_m
        command(made, k, 0, 0.3 - turned)
        made.operators.append((made.commands[k][0], asks()))
    return made


def test_a_release_that_a_person_asked_for_is_none_and_a_fast_or_far_one_is() -> None:
    assert released(0.04, 0.4).faults() == []
    assert named(released(0.08, 0.2).faults()) == {"I5"}
    assert named(released(0.04, 1.0).faults()) == {"I5"}
    unasked = released(0.04, 0.4)
    unasked.operators = [(t, asks(0.3)) for t, _ in unasked.operators]
    assert named(unasked.faults()) == {"I5"}
