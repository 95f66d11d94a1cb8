"""The slow loop as a whole: adapt, refuse, be interrupted anywhere, go on."""

import copy
import dataclasses

import numpy as np
import pytest

from robot_agent.evaluate.sim_source import SimSource
from robot_agent.learn import improve as improve_module
from robot_agent.learn.corrections import CorrectionConfig
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.improve import improve
from robot_agent.learn.scene_world import Trust
from robot_agent.release.signing import save_keyring
from robot_agent.release.states import State
from robot_agent.release.weights import ReleaseWeights
from robot_agent.sim.scenes import NOVEL
from robot_agent.store.episode_store import EpisodeStore
from tests.release.bundles import KEYRING
from tests.scenarios.slow_loop import (
    LENIENT,
    ORDER,
    TINY,
    MemoryStore,
    PaperRobot,
    load_policy,
    make_registry,
    make_slow,
    practise_without_finetuning,
    silent,
    trust_whatever_is_finetuned,
)
from tests.store.episodes import LOSSLESS

STAGES = ("collect", "finetune", "trust", "compare", "practise", "gate", "swap")
ONE_ROUND = dataclasses.replace(TINY, rounds=1, final_episodes=0)

pytestmark = pytest.mark.slow  # whole rounds of the slow loop


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    practise_without_finetuning(monkeypatch)


@pytest.fixture
def finetuning(monkeypatch, quick):
    trust_whatever_is_finetuned(monkeypatch)


def simulated(folder, say=silent, **changes):
    registry = make_registry(folder)
    store = EpisodeStore(folder / "episodes", LOSSLESS)
    save_keyring(folder / "releases/keyring.json", KEYRING)
    weights = ReleaseWeights(folder / "releases", load_policy)
    robot = SimSource(NOVEL["kitchen"], store, weights, say)
    return make_slow(folder, say=say, store=store, robot=robot, **changes), registry


def test_a_simulated_robot_goes_through_a_whole_round_and_new_weights_are_in_the_shadow(
    tmp_path, finetuning
):
    said = []
    slow, registry = simulated(tmp_path, lambda stage, *_: said.append(stage))
    order = dataclasses.replace(ORDER, max_real_episodes=2)
    (record,) = improve(slow, order, ONE_ROUND)
    assert [stage for i, stage in enumerate(said) if stage not in said[:i]] == [
        "collect",
        "finetune",
        "trust",
        "compare",
        "practise",
        "gate",
        "swap",
    ]
    assert registry.current() == record.version_before != record.version_after
    assert registry.releases().states[record.version_after] is State.SHADOW
    assert [slow.store.load(name).instruction for name in record.episodes] == list(
        order.instructions
    )
    recorded = slow.store.load(record.episodes[0])
    assert set(recorded.weights_versions) == {record.version_before}
    assert len(record.curve) == 2
    assert all(check["passed"] for check in record.gate)
    assert load_policy(registry.path(record.version_after)).version == record.version_after


def test_two_rounds_end_with_a_final_check_and_are_not_done_again(tmp_path):
    slow = make_slow(tmp_path)
    records = improve(slow, ORDER, TINY)
    assert [record.index for record in records] == [0, 1]
    assert records[1].version_before == records[0].version_after
    assert len(records[-1].final_episodes) == 2
    assert slow.robot.collected == [
        (records[0].version_before, 2),
        (records[1].version_before, 2),
        (records[1].version_after, 2),
    ]
    assert slow.run.load_rounds() == records
    again = make_slow(tmp_path, store=slow.store)
    assert improve(again, ORDER, TINY) == records
    assert again.robot.collected == []


def test_a_refused_candidate_leaves_the_active_weights(tmp_path):
    said = []
    slow = make_slow(
        tmp_path,
        say=lambda *words: said.append(words[-1]),
        gate=dataclasses.replace(LENIENT, max_latency_ms=0.0),
    )
    before = slow.desk.current
    (record,) = improve(slow, ORDER, ONE_ROUND)
    assert slow.desk.current == before
    assert record.version_after == ""
    assert record.gate[-1]["name"] == "latency"
    assert not record.gate[-1]["passed"]
    assert "refused; the active weights keep running" in said


def interrupted_at(stage, round_index=0):
    def say(now, index, *_):
        if (now, index) == (stage, round_index):
            raise KeyboardInterrupt

    return say


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_at_any_stage_leaves_a_whole_release_and_a_run_that_goes_on(tmp_path, stage):
    store = MemoryStore()
    registry = make_registry(tmp_path)
    before = registry.current()
    with pytest.raises(KeyboardInterrupt):
        improve(make_slow(tmp_path, say=interrupted_at(stage), store=store), ORDER, ONE_ROUND)
    if stage == "swap":  # said after the fact
        assert registry.releases().states[registry.current()] is State.PROBATION
    else:
        assert registry.current() == before
    assert load_policy(registry.path(registry.current())).version == registry.current()
    (record,) = improve(make_slow(tmp_path, store=store), ORDER, ONE_ROUND)
    assert registry.current() == record.version_after != before


def test_a_simulated_round_cut_short_while_collecting_goes_on(tmp_path):
    order = dataclasses.replace(ORDER, max_real_episodes=1)
    slow, _ = simulated(tmp_path, interrupted_at("finetune"))
    with pytest.raises(KeyboardInterrupt):
        improve(slow, order, ONE_ROUND)
    assert len(slow.store.list()) == 1
    slow.robot.close()
    again, _ = simulated(tmp_path)
    (record,) = improve(again, order, ONE_ROUND)
    assert record.episodes == list(again.store.list())


def weights_of_round_1(slow):
    """Return what the last round made, and its record without names that hold a time of day."""
    record = slow.run.load_rounds()[1]
    acting = slow.desk._registry.load(record.version_after)
    named = ("seconds", "gate", "version_before", "version_after")
    plain = {key: value for key, value in vars(record).items() if key not in named}
    return acting.policy_bytes, acting.manifest.version, plain


def test_resuming_after_a_round_equals_going_on(tmp_path, finetuning):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    straight = make_slow(whole)
    improve(straight, ORDER, TINY)
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        improve(make_slow(parts, say=interrupted_at("practise", 1), store=store), ORDER, TINY)
    assert len(list((parts / "run").glob("round_*.json"))) == 1
    resumed = make_slow(parts, store=store)
    improve(resumed, ORDER, TINY)
    assert weights_of_round_1(resumed) == weights_of_round_1(straight)


def test_a_budget_that_is_used_up_begins_no_round(tmp_path):
    slow = make_slow(tmp_path, minutes=0.0)
    assert improve(slow, ORDER, TINY) == []
    assert slow.robot.collected == []


def test_episodes_of_a_round_that_was_cut_short_are_not_run_again(tmp_path):
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        improve(make_slow(tmp_path, say=interrupted_at("practise"), store=store), ORDER, ONE_ROUND)
    before = list(store.list())
    again = make_slow(tmp_path, store=store)
    (record,) = improve(again, ORDER, ONE_ROUND)
    assert again.robot.collected == []
    assert record.episodes == before == list(store.list())


def corrected(store, ids):
    """Let an operator have had the second half of these episodes."""
    for name in ids:
        made = store.load(name)
        half = made.num_steps // 2
        who = ("policy",) * half + ("operator",) * (made.num_steps - half)
        versions = made.weights_versions[:half] + ("gamepad",) * (made.num_steps - half)
        store.append(dataclasses.replace(made, controllers=who, weights_versions=versions))


class CorrectedRobot(PaperRobot):
    def collect(self, version, plan):
        ids = super().collect(version, plan)
        corrected(self._store, ids)
        return ids


def round_with_corrections(folder, **changes):
    store, registry = MemoryStore(), make_registry(folder)
    slow = make_slow(folder, store=store, robot=CorrectedRobot(store, registry))
    corrections = dataclasses.replace(
        CorrectionConfig(fit=FitConfig(steps=2, warmup_steps=1), batch=4), **changes
    )
    (record,) = improve(slow, ORDER, dataclasses.replace(ONE_ROUND, corrections=corrections))
    return record


def test_corrections_are_imitated_before_practice_and_say_that_the_weights_failed(tmp_path):
    record = round_with_corrections(tmp_path)
    assert np.isfinite(record.imitated["loss"])
    assert len(record.curve) == 2
    assert record.real_outcomes == [False] * len(record.episodes)


def test_corrections_that_are_turned_off_are_not_imitated(tmp_path):
    assert round_with_corrections(tmp_path, supervised=False).imitated == {}


def test_without_trust_nothing_is_practised_and_corrections_are_imitated_all_the_same(
    tmp_path, monkeypatch
):
    def refused(members, *_, **__):
        return [copy.deepcopy(member) for member in members], Trust("refuse", "a test", {})

    monkeypatch.setattr(improve_module, "finetune_members", refused)
    record = round_with_corrections(tmp_path)
    assert record.imitated
    assert record.curve == []
    assert record.gate, "the gate was asked about what imitation made"


def test_the_world_model_sees_operator_driven_steps_unless_told_not_to(tmp_path, monkeypatch):
    seen = []

    def listening(members, scene, *_, **__):
        seen.append(scene.lengths_N.tolist())
        return [copy.deepcopy(member) for member in members], Trust("refuse", "a test", {})

    monkeypatch.setattr(improve_module, "finetune_members", listening)
    for name, changes in (("all", {}), ("cut", {"world": False})):
        (tmp_path / name).mkdir()
        round_with_corrections(tmp_path / name, supervised=False, **changes)
    assert seen == [[4] * 6, [2] * 6]
