"""The ledger: gains from what rounds recorded; what an older run did not record is said."""

import dataclasses
import json

import numpy as np
import pytest

from robot_agent.cli import main
from robot_agent.core.errors import EpisodeFormatError
from robot_agent.learn.journal import RoundRecord, RunFolder
from robot_agent.learn.ledger import difference, ledger_json, pearson, read_ledger

OPEN, CLOSE = "open the drawer", "close the drawer"


def first_round(**changes):
    record = RoundRecord(
        index=0,
        version_before="v1",
        version_after="v2",
        real_outcomes=[True] * 2 + [False] * 8,
        imagined_before={OPEN: 0.2, CLOSE: 0.4},
        imagined_after={OPEN: 0.6, CLOSE: 0.8},
        imagined_trials=50,
        held_out={"candidate": 0.5, "base": 0.3, "standard_error": 0.05, "trials": 40.0},
        final_outcomes=[True] * 6 + [False] * 4,
    )
    return dataclasses.replace(record, **changes)


def run_of(folder, *records, scene="kitchen"):
    run = RunFolder(folder)
    for record in records:
        run.save_round(record)
    (folder / "order.json").write_text(json.dumps({"scene": scene}))
    return folder


def test_a_run_shows_what_was_promised_what_others_said_and_what_came(tmp_path):
    run_of(tmp_path / "demo" / "adapt" / "a", first_round())
    (found,) = read_ledger(tmp_path)
    assert (found.scene, found.rounds, found.version, found.missing) == ("kitchen", 1, "v2", ())
    assert found.predicted.gain == pytest.approx(0.4)
    assert found.predicted.trials == 100
    assert found.held_out.gain == pytest.approx(0.2)
    assert found.held_out.interval == pytest.approx(
        (0.2 - 1.96 * 0.05, 0.2 + 1.96 * 0.05), abs=1e-4
    )
    assert found.measured.gain == pytest.approx(0.4)
    assert found.measured.interval[0] < 0.4 < found.measured.interval[1]
    assert found.measured.by == "held-out judge, real"


def test_gains_of_rounds_in_a_row_add_up(tmp_path):
    second = first_round(index=1, version_before="v2", version_after="v3")
    run_of(tmp_path / "r", first_round(), second)
    (found,) = read_ledger(tmp_path)
    assert found.predicted.gain == pytest.approx(0.8)
    assert found.held_out.gain == pytest.approx(0.4)
    half = 1.96 * 0.05 * 2**0.5
    assert found.held_out.interval[1] - found.held_out.gain == pytest.approx(half, abs=1e-4)


def test_a_round_whose_weights_do_not_act_counts_for_nothing(tmp_path):
    refused = first_round(index=1, version_after="", imagined_after={OPEN: 1.0, CLOSE: 1.0})
    run_of(tmp_path / "r", first_round(), refused)
    (found,) = read_ledger(tmp_path)
    assert (found.version, found.rounds) == ("v2", 2)
    assert found.predicted.gain == pytest.approx(0.4)
    run_of(tmp_path / "s", first_round(version_after=""))
    (none,) = (a for a in read_ledger(tmp_path) if a.folder.endswith("s"))
    assert (none.predicted, none.held_out, none.measured) == (None, None, None)
    assert none.missing == ("no round brought weights that act",)


def test_unknown_outcomes_are_in_no_gain(tmp_path):
    record = first_round(real_outcomes=[True, False, None, None], final_outcomes=[True, None])
    run_of(tmp_path / "r", record)
    (found,) = read_ledger(tmp_path)
    assert found.measured.gain == pytest.approx(0.5)
    assert found.measured.trials == 1


def test_the_simulators_truth_of_a_demo_goes_before_the_judge(tmp_path):
    run_of(tmp_path / "demo" / "adapt" / "a", first_round())
    truth = {
        "new_before": {"successes": 25, "trials": 80},
        "new_after": {"successes": 50, "trials": 80},
    }
    (tmp_path / "demo" / "demo.json").write_text(json.dumps(truth))
    (found,) = read_ledger(tmp_path)
    assert found.measured.gain == pytest.approx(25 / 80)
    assert found.measured.by.startswith("simulator's state")


def test_an_older_run_says_what_it_did_not_record(tmp_path):
    old = dataclasses.asdict(first_round())
    for name in ("imagined_trials", "held_out"):
        del old[name]
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "round_0.json").write_text(json.dumps(old))
    (found,) = read_ledger(tmp_path)
    assert (found.predicted, found.held_out) == (None, None)
    assert found.measured.gain == pytest.approx(0.4)
    assert [words.split(":")[0] for words in found.missing] == ["predicted gain", "held-out gain"]


def test_a_damaged_record_is_named(tmp_path):
    run_of(tmp_path / "r", first_round())
    (tmp_path / "r" / "round_0.json").write_text("{")
    with pytest.raises(EpisodeFormatError, match=r"round_0\.json"):
        read_ledger(tmp_path)


def test_a_difference_has_newcombes_interval():
    found = difference((56, 70), (48, 80), "x")  # his table II, first example
    assert found.gain == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert difference((0, 0), (1, 2), "x") is None


def test_pearson_agrees_with_numpy_and_is_unknown_where_it_means_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    found = pearson(zip(x, y, strict=True))
    assert found["r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found["interval"][0] < found["r"] < found["interval"][1]
    for pairs in ([], [(0, 1), (1, 2)], [(1, 1), (1, 2), (1, 3)]):
        assert pearson(pairs)["r"] is None


def test_the_command_prints_runs_and_pearson(tmp_path, capsys):
    for index, after in enumerate((4, 6, 9)):
        run_of(
            tmp_path / str(index),
            first_round(
                imagined_after={OPEN: 0.1 * after, CLOSE: 0.1 * after},
                final_outcomes=[i < after for i in range(10)],
            ),
        )
    assert main(["ledger", str(tmp_path), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results["runs"]) == 3
    assert results["pearson"] == pytest.approx(1.0)
    assert main(["ledger", str(tmp_path)]) == 0
    assert "Pearson 1.00" in capsys.readouterr().out
    assert results == json.loads(json.dumps(ledger_json(read_ledger(tmp_path))))
