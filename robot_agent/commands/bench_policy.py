"""`bench policy`: backends, the node's overhead over the bare session, and the wire."""

import argparse
import sys
from pathlib import Path
from typing import Any

from robot_agent.commands.options import add_command, add_json, add_seed, whole, wholes
from robot_agent.commands.output import show, table

_BARE = "robot_agent.commands.bench_bare"


def add(group: Any) -> None:
    """Add the command to the group `bench`."""
    parser = add_command(group, "policy", "time and memory of an inference, by backend", _policy)
    parser.add_argument("--repeats", type=whole(20, 1_000_000), default=300, help="calls of each")
    parser.add_argument("--threads", type=wholes(1, 256), default=(1, 2), metavar="N,N")
    parser.add_argument("--batch", type=wholes(1, 1024), default=(1, 8), metavar="N,N")
    parser.add_argument("--size", choices=("tiny", "mid"), default="", help="default: both")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--node-chunks",
        type=whole(0, 10_000),
        default=60,
        help="inferences in the node, about one a second; 0 leaves it out",
    )
    parser.add_argument(
        "--wire", type=whole(0, 1_000_000), default=2000, help="round trips; 0 leaves it out"
    )
    parser.add_argument("--peer", type=Path, help="checkout of openpi, to measure its wire too")
    add_seed(parser)
    add_json(parser)


def _policy(arguments: argparse.Namespace) -> int:
    results: dict[str, Any] = {"repeats": arguments.repeats}
    results["backends"], results["notes"] = _backends(arguments)
    if arguments.node_chunks:
        from robot_agent.compose import ensure_releases
        from robot_agent.ros.bench_policy_node import bench_node

        results["node"] = bench_node(arguments.node_chunks, (_BARE,), ensure_releases)
        results["node_overhead_percent"] = results["node"]["overhead_percent"]
    else:
        results["notes"].append("the node was not measured: --node-chunks 0")
    if arguments.wire:
        from robot_agent.models.bench_wire import bench_wire

        results["wire"] = bench_wire(arguments.peer, arguments.wire, arguments.seed)
        if "absent" in results["wire"]:
            sys.stderr.write(f"NOT COMPARED: {results['wire']['absent']}\n")
    else:
        results["notes"].append("the wire was not measured: --wire 0")
    show(
        "bench policy",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[*_tables(results), *(f"note: {note}" for note in results["notes"])],
    )
    return 0


def _backends(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    import numpy as np

    from robot_agent.commands.bench import steps
    from robot_agent.compose import home_starts, load_team
    from robot_agent.models.bench_policy import PolicyBenchConfig, bench_policy
    from robot_agent.models.tiny_team import INSTRUCTIONS

    sizes = (arguments.size,) if arguments.size else ("tiny", "mid")
    config = PolicyBenchConfig(
        repeats=arguments.repeats,
        threads=tuple(arguments.threads),
        batches=tuple(arguments.batch),
        sizes=sizes,
        is_compiled=not arguments.no_compile,
    )
    count = 5 * len(config.threads) * len(config.batches) * len(sizes)
    with steps("bench policy", count) as on_result:
        return bench_policy(
            load_team().policy,
            INSTRUCTIONS,
            np.stack([start.observation.image_hwc for start in home_starts()]),
            config,
            seed=arguments.seed,
            on_result=on_result,
        )


def _tables(results: dict[str, Any]) -> list[Any]:
    columns = ("backend", "p50 ms", "p99 ms", "memory MB")
    rows = [
        (name, *(f"{values[key]:.2f}" for key in ("p50_ms", "p99_ms", "memory_mb")))
        for name, values in results["backends"].items()
    ]
    tables: list[Any] = [table("Picture to actions; batches: the network", columns, rows)]
    both: dict[str, Any] = {}
    if "node" in results:
        both |= {"policy node": results["node"]["node"], "bare session": results["node"]["bare"]}
    if "wire" in results:
        both["wire, null policy"] = results["wire"]
        if "peer" in results["wire"]:
            both["wire of openpi"] = results["wire"]["peer"]
    rows = [(name, f"{v['p50_ms']:.3f}", f"{v['p99_ms']:.3f}") for name, v in both.items()]
    if rows:
        tables.append(table("Node and wire", ("what", "p50 ms", "p99 ms"), rows))
    if "node" in results:
        tables.append(f"the node adds {results['node_overhead_percent']:.1f} % to the median")
    return tables
