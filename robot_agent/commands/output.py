"""What a command shows: a table for a person, or one JSON object for a program."""

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from robot_agent import __version__
from robot_agent.core.clock import Stopwatch

Say = Callable[[int, int, str], None]
"""Progress: done, total, and a few words."""


def machine() -> dict[str, Any]:
    """Return what a reader of a measurement must know about the machine."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages * size / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": _version_of("torch"),
    }


def show(
    command: str,
    results: Mapping[str, Any],
    *,
    as_json: bool,
    seed: int | None = None,
    tables: Iterable[Any] = (),
) -> None:
    """Print the results as one JSON object, or as the given rich tables and texts.

    Numbers that are not finite become null: they are no JSON.
    """
    if as_json:
        whole = {
            "command": command,
            "version": __version__,
            "machine": machine(),
            "seed": seed,
            "results": _strict(results),
        }
        print(json.dumps(whole, allow_nan=False))
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    for item in tables:
        console.print(item, markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """Return a rich table; numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    made, cells = Table(title=Text(title), title_justify="left"), [list(row) for row in rows]
    for index, name in enumerate(columns):
        is_number = bool(cells) and isinstance(cells[0][index], int | float)
        made.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


@contextmanager
def progress(title: str) -> Iterator[Say]:
    """Show a bar with the time left on stderr, or a line now and then when nobody watches."""
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[words]}"), console=Console(stderr=True)) as p:
        task = p.add_task(title, total=None, words="")
        yield lambda done, total, words: p.update(task, completed=done, total=total, words=words)


class _Lines:
    """Progress as lines of a log, at most one in five seconds."""

    def __init__(self, title: str) -> None:
        self._title, self._watch, self._next_s = title, Stopwatch(), 0.0

    def __call__(self, done: int, total: int, words: str) -> None:
        now_s = self._watch.seconds()
        if now_s < self._next_s and done < total:
            return
        self._next_s = now_s + 5.0
        left = f"{now_s * (total - done) / done:.0f} s left" if done else "time left unknown"
        sys.stderr.write(f"[{now_s:6.1f} s] {self._title}: {done}/{total}, {left}. {words}\n")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
