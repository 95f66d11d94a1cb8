"""`evaluate` from words to table, JSON and page, with the shipped policy in simulation."""

import io
import json

import pytest
from rich.console import Console

from robot_agent import cli
from robot_agent.commands.evaluate_tables import early_stop_sentence, tables
from robot_agent.compose import ensure_releases
from tests.evaluate.test_evaluation_page import comparison

OPEN = "home: open the drawer"


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    ensure_releases(folder)
    return folder


def words(releases, tmp_path, *more):
    return [
        "evaluate", "--releases", str(releases), "--journal", str(tmp_path / "trials.jsonl"),
        "--workers", "1", "--instruction", "open the drawer", *more,
    ]  # fmt: skip


def test_a_policy_is_evaluated_judged_and_shown(releases, tmp_path, capsys):
    page = tmp_path / "page.html"
    asked = words(
        releases, tmp_path, "--suite", "home", "--others", "study",
        "--policies", "current,factory", "--trials", "1", "--max-steps", "3",
        "--judge", "tiny", "--groups-of", "1",
        "--html", str(page), "--json",
    )  # fmt: skip
    assert cli.main(asked) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert set(results["tasks"]) == {OPEN, "study: open the drawer"}
    assert results["pooled"]["current"]["trials"] == 1
    assert results["pairs"]["current vs factory"]["difference"] == 0
    assert results["pairs"]["current vs factory"]["forgetting"]["trials"] == 1
    assert results["judge"]["trials"] == 4
    assert results["judge"]["threshold"] == 0.25
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 2  # the weights are one
    text = page.read_text("utf-8")
    assert text.count("data:image/gif") == 2 + 4
    assert "reliability" in text
    assert cli.main(asked[:-1]) == 0  # the table, of the same trials
    shown = capsys.readouterr().out
    assert "The judge against the truth" in shown
    assert "forgetting elsewhere" in shown
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("--judge wise", ["judge 'wise' is unknown, must be: tiny"]),
        (
            "--stop-early --policies current,factory --trials 9",
            ["9 pairs at most", "--trials 142"],
        ),
        ("--stop-early --trials 200", ["with 1 policies, must be 2"]),
        ("--stop-early --min-effect 0.01", ["--min-effect", "0.01", "0.1 to 0.6"]),
        ("--suite attic", ["scene 'attic' is unknown"]),
        ("--on moon", ["'moon'", "'robot'"]),
    ],
)
def test_a_plan_that_cannot_be_is_refused(more, told, releases, tmp_path, capsys):
    assert cli.main(words(releases, tmp_path, *more.split())) == 2
    said = capsys.readouterr().err
    for text in told:
        assert text in said


def test_a_folder_that_is_no_release_is_not_promoted(releases, tmp_path, capsys):
    asked = words(releases, tmp_path, "--on", "robot", "--policies", str(tmp_path))
    assert cli.main(asked) == 2
    assert "the agent promotes releases only" in capsys.readouterr().err


def test_the_tables_hide_no_abort_and_no_forgetting():
    console = Console(width=160, record=True, file=io.StringIO())
    results = comparison().to_json(groups_of=5, judge_threshold=0.2)
    for item in tables(results):
        console.print(item, markup=False)
    text = console.export_text()
    for expected in ("3/9", "2, 1 left out", "+56", "forgetting elsewhere", "80 +- 20",
                     "false positives", "undecided after 10 of at most 10"):  # fmt: skip
        assert expected in text, expected
    assert "at most 0.05, to miss a difference of 0.2 at most 0.2" in early_stop_sentence(
        results["early_stop"]
    )
