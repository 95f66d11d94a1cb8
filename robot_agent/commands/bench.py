"""`bench control|swap|camera|record|windows|policy|...`: numbers, as a table or as JSON."""

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from robot_agent.commands import bench_camera, bench_policy, bench_record, bench_windows
from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_seed,
    number,
    whole,
    wholes,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

LATENESS = ("ticks", "missed", "late p50 ms", "p99 ms", "p99.9 ms")


def register(commands: "Commands") -> None:
    """Add the group."""
    from robot_agent.commands import bench_imagine, bench_late, bench_learn, bench_swap

    group = add_group(commands, "bench", "measure this machine")
    control = add_command(group, "control", "how late the guard ticks, idle and loaded", _control)
    control.add_argument("--seconds", type=number(1, 3600, "s"), default=20.0, help="of each")
    control.add_argument("--conditions", default="", metavar="NAME,NAME", help="default: all")
    bench_policy.add(group)
    bench_imagine.register(group)
    bench_late.register(group)
    bench_learn.register(group)
    sim = add_command(group, "sim", "control steps per second of the simulator", _sim)
    sim.add_argument("--scene", default="home", help="for example kitchen, or home@real")
    sim.add_argument("--seconds", type=number(0.1, 3600, "s"), default=10.0, help="of each")
    sim.add_argument("--processes", type=whole(1, 256), default=2)
    sim.add_argument("--robots", type=whole(1, 1024), default=4, help="among the processes")
    delta = add_command(group, "delta", "bytes of a simulated update of 16-bit weights", _delta)
    delta.add_argument("--size-mb", type=number(0.001, 20_000, "MB"), default=140.0)
    delta.add_argument("--updates", type=wholes(1, 10_000), default=(1, 5, 20), metavar="N,N")
    delta.add_argument("--learning-rate", type=number(0, 0.01), default=5e-6)
    delta.add_argument("--age", type=whole(0, 100_000), default=0, help="steps before the base")
    delta.add_argument("--coherence", type=number(0, 1), default=0.0, help="of the gradients")
    bench_camera.add(group)
    bench_record.add(group)
    bench_windows.add(group)
    bench_swap.register(group)
    add_json(control)
    for parser in (sim, delta):
        add_seed(parser)
        add_json(parser)


def _control(arguments: argparse.Namespace) -> int:
    from robot_agent.ros.bench_control import bench_control
    from robot_agent.ros.bench_load import PROGRAMS

    conditions = [name for name in arguments.conditions.split(",") if name] or list(PROGRAMS)
    unknown = [name for name in conditions if name not in PROGRAMS]
    if unknown:
        raise ConfigError(
            f"--conditions: '{unknown[0]}' is unknown. Choose from: {', '.join(PROGRAMS)}."
        )
    with steps("bench control", len(conditions)) as on_condition:
        results = bench_control(arguments.seconds, conditions, on_condition=on_condition)
    rows = [lateness(name, entry) for name, entry in results.items()]
    shown = table("Ticks of the guard at 50 Hz", ("condition", *LATENESS), rows)
    show("bench control", results, as_json=arguments.json, tables=[shown])
    return 0


def lateness(name: str, entry: Mapping[str, Any]) -> list[object]:
    """Return a row of the columns `LATENESS`, with its name first."""
    late_ms = entry["late_ms"]
    return [name, entry["ticks"], entry["missed"], *(late_ms[p] for p in ("p50", "p99", "p999"))]


def _sim(arguments: argparse.Namespace) -> int:
    from robot_agent.sim.bench import bench_sim
    from robot_agent.sim.household import scene_named

    with steps("bench sim", 2) as on_result:
        results = bench_sim(
            scene_named(arguments.scene),
            seconds=arguments.seconds,
            processes=arguments.processes,
            robots=arguments.robots,
            seed=arguments.seed,
            on_result=on_result,
        )
    rows = [
        (name, results[key]["steps_per_s"], results[key]["times_real_time"])
        for name, key in (("one process", "one_process"), ("vectorised", "vector"))
    ]
    spent = results["one_process"]["ms"]
    results["notes"] = [f"one step: {', '.join(f'{k} {v:.1f} ms' for k, v in spent.items())}"]
    columns = ("run", "control steps/s", "times real time")
    shown = table("Simulator, 256x256 picture at every step", columns, rows)
    _show("bench sim", results, arguments, shown)
    return 0


@contextmanager
def steps(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar that moves with each result."""
    count = itertools.count(1)
    with progress(title) as say:
        yield lambda name: say(next(count), total, name)


def _show(
    command: str, results: dict[str, Any], arguments: argparse.Namespace, shown: Any
) -> None:
    notes = [f"note: {note}" for note in results["notes"]]
    show(command, results, as_json=arguments.json, seed=arguments.seed, tables=[shown, *notes])


def _delta(arguments: argparse.Namespace) -> int:
    import tempfile
    from pathlib import Path

    from robot_agent.release.bench_delta import DeltaBenchConfig, measure

    found: dict[str, Any] = {}
    for updates in arguments.updates:
        config = DeltaBenchConfig(
            size_mb=arguments.size_mb,
            updates=updates,
            learning_rate=arguments.learning_rate,
            age=arguments.age,
            coherence=arguments.coherence,
        )
        with tempfile.TemporaryDirectory(prefix="robot_agent-") as folder:
            found[str(updates)] = measure(config, Path(folder), arguments.seed)
    rows = [
        (
            updates,
            f"{row['changed_share']:.2%}",
            f"{row['delta_mb']:.2f}",
            f"{row['ratio']:.1f}",
            f"{row['pack_mb_s']:.0f}",
            f"{row['rebuild_mb_s']:.0f}",
        )
        for updates, row in found.items()
    ]
    title = (
        f"Updates of {arguments.size_mb:g} MB of bf16 weights, rate {arguments.learning_rate:g}"
    )
    columns = ("updates", "changed", "delta MB", "times fewer", "pack MB/s", "rebuild MB/s")
    show(
        "bench delta",
        {"by_updates": found, "size_mb": arguments.size_mb},
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table(title, columns, rows)],
    )
    return 0
