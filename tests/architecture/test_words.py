"""The words of the project: module names, docstrings, seams."""

import ast
from pathlib import Path

from tests.architecture.source import Module, dotted, modules

_EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}
_DOCUMENTED = {"core", "act", "release", "store", "learn", "guard"}


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _undocumented(module: Module) -> list[str]:
    found = [] if ast.get_docstring(module.tree) or not module.text.strip() else ["the module"]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and _is_public(node.name):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            found += [node.name] * (ast.get_docstring(node) is None)
            found += [
                f"{node.name}.{method.name}"
                for method in methods
                if _is_public(method.name) and ast.get_docstring(method) is None
            ]
    found += [
        node.name
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef)
        and _is_public(node.name)
        and ast.get_docstring(node) is None
    ]
    return [f"{module.path}: {name} has no docstring" for name in found]


def test_no_module_has_an_empty_name():
    found = [
        module.path
        for module in modules()
        if _EMPTY_NAMES & {part.removesuffix(".py") for part in Path(module.path).parts}
    ]
    assert not found, f"name what the module owns: {found}"


def test_every_public_name_has_a_docstring():
    found = [line for m in modules() if m.package in _DOCUMENTED for line in _undocumented(m)]
    assert not found, "\n".join(found)


def _protocols() -> set[str]:
    seams = next(m for m in modules() if m.path == "robot_agent/core/protocols.py")
    return {
        node.name
        for node in seams.tree.body
        if isinstance(node, ast.ClassDef)
        and any(
            dotted(getattr(base, "value", base)).endswith("Protocol")
            or dotted(base).endswith("Protocol")
            for base in node.bases
        )
    }


def test_no_class_inherits_a_seam():
    seams = _protocols()
    assert {"Policy", "WorldModel", "Judge", "Clock"} <= seams
    found = [
        f"{module.path}:{node.lineno}: {node.name} inherits the seam {dotted(base)}"
        for module in modules()
        if module.path != "robot_agent/core/protocols.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and not any(dotted(base).endswith("Protocol") for base in node.bases)  # widens the seam
        for base in node.bases
        if dotted(base).split(".")[-1] in seams
    ]
    assert not found, "a forgotten method would return None:\n" + "\n".join(found)
