"""`judge audit`: what a judge may be used for, by clips of known truth and by clips to fool it."""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_config,
    add_json,
    add_seed,
    config_of,
    existing_file,
    existing_folder,
    whole,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.evaluate.judge_clips import Clip

_MEMORY = Path("runs/judge-memory.jsonl")


def register(group: "Commands") -> None:
    """Add the command."""
    audit = add_command(group, "audit", "say what a judge may be used for", _audit)
    audit.add_argument(
        "--judge",
        default="tiny",
        help="tiny (held out), tiny-reward, or a YAML file of a vision-language judge",
    )
    audit.add_argument("--data", type=Path, help="recording of play whose truth is known")
    audit.add_argument("--store", type=Path, help="episodes that a person or the simulator judged")
    audit.add_argument("--num", type=whole(2, 10_000), default=60, help="clips of each truth")
    audit.add_argument("--plants", type=whole(1, 10_000), default=20, help="clips of each kind")
    audit.add_argument("--out", type=Path, help="audit to write, as JSON")
    audit.add_argument("--html", type=Path, help="page to write")
    audit.add_argument(
        "--memory", type=Path, default=_MEMORY, help="answers of a vision-language judge, kept"
    )
    add_seed(audit)
    add_config(audit)
    add_json(audit)


def _audit(arguments: argparse.Namespace) -> int:
    from robot_agent.compose import load_judge
    from robot_agent.evaluate.judge_audit import AuditConfig, audit_judge
    from robot_agent.evaluate.judge_clips import planted
    from robot_agent.evaluate.judge_page import write_audit_page
    from robot_agent.store.durable import replace_file, storage_errors

    config = config_of(AuditConfig, arguments)
    clips = _clips(arguments)
    clips += planted(clips, arguments.plants, arguments.seed)
    judge = load_judge(arguments.judge, memory=arguments.memory)
    with progress("auditing the judge") as say:
        audit = audit_judge(judge, clips, config, lambda done, total: say(done, total, "clips"))
    results = audit.to_json()
    if arguments.out:
        with storage_errors("writing the audit", arguments.out):
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            replace_file(arguments.out, json.dumps(results, indent=1).encode())
    if arguments.html:
        write_audit_page(arguments.html, results)
    title = f"Judge {audit.judge} may be used to: {results['use']}"
    columns = (
        "instruction", "use", "threshold (calibrated)", "found", "false alarms", "AUC",
        "unknown", "fooled by",
    )  # fmt: skip
    notes = [f"{n}: {reason}" for n, a in audit.instructions.items() for reason in a.reasons]
    show(
        "judge audit",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table(title, columns, _rows(results["instructions"])), *notes],
    )
    return 0 if results["use"] != "none" else 1


def require_audited(instructions: Iterable[str]) -> None:
    """Refuse instructions for which the shipped judges may not be a reward, or compare.

    Raises:
        InputError: Names the judge, the instruction and what its audit found.
    """
    from robot_agent.compose import ASSETS, load_judge
    from robot_agent.evaluate.judge_audit import read_audit

    wanted = list(instructions)
    for name, use in (("tiny-reward", "train"), ("tiny", "compare")):
        audit, judge = read_audit(ASSETS / f"audit_{name}.json"), load_judge(name).name
        for instruction in wanted:
            audit.require(judge, instruction, use)


def _clips(arguments: argparse.Namespace) -> "list[Clip]":
    from robot_agent.evaluate.judge_clips import clips_of_episodes, clips_of_recording
    from robot_agent.sim.recordings import open_recording
    from robot_agent.store.episode_store import EpisodeStore

    if (arguments.data is None) == (arguments.store is None):
        raise ConfigError("judge audit: name one of --data and --store, not both and not none.")
    if arguments.data is not None:
        remedy = "Make one with: robot-agent demos collect --kind play"
        path = existing_file(arguments.data, "a recording", remedy)
        return clips_of_recording(open_recording(path), arguments.num, arguments.seed)
    store = EpisodeStore(existing_folder(arguments.store, "an episode store", "Check the path."))
    return clips_of_episodes([store.load(name) for name in store.list()])


def _rows(instructions: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[object, ...]]:
    for name, found in instructions.items():
        rates = [
            f"{found['report'][key]['hits']}/{found['report'][key]['of']}"
            if found["report"]
            else "-"
            for key in ("true_positive_rate", "false_positive_rate")
        ]
        plants = [f"{kind} {p['fooled']}/{p['of']}" for kind, p in found["plants"].items()]
        threshold, auc = (
            f"{found['threshold']:.3f} ({found['calibrated']:.3f})",
            f"{found['auc']:.3f}",
        )
        unknown = f"{found['unknown']}/{found['clips']}"
        yield (name, found["use"], threshold, *rates, auc, unknown, ", ".join(plants))
