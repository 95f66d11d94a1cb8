"""The one file that names concrete classes: makes policies, teams, releases and the slow loop."""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Observation

if TYPE_CHECKING:
    from robot_agent.evaluate.judging import ClipJudge
    from robot_agent.learn.budget import Say
    from robot_agent.learn.desk import TinyDesk
    from robot_agent.learn.imagine import Start
    from robot_agent.learn.improve import ImproveConfig, Order, Slow
    from robot_agent.learn.published import PublishedLoader
    from robot_agent.learn.source import EpisodeSource
    from robot_agent.models.tiny_team import TinyTeam
    from robot_agent.release.gate import Gate, GateReport
    from robot_agent.release.registry import Registry
    from robot_agent.release.signing import SigningKey

ASSETS = Path(__file__).parent / "assets"
KEYRING = "keyring.json"
TRAINER_KEY, OPERATOR_KEY = "trainer.pem", "operator.pem"


def load_policy(bundle: Path) -> Policy:
    """Return the policy in a release's folder after every check of the bundle.

    Raises:
        BundleRejectedError: Names the file, the check, the value and the limit.
        InputError: The robot lacks what the weights need; names each difference.
        ConfigError: No keyring lies beside the registry that holds the bundle.
    """
    from robot_agent.core.policy_needs import RobotOffer, require_fit
    from robot_agent.learn.proof import acting_policy
    from robot_agent.release.bundle_reader import read_bundle
    from robot_agent.release.signing import load_keyring

    keyring = find_keyring(bundle)
    found = read_bundle(bundle, load_keyring(keyring), allow_retired=True)
    policy: Policy
    if found.settings is not None:
        policy = published_loader().load(found, keyring.parent)
    else:
        policy = acting_policy(found)
    require_fit(policy.needs, RobotOffer(), found.label)
    return policy


@functools.cache
def published_loader() -> "PublishedLoader":
    """Return the one of this process: bases stay in memory while releases come and go."""
    from robot_agent.learn.published import PublishedLoader

    return PublishedLoader()


def find_keyring(bundle: Path) -> Path:
    """Return the keyring of the registry that holds a bundle."""
    for folder in bundle.resolve().parents[:3]:
        if (folder / KEYRING).exists():
            return folder / KEYRING
    raise ConfigError(
        f"{bundle}: no {KEYRING} in the folders above it. Make releases with: robot-agent up --sim"
    )


def load_team(assets: Path = ASSETS) -> "TinyTeam":
    """Return the shipped networks of the tiny tier."""
    from robot_agent.models.tiny_team import load_team as load

    return load(assets)


def load_judge(name: str, assets: Path = ASSETS, memory: Path | None = None) -> "ClipJudge":
    """Return `tiny`, never a reward; `tiny-reward`, which is; or a YAML file's, with a memory."""
    from robot_agent.evaluate import clip_judges
    from robot_agent.learn.improve import ImproveConfig
    from robot_agent.models.classifier_judge import ClassifierJudge
    from robot_agent.models.tiny_team import INSTRUCTIONS, read_manifest
    from robot_agent.models.tiny_world import SIZE_PX
    from robot_agent.store.votes import VoteFile

    if name.endswith((".yaml", ".yml")):
        return clip_judges.vlm_clip_judge(Path(name), None if memory is None else VoteFile(memory))
    manifest, team = read_manifest(assets), load_team(assets)
    kinds = {
        "tiny": ([team.held_out_judge], [manifest["held_out_judge"]]),
        "tiny-reward": (team.judges, manifest["judges"]),
    }
    if name not in kinds:
        raise ConfigError(f"judge '{name}' is unknown, must be: {', '.join(kinds)}, or a .yaml.")
    members, files = kinds[name]
    return clip_judges.classifier_clip_judge(
        ClassifierJudge(members, INSTRUCTIONS),
        [str(manifest["files"][file]["sha256"]) for file in files],
        ImproveConfig().real_threshold if name == "tiny" else 0.5,
        SIZE_PX,
    )


def ensure_releases(folder: Path, policy: str = "tiny") -> str:
    """Make a registry with a shipped policy as its factory release; return what acts.

    Keys are made on this machine at the first start: the operator's signs the factory release,
    the trainer's signs candidates.
    """
    from robot_agent.learn.desk import bundle_contents
    from robot_agent.models.tiny_team import load_shipped_policy
    from robot_agent.release.bundle import write_bundle

    registry, operator = ensure_registry(folder)
    if registry.current():
        return registry.current()
    network, instructions, sha256 = load_shipped_policy(ASSETS, policy)
    contents = bundle_contents(
        network,
        np.stack([start.observation.image_hwc for start in home_starts()]),
        version=1,
        parent="",
        provenance={"assets": {policy: sha256}},
        report={},
        instructions=instructions,
    )
    source = folder / "factory"
    if not source.exists():
        write_bundle(source, contents, operator)
    return registry.install_factory(source)


def ensure_registry(folder: Path) -> "tuple[Registry, SigningKey]":
    """Return the registry in a folder and the operator's key, made when they are missing."""
    from robot_agent.release.registry import Registry
    from robot_agent.release.signing import (
        create_key,
        load_key,
        load_keyring,
        save_keyring,
        trusted,
    )

    paths = [folder / "keys" / name for name in (OPERATOR_KEY, TRAINER_KEY)]
    operator, trainer = (load_key(p) if p.exists() else create_key(p) for p in paths)
    if not (folder / KEYRING).exists():
        save_keyring(folder / KEYRING, trusted((operator, "operator"), (trainer, "trainer")))
    return Registry(folder, load_keyring(folder / KEYRING)), operator


def home_starts(assets: Path = ASSETS) -> "list[Start]":
    """Return shipped observations of the home scene, each with every instruction in turn."""
    from safetensors.numpy import load_file

    from robot_agent.learn.imagine import Start
    from robot_agent.models.tiny_team import INSTRUCTIONS

    arrays = load_file(assets / "home.safetensors")
    return [
        Start(
            Observation(image_hwc=image, joints_rad=joints, gripper=float(gripper), stamp_ns=0),
            index % len(INSTRUCTIONS),
        )
        for index, (image, joints, gripper) in enumerate(
            zip(arrays["images"], arrays["joints_rad"], arrays["gripper"], strict=True)
        )
    ]


def compose_slow_loop(
    robot: "EpisodeSource",
    *,
    run: Path,
    store: Path,
    releases: Path,
    replay: Path,
    minutes: float,
    say: "Say",
    config: "ImproveConfig",
) -> "Slow":
    """Return the slow loop over a robot; every part is the tiny tier's."""
    from robot_agent.core.config import to_plain
    from robot_agent.learn.budget import Budget
    from robot_agent.learn.data import load_recording
    from robot_agent.learn.improve import Slow
    from robot_agent.learn.journal import RunFolder
    from robot_agent.store.episode_store import EpisodeStore

    ensure_releases(releases)
    team = load_team()
    provenance = {
        "assets": dict(team.hashes),
        "config": to_plain(config),
        "seed": config.seed,
    }
    return Slow(
        robot=robot,
        store=EpisodeStore(store),
        team=team,
        replay=load_recording(replay, use_valid=False),
        desk=_desk(releases, run / "candidates", config, provenance),
        run=RunFolder(run),
        budget=Budget(minutes, say),
    )


def _desk(
    releases: Path, folder: Path, config: "ImproveConfig", provenance: dict[str, Any]
) -> "TinyDesk":
    from robot_agent.learn.desk import DeskConfig, TinyDesk
    from robot_agent.learn.proof import ProofConfig
    from robot_agent.release.registry import Registry
    from robot_agent.release.signing import load_key, load_keyring

    keyring = load_keyring(releases / KEYRING)
    return TinyDesk(
        Registry(releases, keyring),
        keyring,
        load_key(releases / "keys" / TRAINER_KEY),
        folder=folder,
        home_starts=home_starts(),
        config=DeskConfig(proof=ProofConfig(imagine=config.practice.imagine)),
        provenance=provenance,
    )


def gate_release(releases: Path, label: str) -> "GateReport":
    """Put a release that was taken in before the gate; it is SANE or REJECTED afterwards.

    The base is what acts. Comparisons that need tasks which the shipped team does not know are
    left out, by name, in the report, which is kept beside the journal.

    Raises:
        SwapRefusedError: The release is not VERIFIED.
        ConfigError: Nothing here can run an architecture like that of the current release.
    """
    from robot_agent.release.registry import Registry
    from robot_agent.release.signing import load_keyring
    from robot_agent.release.verdict import require_verified, settle

    registry = Registry(releases, load_keyring(releases / KEYRING))
    require_verified(registry, label)
    return settle(registry, _gate_of(registry, releases, label), label)


def _gate_of(registry: "Registry", releases: Path, label: str) -> "Gate":
    from robot_agent.learn.desk import shipped_gate
    from robot_agent.learn.published import published_gate
    from robot_agent.release.signing import load_keyring

    base, keyring = registry.load(registry.current()), load_keyring(releases / KEYRING)
    with contextlib.suppress(BundleRejectedError):  # a damaged one is the gate's own to refuse
        candidate = registry.load(label)
        if candidate.settings is not None:
            return published_gate(published_loader(), releases, keyring, base, candidate)
    return shipped_gate(base, load_team(), home_starts(), keyring, label)


def ensure_replay(path: Path, num: int = 120, seed: int = 90) -> Path:
    """Make the replay of broad simulated play that keeps finetuning from forgetting, once."""
    from robot_agent.sim.collect import collect_play
    from robot_agent.sim.recordings import save_recording

    if not path.exists():
        save_recording(path, collect_play(num, seed, steps=20))
    return path


def make_order(scene: str, instructions: Sequence[str], max_real_episodes: int) -> "Order":
    """Return a checked order; InputError names an instruction that is empty or unknown."""
    from robot_agent.learn.improve import Order
    from robot_agent.models.tiny_team import INSTRUCTIONS
    from robot_agent.models.tiny_vla import instruction_id

    wanted = tuple(
        INSTRUCTIONS[instruction_id(instruction, INSTRUCTIONS)] for instruction in instructions
    )
    return Order(scene, wanted or INSTRUCTIONS, max_real_episodes)
