"""Time is an argument: only core/clock.py reads a clock."""

import ast

from tests.architecture.source import Module, dotted, imported_names, modules, unexcused

_CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"}
_READS = {f"time.{name}{suffix}" for name in _CLOCKS for suffix in ("", "_ns")} | {
    f"{prefix}{name}"
    for prefix in ("datetime.", "datetime.datetime.", "date.", "datetime.date.")
    for name in ("now", "utcnow", "today")
}


def _reads(module: Module) -> list[str]:
    found = [
        f"line {line} imports {name}"
        for line, name in imported_names(module.tree)
        if name in _READS
    ]
    for node in ast.walk(module.tree):
        # A bare reference counts: a clock handed on as a default argument is read later.
        if isinstance(node, ast.Attribute) and dotted(node) in _READS:
            found.append(f"line {node.lineno} reads {dotted(node)}")
    return found


def test_only_the_clock_reads_time():
    found = {
        module.path: "; ".join(reads)
        for module in modules()
        if module.path != "robot_agent/core/clock.py" and (reads := _reads(module))
    }
    wrong = unexcused("reads_time", found)
    assert not wrong, "\n".join(wrong)


def test_each_way_to_read_time_is_seen():
    for text in (
        "import time\nx = time.monotonic_ns()",
        "from time import perf_counter",
        "import datetime\nx = datetime.datetime.now()",
        "import time\ndef f(now=time.time): pass",
    ):
        assert _reads(Module("robot_agent/act/loop.py", text, ast.parse(text))), text
