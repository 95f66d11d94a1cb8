"""A judge's memory: what was answered is there again, what a crash cut is not."""

import math

import pytest

from robot_agent.core.errors import ConfigError
from robot_agent.store.votes import VoteFile


def test_votes_are_there_again(tmp_path):
    path = tmp_path / "a" / "votes.jsonl"
    votes = VoteFile(path)
    votes["x"], votes["y"] = 0.25, math.nan
    again = VoteFile(path)
    assert again["x"] == 0.25
    assert math.isnan(again["y"])
    assert "z" not in again


def test_a_line_that_a_crash_cut_is_dropped_and_the_next_is_whole(tmp_path):
    path = tmp_path / "votes.jsonl"
    VoteFile(path)["x"] = 1.0
    with path.open("ab") as file:
        file.write(b'["y", 0.')
    votes = VoteFile(path)
    assert dict(votes) == {"x": 1.0}
    votes["z"] = 0.5
    assert dict(VoteFile(path)) == {"x": 1.0, "z": 0.5}


@pytest.mark.parametrize("line", ["{}", "[1, 2]", '["x", 2.0]', '["x"]', "nothing"])
def test_another_file_is_refused(tmp_path, line):
    path = tmp_path / "votes.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ConfigError, match=r"line 1 is .* Move the file away"):
        VoteFile(path)
