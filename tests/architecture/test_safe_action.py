"""One road to the motors: only the guard makes a SafeAction."""

import ast

from tests.architecture.source import Module, dotted, imported_names, modules

_READS_ONLY = {"isinstance", "issubclass", "fields", "dataclasses.fields"}


def _makers(module: Module) -> list[str]:
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            parts = name.split(".")
            if "SafeAction" in parts:
                found.append(f"{module.path}:{node.lineno}: calls {name}")
            handed = any(
                dotted(argument).split(".")[-1] == "SafeAction"
                for argument in [*node.args, *(keyword.value for keyword in node.keywords)]
            )
            if handed and name not in _READS_ONLY:
                found.append(f"{module.path}:{node.lineno}: hands SafeAction to {name}")
        elif isinstance(node, ast.ClassDef):
            if any(dotted(base).split(".")[-1] == "SafeAction" for base in node.bases):
                found.append(f"{module.path}:{node.lineno}: derives from SafeAction")
        elif isinstance(node, ast.ImportFrom):
            found += [
                f"{module.path}:{node.lineno}: renames SafeAction"
                for alias in node.names
                if alias.name == "SafeAction" and alias.asname
            ]
    return found


def _parsed(text: str) -> Module:
    return Module("robot_agent/act/loop.py", text, ast.parse(text))


def test_only_the_guard_makes_a_safe_action():
    found = [line for module in modules() if module.package != "guard" for line in _makers(module)]
    assert not found, "\n".join(found)


def test_each_way_round_the_guard_is_seen():
    for text in (
        "SafeAction(x)",
        "types.SafeAction(x)",
        "SafeAction.make(x)",
        "object.__new__(SafeAction)",
        "cast(SafeAction, x)",
        "class Mine(SafeAction): pass",
        "from robot_agent.core.types import SafeAction as S",
    ):
        assert _makers(_parsed(text)), text


def test_reading_a_safe_action_is_allowed():
    text = "def f(a: SafeAction) -> None:\n    assert isinstance(a, SafeAction)\n    a.changes"
    assert not _makers(_parsed(text))


def test_only_the_ros_package_can_publish_arm_commands():
    found = [
        f"{module.path}:{line}: imports {name}"
        for module in modules()
        if module.package != "ros"
        for line, name in imported_names(module.tree)
        if name.startswith("interbotix_xs_msgs")
    ]
    assert not found, "\n".join(found)
