"""`judge audit` and what `adapt` asks of it."""

import json

import numpy as np
import pytest

from robot_agent.cli import main
from robot_agent.commands.judge import require_audited
from robot_agent.core.errors import InputError
from robot_agent.models.tiny_team import INSTRUCTIONS
from robot_agent.sim.recordings import Recording, save_recording


def test_the_shipped_judges_have_audits_of_exactly_their_weights():
    require_audited(INSTRUCTIONS)


def test_an_instruction_without_an_audit_is_refused():
    with pytest.raises(InputError, match="has no audit for 'dance'"):
        require_audited(["dance"])


@pytest.mark.parametrize("words", [[], ["--data", "a", "--store", "b"]])
def test_clips_come_from_one_place(words, capsys):
    assert main(["judge", "audit", *words]) == 2
    assert "one of --data and --store" in capsys.readouterr().err


def recording(episodes=6, steps=5):
    """Every second episode opens the drawer, the others close it."""
    successes = np.zeros((episodes, steps + 1, 2), np.uint8)
    successes[0::2, 3:, 0] = successes[1::2, 3:, 1] = 1
    images = np.random.default_rng(0).integers(
        0, 256, (episodes, steps + 1, 64, 64, 3), dtype=np.uint8
    )
    actions = np.zeros((episodes, steps, 7))
    return Recording(
        images=images,
        states=np.zeros((episodes, steps + 1, 7)),
        actions=actions,
        labels=actions,
        openings=np.zeros((episodes, steps + 1)),
        objects=np.zeros((episodes, steps + 1, 3)),
        successes=successes,
        misses=np.zeros((episodes, steps), np.uint8),
        tasks=np.zeros(episodes, np.int64),
        valid=np.full(episodes, steps),
        kind="play",
    )


def test_an_audit_of_noise_allows_nothing_and_is_written(tmp_path, capsys):
    save_recording(tmp_path / "play.safetensors", recording())
    out, page = tmp_path / "audit.json", tmp_path / "audit.html"
    words = ["--data", str(tmp_path / "play.safetensors"), "--out", str(out), "--html", str(page)]
    limits = ["--set", "least_clips=2", "--plants", "2", "--json"]
    assert main(["judge", "audit", *words, *limits]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["command"] == "judge audit"
    assert shown["results"]["use"] == "none"
    assert json.loads(out.read_text())["instructions"].keys() == set(INSTRUCTIONS)
    assert "may be used to: none" in page.read_text()
