"""The operator's screen, driven by keys as a person would."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from textual.pilot import Pilot
from textual.widgets import RichLog, Static

from robot_agent.commands.run_board import Question, RunBoard
from robot_agent.commands.run_screen import RunScreen
from tests.commands.fake_link import MOVING

Act = Callable[[RunScreen, Pilot[None]], Awaitable[None]]
QUESTION = Question("Did the robot do it?", {"y": "success", "n": "failure", "u": "unknown"})


@pytest.fixture
def board() -> RunBoard:
    made = RunBoard("open the drawer", 30)
    made.change(agent=MOVING, phase="running", step=12)
    return made


def drive(board: RunBoard, act: Act, size: tuple[int, int] = (80, 24)) -> None:
    async def body() -> None:
        screen = RunScreen(board, lambda: None)
        async with screen.run_test(size=size) as pilot:
            await shows(screen, pilot, "STOP")
            await act(screen, pilot)

    asyncio.run(body())


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await pilot.pause(0.05)
    pytest.fail("not within five seconds")


async def shows(screen: RunScreen, pilot: Pilot[None], words: str) -> None:
    """Wait until the lowest screen shows `words`; a loaded machine draws late."""
    for _ in range(100):
        if words in shown(screen):
            return
        await pilot.pause(0.05)
    pytest.fail(f"'{words}' is not shown:\n{shown(screen)}")


def shown(screen: RunScreen) -> str:
    """Return every character of the lowest screen."""
    base = screen.screen_stack[0]
    strips = base._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@pytest.mark.parametrize("key", ["q", "Q", "escape"])
def test_a_key_stops(board, key):
    async def act(_screen, pilot):
        await pilot.press(key)
        assert board.stop_asked.is_set()

    drive(board, act)


def test_stop_works_while_a_dialog_is_open_and_the_dialog_stays(board):
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(board.ask(QUESTION)), daemon=True)

    async def act(screen, pilot):
        asking.start()
        await until(pilot, lambda: len(screen.screen_stack) == 2)
        await pilot.press("escape")
        assert board.stop_asked.is_set()
        await pilot.press("z")
        assert len(screen.screen_stack) == 2, "z is no answer"
        await pilot.press("n")
        await until(pilot, lambda: len(screen.screen_stack) == 1)

    drive(board, act)
    asking.join(2.0)
    assert answers == ["failure"]


def test_stop_works_before_anything_was_heard():
    board = RunBoard("open the drawer", 30)

    async def act(screen, pilot):
        assert "WAITING" in shown(screen)
        await pilot.press("q")
        await shows(screen, pilot, "STOP NOT CONFIRMED")

    drive(board, act)
    assert board.stop_asked.is_set()


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_everything_an_operator_needs_is_on_one_screen(board, size):
    async def act(screen, _pilot):
        text = shown(screen)
        for word in ("ACTIVE", "open the drawer", "step 12/30", "policy", "v7", "STOP", "Ctrl-C"):
            assert word in text, word
        for word in ("19.8 pictures/s", "not solved", "success"):
            assert word in text, word

    drive(board, act, size)


def test_a_guard_that_falls_silent_is_seen_and_stop_still_counts(board):
    async def act(screen, pilot):
        board.change(agent=replace(MOVING, guard_age_s=5.0))
        await shows(screen, pilot, "GUARD SILENT")
        await pilot.press("q")
        assert board.stop_asked.is_set()

    drive(board, act)


def test_events_are_listed_and_the_screen_closes_when_the_run_is_over(board):
    async def act(screen, pilot):
        board.change(note="episode begins")
        events = screen.query_one("#events", RichLog)
        await until(pilot, lambda: any("episode begins" in line.text for line in events.lines))
        board.change(phase="over")
        await until(pilot, lambda: not screen.is_running)

    drive(board, act)


def test_leaving_ends_the_episode_and_twice_leaves_at_once(board):
    async def act(screen, pilot):
        await pilot.press("ctrl+c")
        assert board.end_asked.is_set()
        assert screen.is_running
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not screen.is_running)

    drive(board, act)


def test_a_key_judges_the_running_episode(board):
    async def act(_screen, pilot):
        await pilot.press("t")

    drive(board, act)
    assert board.take_judgement() == "re_record"


def test_words_of_the_agent_are_never_markup(board):
    async def act(screen, pilot):
        board.change(agent=replace(MOVING, causes=("[red]x[/red]",)), note="[bold]y[/nothing]")
        await shows(screen, pilot, "[red]x[/red]")
        assert isinstance(screen.query_one("#facts"), Static)

    drive(board, act)
