"""A budget of minutes, with a reserve for the gate and the swap."""

from robot_agent.learn.budget import Budget


def silent(*_):
    pass


def test_a_new_budget_is_not_over():
    assert not Budget(1.0, silent).is_over()


def test_no_minutes_are_over_at_once():
    assert Budget(0.0, silent).is_over()


def test_the_reserve_is_kept_and_never_more_than_a_fifth():
    generous = Budget(1.0, silent, reserve_s=1000.0)
    assert not generous.is_over(), "four fifths of the minute are left to work in"
    assert generous.seconds() < 12.0


def test_progress_says_stage_round_share_and_seconds_left():
    said = []
    Budget(2.0, lambda *words: said.append(words)).say("trust", 3, 0.5, "hello")
    stage, index, share, left_s, message = said[0]
    assert (stage, index, share, message) == ("trust", 3, 0.5, "hello")
    assert 100.0 < left_s <= 120.0


def test_seconds_left_are_never_negative():
    said = []
    Budget(0.0, lambda *words: said.append(words)).say("gate", 0, 1.0, "")
    assert said[0][3] == 0.0
