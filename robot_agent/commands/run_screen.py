"""The operator's screen of `run`: a view of the board in a terminal, also over ssh."""

from collections.abc import Callable
from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import RichLog, Static

from robot_agent.commands.run_board import JUDGEMENTS, RunBoard, RunState
from robot_agent.commands.run_words import headline, keys, rows
from robot_agent.core.clock import Stopwatch

_STYLES = {"calm": "", "good": "bold green", "wait": "bold yellow", "alarm": "bold white on red"}
_BANNERS = {
    "calm": "bold white on blue",
    "good": "bold black on green",
    "wait": "bold black on yellow",
    "alarm": "bold white on red",
}


class RunScreen(App[None]):
    """Shows every state of the board and hands over keys; stop works whatever is open."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #banner { height: 3; width: 100%; text-align: center; content-align: center middle; }
    #title { height: 1; padding: 0 1; }
    #facts { height: auto; padding: 1 1 0 1; }
    #events { height: 1fr; min-height: 2; margin: 1 1 0 1; border-top: solid $secondary; }
    #keys { height: 1; dock: bottom; padding: 0 1; }
    Ask { align: center middle; }
    #dialog { width: 64; max-width: 90%; height: auto; border: thick $warning; padding: 1 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,Q,escape", "press_stop", "STOP", priority=True),
        Binding("ctrl+c,ctrl+q", "leave", "end", priority=True),
    ]

    def __init__(self, board: RunBoard, start: Callable[[], None]) -> None:
        """Look at `board`; `start` begins the run once there is a screen."""
        super().__init__()
        self._board, self._start = board, start
        self._watch, self._note, self._asking = Stopwatch(), "", False

    def compose(self) -> ComposeResult:
        """Banner, facts, events, keys."""
        yield Static(id="title")
        yield Static(id="banner")
        yield Static(id="facts")
        yield RichLog(id="events", wrap=True)
        yield Static(id="keys")

    def on_mount(self) -> None:
        """Draw ten times a second: ages grow also when nobody says anything."""
        self.set_interval(0.1, self.draw)
        self.call_after_refresh(self.draw)
        self._start()

    def draw(self) -> None:
        """Show the present state."""
        state = self._board.state
        level, word, meaning = headline(state)
        base = self.screen_stack[0]
        if not base.query("#keys"):
            return  # not composed yet, or closing
        base.query_one("#title", Static).update(_title(state, self._watch.seconds()))
        banner = base.query_one("#banner", Static)
        banner.update(Text(f"{word}\n{meaning}", _BANNERS[level]))
        banner.styles.background = {"calm": "blue", "good": "green", "wait": "yellow"}.get(
            level, "red"
        )
        base.query_one("#facts", Static).update(_facts(state))
        base.query_one("#keys", Static).update(_keys(state))
        if state.note != self._note:
            self._note = state.note
            words = f"{self._watch.seconds():6.1f} s  {state.note}"
            base.query_one("#events", RichLog).write(words)
        self._follow_question(state)
        if state.phase == "over":
            self.exit()

    def _follow_question(self, state: RunState) -> None:
        if state.question is not None and not self._asking:
            self._asking = True
            self.push_screen(Ask(self._board))
        elif state.question is None and self._asking:
            self._asking = False
            self.pop_screen()

    def action_press_stop(self) -> None:
        """Stop the arm."""
        self._board.press_stop()

    def action_leave(self) -> None:
        """End the episode; the second time leave at once."""
        if self._board.press_end():
            self.exit()

    def on_key(self, event: Key) -> None:
        """Take a judgement of the running episode."""
        if event.key in JUDGEMENTS:
            self._board.judge(event.key)


class Ask(ModalScreen[None]):
    """A question over everything else."""

    def __init__(self, board: RunBoard) -> None:
        """Ask what the board asks."""
        super().__init__()
        self._board = board

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        question = self._board.state.question
        text = Text(question.text if question else "", "bold")
        for key, meaning in (question.answers if question else {}).items():
            text.append(f"\n\n  {key:6}", "bold cyan").append(meaning, "")
        with Vertical(id="dialog"):
            yield Static(text)

    def on_key(self, event: Key) -> None:
        """Take an answer; any other key is none."""
        event.stop()
        self._board.answer(event.key)


def _title(state: RunState, seconds: float) -> Any:
    made = Table.grid(expand=True)
    made.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    made.add_column(justify="right", no_wrap=True)
    progress = f"{state.phase}  step {state.step}/{state.max_steps}  {seconds:.0f} s"
    made.add_row(Text(state.instruction, "bold"), Text(progress))
    return made


def _facts(state: RunState) -> Any:
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for what, value, level in rows(state):
        made.add_row(what, Text(value, _STYLES[level]))
    return made


def _keys(state: RunState) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for index, (key, what) in enumerate(keys(state)):
        style = "bold white on red" if index == 0 else "bold reverse"
        text.append(f" {key} ", style).append(f" {what}  ")
    return text
