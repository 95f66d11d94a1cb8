"""The words of a command line: a parser with our errors, checked numbers, shared options."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from robot_agent.core.config import load_config
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

Handler = Callable[[argparse.Namespace], int]
Config = TypeVar("Config")

STORE = Path("runs/up/episodes")
"""Where `robot-agent up` keeps its episodes unless told otherwise."""
RELEASES = Path("runs/up/releases")
NAMESPACE = "wx250s"


class Parser(argparse.ArgumentParser):
    """Reports a wrong word as ConfigError, so that every error leaves by the same door."""

    def __init__(self, **keywords: Any) -> None:
        """Refuse abbreviations: a script must not change its meaning with the next option."""
        super().__init__(**{"allow_abbrev": False, **keywords})

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with the message and where to read more."""
        raise ConfigError(f"{message}. See: {self.prog} --help")


def add_command(commands: "Commands", name: str, summary: str, run: Handler) -> Parser:
    """Return the parser of a new command that is carried out by `run`."""
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    return parser


def add_group(commands: "Commands", name: str, summary: str) -> "Commands":
    """Return the commands of a new group such as `episodes`."""
    parser = commands.add_parser(name, help=summary, description=summary)
    return parser.add_subparsers(title="commands", metavar="command", required=True)


def add_json(parser: Parser) -> None:
    """Let the command print one JSON object instead of a table."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_seed(parser: Parser, default: int = 0) -> None:
    """Let the command be repeated."""
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), default=default, help="random seed")


def add_config(parser: Parser) -> None:
    """Let YAML files and single settings change the configuration."""
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="YAML file; a later one is laid over an earlier one",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        dest="overrides",
        help="one setting, laid over the files",
    )


def config_of(
    kind: type[Config], arguments: argparse.Namespace, first: Sequence[str] = ()
) -> Config:
    """Return the configuration that files and settings describe, laid over `first`."""
    return load_config(kind, arguments.config, [*first, *arguments.overrides])


def add_store(parser: Parser) -> None:
    """Name the episode store."""
    parser.add_argument(
        "--store", type=Path, default=STORE, help=f"episode store (default {STORE})"
    )


def add_releases(parser: Parser) -> None:
    """Name the release registry."""
    parser.add_argument(
        "--releases", type=Path, default=RELEASES, help=f"release registry (default {RELEASES})"
    )


def add_namespace(parser: Parser) -> None:
    """Name the robot whose agent is meant."""
    parser.add_argument(
        "--namespace", default=NAMESPACE, help=f"name of the robot (default {NAMESPACE})"
    )


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a converter to a whole number in [low, high]."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"'{text}' must be a whole number from {low} to {high}"
            )
        return value

    return convert


def number(low: float, high: float, unit: str = "") -> Callable[[str], float]:
    """Return a converter to a finite number in [low, high]."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"'{text}' must be a number from {low:g} to {high:g} {unit}".rstrip()
            )
        return value

    return convert


def wholes(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    """Return a converter of words like `1,8,32` to whole numbers in [low, high]."""
    one = whole(low, high)
    return lambda text: tuple(one(part) for part in text.split(","))


def existing_folder(path: Path, what: str, remedy: str) -> Path:
    """Return `path`; ConfigError when it is no folder, so that a typing error makes none."""
    if not path.is_dir():
        raise ConfigError(f"{path}: is no folder, must be {what}. {remedy}")
    return path


def existing_file(path: Path, what: str, remedy: str) -> Path:
    """Return `path`; ConfigError when it is no file."""
    if not path.is_file():
        raise ConfigError(f"{path}: is no file, must be {what}. {remedy}")
    return path


def new_file(path: Path) -> Path:
    """Return `path` with its folder made; ConfigError when the file exists: nothing is lost."""
    if path.exists():
        raise ConfigError(f"{path}: exists, must be new. Choose another --out or move it away.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
