"""What a judge may be used for: constant, guessing and fooled judges are found out."""

import dataclasses
import json
import math

import numpy as np
import pytest

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.evaluate.judge_audit import (
    AuditConfig,
    area,
    audit_judge,
    calibrated_threshold,
    read_audit,
    roc_curve,
)
from robot_agent.evaluate.judge_clips import PLANTS, Clip, clips_of_episodes, planted
from robot_agent.evaluate.judge_page import write_audit_page
from robot_agent.evaluate.judging import ClipJudge
from tests.learn.episodes import real_episode

TASKS = ("open the drawer", "close the drawer")
CONFIG = AuditConfig(least_clips=10)


def clip(instruction, truth, seed):
    """Pictures whose brightness is the drawer: it goes up to open, down to close, or half way."""
    rng = np.random.default_rng(seed)
    sign = 1 if instruction == TASKS[0] else -1
    end = 128 + sign * ((100 if truth else 40) + int(rng.integers(0, 15)))
    levels = np.linspace(128, end, 9).round().astype(np.uint8)
    return Clip(
        np.broadcast_to(levels[:, None, None, None], (9, 8, 8, 3)).copy(), instruction, truth
    )


def recorded(num=20):
    return [clip(task, truth, i) for task in TASKS for truth in (True, False) for i in range(num)]


def all_clips():
    clips = recorded()
    return clips + planted(clips, 10, 0)


def reading(frames, instruction):
    """Say how far the drawer went in the end, which is all that matters."""
    moved = (float(frames[-1].mean()) - 128) / 127
    return min(1.0, max(0.0, moved if instruction == TASKS[0] else -moved))


def audited(score, clips=None, config=CONFIG):
    return audit_judge(ClipJudge("j", 0.5, score), clips or all_clips(), config)


def test_a_judge_that_reads_the_end_may_train():
    audit = audited(reading)
    for found in audit.instructions.values():
        assert (found.use, found.reasons, found.auc) == ("train", (), 1.0)
        assert found.report["confusion"]["false_positives"] == 0
        assert 40 / 127 < found.calibrated < 100 / 127
        assert found.threshold == 0.5
        assert set(found.plants) == set(PLANTS)
    assert audit.require("j", TASKS[0], "train").unknown == 0


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, math.nan])
def test_a_judge_that_always_says_the_same_may_do_nothing(value):
    for found in audited(lambda *_: value).instructions.values():
        assert found.use == "none"
        assert found.reasons


def test_a_judge_that_guesses_may_do_nothing():
    rng = np.random.default_rng(1)
    uses = [a.use for a in audited(lambda *_: float(rng.random())).instructions.values()]
    assert uses == ["none", "none"]


def test_a_judge_that_often_does_not_know_may_do_nothing_and_says_why():
    count = iter(range(10_000))
    audit = audited(lambda f, i: reading(f, i) if next(count) % 2 else math.nan)
    assert {found.use for found in audit.instructions.values()} == {"none"}
    assert "unknown share is 0.50, must be at most 0.3" in audit.instructions[TASKS[0]].reasons


FOOLED = {
    "undone": lambda f, i: max(reading(f[: k + 1], i) for k in range(len(f))),
    "reversed": lambda f, i: max(reading(f[:1], i), reading(f[-1:], i)),
    "wrong task": lambda f, i: abs(2.0 * reading(f, TASKS[0]) + 2.0 * reading(f, TASKS[1])) / 2.0,
}


@pytest.mark.parametrize(("plant", "score"), FOOLED.items(), ids=FOOLED)
def test_a_judge_that_a_plant_fools_is_no_reward(plant, score):
    found = audited(score).instructions[TASKS[0]]
    assert found.use == "compare"
    assert any(reason.startswith(f"fooled by '{plant}'") for reason in found.reasons)
    assert found.plants[plant]["fooled"] == found.plants[plant]["of"]


def test_planted_clips_are_made_of_what_was_recorded_and_none_is_a_success():
    clips = recorded(3)
    found = planted(clips, 2, 0)
    assert not any(c.truth for c in found)
    kinds = [(c.instruction, c.plant) for c in found]
    assert {kinds.count(kind) for kind in kinds} == {2}
    by_kind = {c.plant: c for c in found if c.instruction == TASKS[0]}
    assert (by_kind["no motion"].frames == by_kind["no motion"].frames[0]).all()
    assert by_kind["reversed"].frames[-1].mean() == 128
    assert by_kind["undone"].frames[8].mean() > 220
    assert by_kind["undone"].frames[-1].mean() == 128
    assert by_kind["wrong task"].frames[-1].mean() < 40
    assert by_kind["frozen"].frames[-1].mean() < 160
    assert np.array_equal(by_kind["artefacts"].frames[0], clips[0].frames[0])


def test_an_instruction_with_few_clips_has_no_audit_and_is_refused():
    clips = [c for c in recorded() if c.instruction == TASKS[0]]
    clips += [clip(TASKS[1], True, 0)]
    audit = audited(reading, clips)
    assert list(audit.instructions) == [TASKS[0]]
    with pytest.raises(InputError, match="has no audit for 'close the drawer', only for: open"):
        audit.require("j", TASKS[1], "compare")


def test_an_audit_of_another_judge_or_of_a_bad_one_is_refused_with_the_reason():
    audit = audited(FOOLED["undone"])
    assert audit.require("j", TASKS[0], "compare")
    with pytest.raises(InputError, match=r"must be 'train': .*fooled by 'undone' is 1\.00"):
        audit.require("j", TASKS[0], "train")
    with pytest.raises(InputError, match="the audit is of judge j"):
        audit.require("other", TASKS[0], "compare")


def test_an_audit_is_read_back_as_it_was_written(tmp_path):
    audit = audited(reading)
    path = tmp_path / "audit.json"
    path.write_text(json.dumps({"command": "judge audit", "results": audit.to_json()}))
    assert read_audit(path).require("j", TASKS[0], "train").calibrated > 0.3
    assert read_audit(path).to_json() == json.loads(json.dumps(audit.to_json()))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema_version": 9, "instructions": {}}'])
def test_another_file_is_no_audit(tmp_path, content):
    path = tmp_path / "audit.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="is no audit of a judge"):
        read_audit(path)


def test_the_threshold_maximises_what_the_two_rates_differ_by():
    truths = [True] * 4 + [False] * 4
    scores = [0.9, 0.8, 0.7, 0.3, 0.4, 0.2, 0.1, 0.1]
    assert 0.4 < calibrated_threshold(truths, scores) < 0.7


def test_the_area_is_the_chance_that_a_success_outscores_a_failure():
    rng = np.random.default_rng(0)
    truths = rng.random(60) < 0.5
    scores = np.round(rng.random(60) + 0.3 * truths, 1)
    wins = [(a > b) + 0.5 * (a == b) for a in scores[truths] for b in scores[~truths]]
    assert area(roc_curve(truths, scores)) == pytest.approx(np.mean(wins))


def test_episodes_are_clips_when_somebody_who_knows_judged_them():
    def told(outcome, judged_by):
        return dataclasses.replace(real_episode(), outcome=outcome, judged_by=judged_by)

    found = clips_of_episodes(
        [
            told("success", "operator"),
            told("failure", "sim"),
            told("unknown", "operator"),
            told("abort", "sim"),
            told("success", "tiny"),
        ]
    )
    assert [c.truth for c in found] == [True, False]


def test_the_page_says_what_is_allowed_and_escapes_names(tmp_path):
    results = audited(reading).to_json()
    results["judge"] = "<b>"
    write_audit_page(tmp_path / "a.html", results)
    page = (tmp_path / "a.html").read_text()
    assert "Judge &lt;b&gt; may be used to: train." in page
    assert "was success" in page
    assert page.count("<svg") == 4
    write_audit_page(tmp_path / "b.html", audited(lambda *_: math.nan).to_json())
    assert "it has no answer to 40 of 40 clips" in (tmp_path / "b.html").read_text()
