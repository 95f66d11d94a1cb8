"""Shadow, probation and verdict, wired: what a candidate must show, and who decides."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import SwapRefusedError
from robot_agent.release.probation import ProbationConfig
from robot_agent.release.promotion import Promotion
from robot_agent.release.road import SIMULATED, PromotionConfig, Stage
from robot_agent.release.shadow import ShadowConfig
from robot_agent.release.states import State
from robot_agent.release.waiver import require_waiver, sign_waiver
from tests.release.bundles import KEYRING, OPERATOR, STRANGER, TRAINER

ACTIONS = np.tile([0.01, 0, 0, 0, 0, 0, 1.0], (5, 1))
ROBOT = PromotionConfig(shadow=ShadowConfig(min_observations=3))


@dataclass(frozen=True)
class Named:
    """Weights that are only a name."""

    version: str

    def reset(self, instruction: str, seed: int) -> None:
        pass

    def act(self, observation: Any) -> Any:
        pass


@dataclass
class Ledger:
    """A registry of words."""

    told: list[str] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)

    def state(self, version: str) -> State | None:
        return self.states.get(version)

    def activate(self, version: str, reason: str) -> None:
        self.told.append(f"activate {version}")

    def prove(self, version: str, reason: str) -> None:
        self.told.append(f"prove {version}: {reason}")

    def reject(self, version: str, reason: str) -> None:
        self.told.append(f"reject {version}: {reason}")

    def roll_back(self, reason: str, leaving: str = "") -> str:
        self.told.append(f"roll back: {reason}")
        return "old"

    def suspend(self, reason: str) -> str:
        self.told.append(f"suspend: {reason}")
        return "old"

    def note(self, version: str, what: str, values: Any) -> None:
        self.told.append(f"note {what} {dict(values)}")


class Robot:
    """A promotion with a slot and a paper registry."""

    def __init__(self, config: PromotionConfig = ROBOT) -> None:
        self.ledger, self.slot = Ledger(), PolicySlot(Named("old"))
        weights: Any = self.ledger
        self.promotion = Promotion(weights, self.slot, config)

    def see(self, count: int = 3, candidate: Any = ACTIONS, seconds: float = 0.1) -> None:
        for _ in range(count):
            self.promotion.compare(("old", "new"), ACTIONS, candidate, (0.1, seconds))

    def episode(self, outcome: str, *events: str) -> str:
        self.promotion.begin_episode()
        version = self.slot.active.version
        if events:
            self.promotion.hear_guard(events, is_operator="takeover" in events)
            self.promotion.hear_guard([], is_operator=False)
            self.promotion.settle()
        self.promotion.end_episode()
        self.slot.swap_at_boundary()
        self.promotion.report(version, outcome, "Ada")
        return version

    def pairs(self, count: int, new: str, old: str) -> None:
        for _ in range(count):
            assert self.episode(new) == "new"
            assert self.episode(old) == "old"

    def on_probation(self) -> "Robot":
        self.promotion.begin(Named("new"))
        self.see()
        return self


def test_nothing_acts_in_the_shadow_and_a_boundary_is_needed_after_it():
    robot = Robot()
    assert "new: shadow, 0 of 3 observations" in robot.promotion.begin(Named("new"))
    robot.see(2)
    assert robot.episode("success") == "old"
    assert robot.promotion.progress.stage is Stage.SHADOW
    robot.see(1)
    assert robot.promotion.progress.stage is Stage.ARMED
    assert robot.slot.active.version == "old"
    assert robot.episode("success") == "new"
    assert "activate new" in robot.ledger.told
    assert any("shadow ends" in told and "divergence" in told for told in robot.ledger.told)


@pytest.mark.parametrize(
    ("candidate", "seconds", "words"),
    [
        (ACTIONS * np.nan, 0.1, "finite is 1 answers not"),
        (ACTIONS * [-9, 1, 1, 1, 1, 1, 1], 0.1, "divergence is"),
        (ACTIONS, 0.5, "shadow latency is 5.000 times as slow, must be at most 2.0"),
        (ACTIONS[:3], 0.1, "expected float64"),
    ],
)
def test_the_shadow_refuses_and_says_which_check(candidate, seconds, words):
    robot = Robot()
    robot.promotion.begin(Named("new"))
    robot.see(3, candidate, seconds)
    assert robot.ledger.told[-1].startswith("reject new: shadow:")
    assert words in robot.ledger.told[-1]
    assert robot.episode("success") == "old"


def test_a_newer_candidate_replaces_the_one_in_the_shadow_and_none_that_is_on_probation():
    robot = Robot()
    robot.promotion.begin(Named("other"))
    robot.on_probation()
    assert "reject other: replaced in the shadow by new" in robot.ledger.told
    robot.episode("success")
    with pytest.raises(SwapRefusedError, match="newest: new is in PROBATION, must be GOOD or"):
        robot.promotion.begin(Named("newest"))


def test_both_of_a_pair_act_at_reduced_speed_and_from_like_starts():
    robot = Robot().on_probation()
    assert robot.promotion.progress.speed == 1.0
    for version, repeats in (("new", True), ("old", False)) * 2:
        assert robot.episode("success") == version
        assert robot.promotion.progress.speed == 0.5
        assert robot.promotion.progress.repeats_start is repeats


def test_an_episode_that_did_not_end_well_is_run_again_by_the_same_weights():
    robot = Robot().on_probation()
    assert [robot.episode("abort"), robot.episode("unknown"), robot.episode("success")] == [
        "new"
    ] * 3
    assert [robot.episode("abort"), robot.episode("success")] == ["old"] * 2


def test_an_outcome_counts_once_and_for_the_weights_that_acted():
    robot = Robot().on_probation()
    robot.episode("success")
    for version in ("new", "old", "other"):
        robot.promotion.report(version, "failure", "Ada")
    assert "0/0" in robot.promotion.progress.words, "only the new ones have run"
    assert sum("note episode" in told for told in robot.ledger.told) == 1


def test_losing_rolls_back_by_itself():
    robot = Robot().on_probation()
    robot.pairs(6, "failure", "success")
    assert robot.episode("failure") == "new"
    assert robot.episode("success") == "old"
    assert robot.ledger.told[-1].startswith("roll back: worse than the previous: 0/7 against 7/7")
    assert (robot.slot.status().active, robot.slot.status().previous) == ("old", "")
    assert robot.promotion.progress.speed == 1.0


def test_unattended_not_worse_waits_for_a_person_and_still_rolls_back():
    robot = Robot().on_probation()
    robot.pairs(4, "success", "failure")
    assert robot.promotion.progress.stage is Stage.PROVEN
    assert "robot-agent weights approve new" in robot.promotion.progress.words
    assert not any(told.startswith("prove") for told in robot.ledger.told)
    with pytest.raises(SwapRefusedError, match="must name a person"):
        robot.promotion.approve("new", "")
    with pytest.raises(SwapRefusedError, match="must have passed its probation"):
        robot.promotion.approve("old", "Ada")
    assert robot.episode("success") == robot.episode("success") == "new"
    assert robot.episode("abort", "huge_action") == "new"
    assert robot.ledger.told[-1] == "roll back: safety event: huge_action"


def test_a_person_lets_weights_stay():
    robot = Robot().on_probation()
    robot.pairs(4, "success", "failure")
    assert robot.promotion.approve("new", "Ada").startswith("new: GOOD")
    assert robot.ledger.told[-1].endswith("approved by Ada")
    assert robot.episode("failure") == robot.episode("failure") == "new"
    assert (robot.slot.status().previous, robot.promotion.progress.stage) == ("old", Stage.NONE)


@pytest.mark.parametrize("event", ["takeover", "operator_stop", "driver_silent", "non_finite"])
def test_a_safety_event_while_new_weights_act_ends_it_at_once(event):
    robot = Robot().on_probation()
    robot.promotion.begin_episode()
    is_operator = event == "takeover"
    causes = [] if is_operator else [event]
    assert robot.promotion.hear_guard(causes, is_operator=is_operator)
    assert robot.slot.is_recalled, "before the disk is asked"
    assert not any("roll back" in told for told in robot.ledger.told)
    robot.promotion.settle()
    assert robot.ledger.told[-1] == f"roll back: safety event: {event}"


@pytest.mark.parametrize("event", ["starved", "policy_silent", "ik_failed", "body_limit"])
def test_what_is_no_safety_event_ends_nothing(event):
    robot = Robot().on_probation()
    assert robot.episode("success", event) == "new"
    assert robot.episode("success") == "old"


def test_the_previous_weights_and_an_idle_arm_are_nobodys_fault():
    robot = Robot().on_probation()
    robot.episode("success")
    assert not robot.promotion.hear_guard(["operator_stop"], is_operator=False), "idle"
    robot.promotion.hear_guard([], is_operator=False)
    assert robot.episode("abort", "operator_stop") == "old"
    assert robot.episode("success") == "old"
    assert robot.episode("success") == "new"


def test_only_a_simulated_arm_excuses_a_driver_that_was_starved():
    quick = replace(SIMULATED, shadow=replace(SIMULATED.shadow, min_observations=3))
    robot = Robot(quick).on_probation()
    assert robot.episode("abort", "driver_silent") == "new"
    assert robot.episode("abort", "operator_stop") == "new"
    assert robot.ledger.told[-1] == "roll back: safety event: operator_stop"
    assert ROBOT.excused == ()


def test_slow_inference_on_probation_rolls_back():
    robot = Robot(replace(ROBOT, probation=ProbationConfig(min_latencies=2))).on_probation()
    for _ in range(2):
        robot.promotion.begin_episode()
        version = robot.slot.active.version
        for _ in range(3):
            robot.promotion.add_latency(version, 0.3 if version == "new" else 0.1)
        robot.promotion.end_episode()
        robot.promotion.report(version, "success", "Ada")
    wanted = "roll back: latency: 99th percentile 300.0 ms, must be at most 200.0 ms"
    assert robot.ledger.told[-1] == wanted


def test_a_veto_by_another_process_is_obeyed_at_every_edge():
    for prepare in (lambda r: r.promotion.begin(Named("new")), Robot.on_probation):
        robot = Robot()
        prepare(robot)
        robot.ledger.states["new"] = State.REJECTED
        assert robot.episode("success") == "old"
        assert "vetoed" in robot.promotion.progress.words
    robot = Robot().on_probation()
    robot.promotion.begin_episode()
    robot.ledger.states["new"] = State.REJECTED
    robot.promotion.follow()
    assert robot.slot.is_recalled


def test_an_end_in_good_order_rejects_nothing():
    robot = Robot().on_probation()
    robot.episode("success")
    robot.promotion.close()
    assert robot.ledger.told[-1] == "suspend: the policy node ended during probation"
    robot = Robot()
    robot.promotion.begin(Named("new"))
    told = list(robot.ledger.told)
    robot.promotion.close()
    assert robot.ledger.told == told


def test_only_an_operator_may_skip_the_probation():
    words = require_waiver(KEYRING, "v2", OPERATOR.key_id, sign_waiver("v2", OPERATOR))
    assert words == f"shadow and probation skipped, released by operator key {OPERATOR.key_id}"
    for key, label, why in (
        (TRAINER, "v2", "a trainer's, must be an operator's"),
        (STRANGER, "v2", "is unknown"),
        (OPERATOR, "v3", "not by key"),
    ):
        with pytest.raises(SwapRefusedError, match=why):
            require_waiver(KEYRING, "v2", key.key_id, sign_waiver(label, key))
    retired = {OPERATOR.key_id: replace(KEYRING[OPERATOR.key_id], is_retired=True)}
    with pytest.raises(SwapRefusedError, match="is retired"):
        require_waiver(retired, "v2", OPERATOR.key_id, sign_waiver("v2", OPERATOR))


def test_a_simulated_arm_goes_the_same_road_in_fewer_steps():
    robot = Robot(replace(SIMULATED, shadow=replace(SIMULATED.shadow, min_observations=3)))
    robot.on_probation().pairs(2, "success", "failure")
    assert robot.ledger.told[-1].endswith("approved by simulation")
    robot = Robot(replace(SIMULATED, shadow=replace(SIMULATED.shadow, min_observations=3)))
    robot.on_probation().pairs(3, "failure", "success")
    assert robot.ledger.told[-1].startswith("roll back: worse than the previous: 0/3 against 3/3")
