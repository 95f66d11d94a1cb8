"""The study of corrections: pairs on the same start states, and every arm checked by name."""

import json

import pytest

from robot_agent.commands.study import study_tables
from robot_agent.core.errors import ConfigError
from robot_agent.studies.corrections import ARMS, WITHOUT, CorrectionStudyConfig, summary

OPEN = "open the drawer"


def outcomes(successes, trials=20, seeds=2, scene="kitchen"):
    return {
        (seed, scene, OPEN, start): start < successes
        for seed in range(seeds)
        for start in range(trials)
    }


def test_arms_are_paired_on_seed_and_start_state():
    found = summary({WITHOUT: outcomes(8), "with": outcomes(16)}, "kitchen")
    assert found["arms"]["with, kitchen"]["successes"] == 32
    assert found["arms"]["with, kitchen"]["by_seed"] == [16, 16]
    pair = found["pairs"]["with less without, kitchen"]
    assert pair["points"] == pytest.approx(40.0)
    assert pair["interval"][0] < 40.0 < pair["interval"][1]
    assert pair["p"] < 0.001
    assert "without less without, kitchen" not in found["pairs"]


def test_home_is_reported_apart_from_the_new_scene():
    both = {**outcomes(16), **outcomes(2, scene="home")}
    found = summary({WITHOUT: both}, "kitchen")["arms"]
    assert found["without, kitchen"]["successes"] == 32
    assert found["without, home"]["successes"] == 4
    assert found[f"without, kitchen: {OPEN}"]["trials"] == 40


def test_the_tables_hold_what_was_found():
    results = summary({WITHOUT: outcomes(8), "with": outcomes(16)}, "kitchen")
    success, differences = study_tables(json.loads(json.dumps(results)))
    assert success.row_count == 4
    assert differences.row_count == 2


def test_a_study_names_the_arms_there_are():
    with pytest.raises(
        ConfigError, match="must hold 'without' and otherwise be of: without, with"
    ):
        CorrectionStudyConfig(arms=(WITHOUT, "wiht"))
    with pytest.raises(ConfigError, match="must hold 'without'"):
        CorrectionStudyConfig(arms=("with",))


def test_each_way_of_using_corrections_has_an_arm_without_it():
    off = {
        name: [key for key in ("supervised", "world", "starts") if not getattr(arm, key)]
        for name, arm in ARMS.items()
    }
    for way in ("supervised", "world", "starts"):
        assert [way] in off.values()
    assert ARMS["blamed"].blame > 0.0
