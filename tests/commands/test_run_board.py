"""The state that screen and lines look at: stop, questions, judgements, and the words."""

import threading
from dataclasses import replace

import pytest

from robot_agent.act.agent_view import AgentView
from robot_agent.commands.run_board import Question, RunBoard
from robot_agent.commands.run_session import look_again
from robot_agent.commands.run_words import headline, keys, line, rows
from tests.commands.fake_link import MOVING, FakeLink

QUESTION = Question("Did the robot do it?", {"y": "success", "n": "failure"})


@pytest.fixture
def board() -> RunBoard:
    return RunBoard("open the drawer", 30)


def looked(board: RunBoard, link: FakeLink) -> None:
    """Run the looker as at the end of a run: it stays until stop is confirmed, 2 s at most."""
    over = threading.Event()
    over.set()
    look_again(board, link, over)


def test_stop_is_repeated_until_the_guard_says_it_stopped(board):
    link = FakeLink()
    board.change(agent=MOVING)
    board.press_stop()
    assert headline(board.state)[1] == "STOP"
    looked(board, link)
    assert link.stops >= 2
    assert board.state.stop == "confirmed"
    assert headline(board.state)[1] == "STOPPED"


def test_a_silent_guard_never_confirms_a_stop_and_the_screen_says_so(board):
    link = FakeLink(is_silent=True)
    board.press_stop()
    looked(board, link)
    assert link.stops > 10
    level, word, meaning = headline(board.state)
    assert (level, word) == ("alarm", "STOP NOT CONFIRMED")
    assert "switch" in meaning


def test_a_stop_that_was_confirmed_is_not_said_again_after_a_person_resets(board):
    link = FakeLink()
    board.press_stop()
    looked(board, link)
    said, link.view = link.stops, MOVING
    looked(board, link)
    assert link.stops == said
    board.press_stop()
    looked(board, link)
    assert link.stops > said


def test_stop_is_accepted_while_a_question_is_open(board):
    asking = threading.Thread(target=board.ask, args=(QUESTION,), daemon=True)
    asking.start()
    while board.state.question is None:
        pass
    board.press_stop()
    looked(board, link := FakeLink())
    assert link.stops >= 2
    assert board.state.question is QUESTION
    assert keys(board.state)[0] == ("q Esc", "STOP")
    assert board.answer("y")
    asking.join(2.0)


def test_a_question_is_answered_by_its_keys_alone(board):
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(board.ask(QUESTION)), daemon=True)
    asking.start()
    while board.state.question is None:
        pass
    assert not board.answer("z")
    assert board.answer("n")
    asking.join(2.0)
    assert answers == ["failure"]
    assert board.state.question is None
    assert not board.answer("y"), "no question is open"


def test_leaving_answers_a_question_with_nothing(board):
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(board.ask(QUESTION)), daemon=True)
    asking.start()
    while board.state.question is None:
        pass
    assert not board.press_end()
    asking.join(2.0)
    assert answers == [""]
    assert board.press_end(), "the second time leaves at once"


def test_a_judgement_counts_only_while_the_episode_runs(board):
    board.judge("s")
    assert board.take_judgement() == ""
    board.change(phase="running")
    board.judge("s")
    looked(board, link := FakeLink())
    assert link.judged == ["success"]


def test_listeners_hear_of_changes_only(board):
    heard: list[str] = []
    board.listen(lambda state: heard.append(state.note))
    board.change(note="one")
    board.change(note="one")
    assert heard == ["one"]


@pytest.mark.parametrize(
    ("view", "word"),
    [
        (AgentView(), "WAITING"),
        (replace(MOVING, guard_age_s=3.0), "GUARD SILENT"),
        (MOVING, "ACTIVE"),
        (replace(MOVING, mode="hold"), "HOLD"),
        (replace(MOVING, mode="stopped"), "STOPPED"),
        (replace(MOVING, mode="new"), "NEW"),
    ],
)
def test_the_headline_says_the_worst(board, view, word):
    board.change(agent=view)
    assert headline(board.state)[1] == word


def test_the_rows_name_what_an_operator_asks_for(board):
    board.change(agent=MOVING, verdict="failure of e1, said the operator")
    said = {what: value for what, value, _ in rows(board.state)}
    assert said["control"] == "policy"
    assert said["weights"] == "v7, probation: pair 2 of 4, 50% speed"
    assert said["camera"] == "19.8 pictures/s"
    assert said["verdict"] == "failure of e1, said the operator"
    assert said["simulator"] == "not solved"
    board.change(
        agent=replace(MOVING, controller="operator", changes=("control: operator (gamepad)",))
    )
    assert {w: v for w, v, _ in rows(board.state)}["control"] == "operator (gamepad)"


def test_silent_parts_are_called_silent(board):
    board.change(agent=replace(MOVING, camera_age_s=9.0, policy_age_s=9.0, weights_version=""))
    said = {what: (value, level) for what, value, level in rows(board.state)}
    assert said["camera"][0].startswith("silent")
    assert said["policy"] == ("silent; the guard holds the arm", "alarm")
    assert said["weights"] == ("none", "wait")
    assert "camera silent" in line(board.state)


def test_a_stopped_arm_says_how_a_person_resets_it(board):
    board.change(agent=replace(MOVING, mode="stopped", is_latched=True, causes=("contact",)))
    said = {what: value for what, value, _ in rows(board.state)}
    assert "/wx250s/guard/reset" in said["reset"]
    assert "acknowledge: contact" in said["reset"]


def test_what_was_not_heard_yet_is_not_called_silent(board):
    said = {what: (value, level) for what, value, level in rows(board.state)}
    assert said["policy"] == ("not heard yet", "wait")
    assert said["camera"] == ("no picture yet", "wait")
    assert said["guard did"][0] == "sends nothing new"
