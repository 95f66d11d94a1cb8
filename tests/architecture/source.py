"""The checkout as these tests see it: its files, its modules, its listed exceptions."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "robot_agent"


@dataclass(frozen=True)
class Module:
    """One Python file, parsed."""

    path: str
    """Relative to the root of the checkout."""
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """First folder below robot_agent, or "" for a module that lies in it directly."""
        parts = Path(self.path).parts
        return parts[1] if len(parts) > 2 else ""

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Yield every function with its dotted name inside the module."""
        yield from _functions(self.tree, "")


def _functions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


@cache
def files() -> tuple[str, ...]:
    """Return every file of the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return tuple(sorted(p for p in set(listed.stdout.split("\0")) if p and (ROOT / p).is_file()))


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """Return the Python files below the folders, parsed; the package's own unless told."""
    roots = tuple(f"{folder}/" for folder in folders or (PACKAGE,))
    found = []
    for path in files():
        if path.endswith(".py") and path.startswith(roots):
            text = (ROOT / path).read_text(encoding="utf-8")
            found.append(Module(path, text, ast.parse(text, path)))
    return tuple(found)


def exceptions(rule: str) -> dict[str, str]:
    """Return the listed exceptions of one rule: place -> reason."""
    listed = yaml.safe_load((Path(__file__).parent / "exceptions.yaml").read_text("utf-8"))
    return listed[rule] or {}


def unexcused(rule: str, found: dict[str, str]) -> list[str]:
    """Return what is wrong with `found` (place -> finding) given the exceptions of the rule.

    An exception that nothing needs any more is a finding too, so that the list only shrinks.
    """
    excused = exceptions(rule)
    wrong = [f"{place}: {finding}" for place, finding in found.items() if place not in excused]
    wrong += [
        f"{place}: listed in exceptions.yaml under {rule}, not needed"
        for place in excused
        if place not in found
    ]
    return sorted(wrong)


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) for everything a module imports: `from a import b` is `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for such an expression; a part that is not a plain name becomes ''."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
