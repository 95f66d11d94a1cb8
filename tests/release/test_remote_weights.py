"""A policy of another machine acts, and is no release."""

import pytest

from robot_agent.core.errors import InputError, SwapRefusedError
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.release.remote_weights import RemoteWeights


class Link:
    def __init__(self, **needs):
        self.version, self.needs, self.is_closed = "remote:v1", PolicyNeeds(**needs), False

    def close(self):
        self.is_closed = True


def test_what_releases_do_is_refused_and_says_why():
    weights = RemoteWeights(Link)
    assert weights.list() == []
    weights.boot()
    assert weights.list() == [("remote:v1", "REMOTE")]
    assert weights.state("remote:v1") is None
    for refused in (
        lambda: weights.load("v0002-abc"),
        lambda: weights.activate("v0002-abc", "why"),
        lambda: weights.prove("v0002-abc", "why"),
        lambda: weights.reject("v0002-abc", "why"),
        lambda: weights.roll_back("why"),
        lambda: weights.suspend("why"),
        lambda: weights.note("v0002-abc", "shadow", {}),
        lambda: weights.require_waiver("v0002-abc", "key", b""),
    ):
        with pytest.raises(SwapRefusedError, match="remote:v1 acts, which runs on another"):
            refused()


def test_one_connection_at_a_time_is_open():
    made = []

    def connect():
        made.append(Link())
        return made[-1]

    weights = RemoteWeights(connect)
    first, second = weights.boot(), weights.boot()
    assert (first.is_closed, second.is_closed) == (True, False)
    weights.close()
    assert second.is_closed


def test_a_policy_that_needs_what_the_robot_lacks_is_let_go():
    link = Link(cameras=("color", "wrist"))
    with pytest.raises(InputError, match=r"remote:v1: does not fit this robot.*'wrist'"):
        RemoteWeights(lambda: link).boot()
    assert link.is_closed
