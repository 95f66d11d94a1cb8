"""The published experiments on the twin, with the simulator's state as truth.

Source: World-Gymnast, arXiv 2602.02454, sections 4.2 to 4.5. The `real` physics play the robot;
the trainer's physics are what hands, worlds and judges learned from, and what RL in a simulator
sees. What differs from the paper is told in `doc/learning.md`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from robot_agent.compose import ASSETS
from robot_agent.core.config import to_plain
from robot_agent.evaluate.comparison import compare
from robot_agent.evaluate.outcomes import Comparison
from robot_agent.evaluate.trial_runner import TrialRunner
from robot_agent.evaluate.trial_workers import SimRunner
from robot_agent.models.tiny_team import POLICIES
from robot_agent.store.durable import make_folder, replace_file
from robot_agent.studies.published_arms import WEIGHTS, Workshop
from robot_agent.studies.published_config import PublishedStudyConfig
from robot_agent.studies.published_experiments import RUNS, Compared
from robot_agent.studies.published_tables import Found, ledger_of
from robot_agent.studies.resumable import Say, Tell, outcomes_of, require_same
from robot_agent.studies.twin import load_twin, suite_of
from robot_agent.studies.twin_team import TwinTeam, prepare_team

_MAY_CHANGE = ("experiments", "seeds", "trials", "max_steps", "group", "workers")
"""What a study that goes on may be asked for otherwise: no training hangs on it."""
MakeRunner = Callable[[Mapping[str, Path], int], TrialRunner]
"""Policies and number of processes to what runs trials."""


def sim_runner(policies: Mapping[str, Path], workers: int) -> TrialRunner:
    """Return what runs the trials: simulators in processes."""
    return SimRunner(policies, load_twin, workers=workers)


def run_published(
    out: Path, config: PublishedStudyConfig, say: Say, make_runner: MakeRunner = sim_runner
) -> dict[str, Any]:
    """Run what is not done yet and return the results.

    A study that was stopped or killed goes on where it was: recordings, networks, trained arms,
    checkpoints of practice and trials are kept in `out`.
    """
    torch.set_num_threads(1)  # members run side by side, one thread each
    done = 0

    def tell(words: str) -> None:
        say(done, words)

    fixed = {key: value for key, value in to_plain(config).items() if key not in _MAY_CHANGE}
    require_same(out / "study.json", fixed)
    team = prepare_team(out / "team", config.team, config.workers, tell)
    found: dict[str, Found] = {}
    for seed in range(config.seeds):
        shop = _workshop(out, config, team, seed, tell)
        for name in config.experiments:
            for compared in RUNS[name](shop):
                trials = outcomes_of(_compare(out, compared, config, make_runner, tell), seed)
                others = [place.assignment.name for place in compared.others]
                known = found.setdefault(compared.experiment, Found(others))
                known.add(trials, [arm.record for arm in compared.arms])
            done += 1
            tell(f"seed {seed}, experiment {name} is done")
    tables = {name: known.summary(name, config.group) for name, known in found.items()}
    return {
        "config": to_plain(config),
        "team": team.numbers,
        "experiments": tables,
        "ledger": ledger_of(tables),
    }


def _workshop(
    out: Path, config: PublishedStudyConfig, team: TwinTeam, seed: int, say: Tell
) -> Workshop:
    sft = out / "SFT" / WEIGHTS
    if not sft.exists():
        make_folder(sft.parent)
        shipped = ASSETS / f"{POLICIES['tiny-twin'][0]}.safetensors"
        replace_file(sft, shipped.read_bytes())
    return Workshop(out / f"seed-{seed}", config, team, sft, seed, say)


def _compare(
    out: Path,
    compared: Compared,
    config: PublishedStudyConfig,
    make_runner: MakeRunner,
    say: Tell,
) -> Comparison:
    policies = {arm.name: arm.weights for arm in compared.arms}
    suite = suite_of(
        compared.experiment,
        compared.wanted,
        compared.others,
        trials=config.trials,
        max_steps=config.max_steps,
    )
    return compare(
        policies,
        make_runner(policies, config.workers),
        suite,
        journal=out / "trials.jsonl",
        on_trial=lambda done, total, _: say(f"trials of {compared.experiment}: {done}/{total}"),
    )
