"""Bad policies, planted one by one on the shipped policy, and the road that must stop them."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from robot_agent.compose import home_starts, load_team
from robot_agent.core.bridge_action import Q01, Q99, Normalization
from robot_agent.learn.desk import ACTION_SPACE, bundle_contents
from robot_agent.learn.imagine import ImagineConfig
from robot_agent.learn.improve import Evidence
from robot_agent.learn.proof import ProofConfig, policy_of, tiny_probes
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import INSTRUCTIONS
from robot_agent.models.tiny_vla import ARCHITECTURE
from robot_agent.release.bundle import Bundle, GoldenSet, write_bundle
from robot_agent.release.bundle_reader import read_bundle
from robot_agent.release.gate import Gate, GateConfig, GateProbes, GateReport
from robot_agent.release.manifest import FileRecord, Manifest, parse_manifest
from robot_agent.release.signing import SigningKey, trusted
from tests.release.bundles import KEYRING, OPERATOR, STRANGER, TRAINER, resign

Change = Callable[[dict[str, torch.Tensor]], Any]
WEIGHTS = "policy.safetensors"
NEW_SCENE = 6
"""Start frames that stand for the new scene; the others are the home scene."""
LIMITS = GateConfig(
    judge_margin=0.05, world_margin=0.1, regression_margin=0.1, confidence_z=0.0,
    max_latency_ms=5_000.0,  # the machine of a test may be busy
)  # fmt: skip


class Nursery:
    """Makes candidates from the shipped policy and shows them to the gate with real probes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.team = load_team()
        self.starts = home_starts()
        self.images = np.stack([start.observation.image_hwc for start in self.starts])
        self.base = self._bundle(folder / "base", self.team.policy, 1, "", OPERATOR)
        self.probes = tiny_probes(
            self.base,
            self.evidence(),
            self.starts[NEW_SCENE : NEW_SCENE + 8],
            ProofConfig(imagine=ImagineConfig(chunks=6), repeats=1),
        )

    def evidence(self) -> Evidence:
        seen = [start.observation for start in self.starts[:NEW_SCENE]]
        episodes: Any = [
            SimpleNamespace(images=[o.image_hwc], joints_rad=[o.joints_rad], gripper=[o.gripper])
            for o in seen
        ]
        return Evidence(
            worlds=[TinyImagination(world) for world in self.team.worlds],
            held_out_world=TinyImagination(self.team.held_out_world),
            judge=ClassifierJudge(self.team.judges, INSTRUCTIONS),
            held_out_judge=ClassifierJudge([self.team.held_out_judge], INSTRUCTIONS),
            episodes=episodes,
            instructions=INSTRUCTIONS,
        )

    def _bundle(
        self, folder: Path, policy: TinyPolicy, version: int, parent: str, key: SigningKey
    ) -> Bundle:
        contents = bundle_contents(
            policy, self.images, version=version, parent=parent, provenance={}, report={}
        )
        write_bundle(folder, contents, key)
        return read_bundle(folder, KEYRING)

    def changed(self, change: Change | None = None) -> TinyPolicy:
        """Return a copy of the shipped policy with changed tensors."""
        policy = copy.deepcopy(self.team.policy)
        tensors = policy.state_dict()
        if change is not None:
            with torch.no_grad():
                change(tensors)
        policy.load_state_dict(tensors)
        return policy

    def candidate(
        self,
        change: Change | None = None,
        *,
        policy: TinyPolicy | None = None,
        golden_of: TinyPolicy | None = None,
        key: SigningKey = TRAINER,
        instructions: list[str] | None = None,
        **fields: Any,
    ) -> Path:
        """Write a signed candidate; its golden actions are its own unless told whose."""
        policy = policy or self.changed(change)
        contents = bundle_contents(
            golden_of or policy,
            self.images,
            version=2,
            parent=self.base.manifest.hash,
            provenance={} if instructions is None else {"instructions": instructions},
            report={},
        )
        tensors = {k: v.detach().contiguous() for k, v in policy.state_dict().items()}
        contents = dataclasses.replace(contents, **({"policy": save(tensors)} | fields))
        folder = self.folder / "candidate"
        shutil.rmtree(folder, ignore_errors=True)
        write_bundle(folder, contents, key)
        return folder

    def resigned(self, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
        """Change the tensors of a finished bundle and sign again, as a key holder could."""
        folder = self.candidate()
        tensors = load((folder / WEIGHTS).read_bytes())
        change(tensors)
        return replace_signed(folder, WEIGHTS, save(tensors))

    def judge(self, folder: Path, **options: Any) -> GateReport:
        """Return the gate's report, every check with its real probe unless told otherwise."""
        keyring = options.pop("keyring", KEYRING)
        probes: GateProbes = dataclasses.replace(self.probes, **options)
        return Gate(LIMITS, keyring, base=self.base, probes=probes).judge(folder)


def manifest_of(folder: Path) -> Manifest:
    return parse_manifest((folder / "manifest.json").read_bytes(), folder.name)


def replace_signed(folder: Path, name: str, content: bytes) -> Path:
    manifest = manifest_of(folder)
    (folder / name).write_bytes(content)
    record = FileRecord(hashlib.sha256(content).hexdigest(), len(content))
    resign(folder, dataclasses.replace(manifest, files={**manifest.files, name: record}))
    return folder


def bend(folder: Path, name: str, edit: Callable[[bytes], bytes]) -> Path:
    """Change the bytes of a file and sign nothing."""
    (folder / name).write_bytes(edit((folder / name).read_bytes()))
    return folder


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def with_manifest(folder: Path, **changes: Any) -> Path:
    resign(folder, dataclasses.replace(manifest_of(folder), **changes))
    return folder


def head(tensors: dict[str, torch.Tensor], move: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Move the rows of the token head, seen as (5 actions, 7 dimensions, bins, ...)."""
    for name in ("tokens.weight", "tokens.bias"):
        tensor = tensors[name]
        tensor.copy_(move(tensor.view(5, 7, -1, *tensor.shape[1:])).reshape(tensor.shape))


def negate_head(t: dict[str, torch.Tensor]) -> None:
    head(t, lambda rows: -rows)


def turn_dimensions(t: dict[str, torch.Tensor]) -> None:
    head(t, lambda rows: rows[:, [1, 2, 0, 4, 5, 3, 6]])


def saturate(t: dict[str, torch.Tensor]) -> None:
    head(t, lambda rows: rows.roll(rows.shape[2] // 2, dims=2))


def one_bin_off(t: dict[str, torch.Tensor]) -> None:
    head(t, lambda rows: rows.roll(1, dims=2))


def scramble(t: dict[str, torch.Tensor]) -> None:
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    head(t, lambda rows: rows[:, :, order])


def stir(t: dict[str, torch.Tensor], share: float = 0.3) -> None:
    """Move every tensor by a share of its own spread: weights after some other training."""
    generator = torch.Generator().manual_seed(2)
    for tensor in t.values():
        spread = tensor.std(unbiased=False) if tensor.numel() > 1 else tensor.abs()
        tensor.add_(share * spread * torch.randn(tensor.shape, generator=generator))


def half_old(nursery: Nursery) -> Path:
    new, old = nursery.changed(stir), nursery.team.policy.state_dict()
    mixed = {k: v if i % 2 else old[k] for i, (k, v) in enumerate(new.state_dict().items())}
    return nursery.candidate(lambda t: [t[k].copy_(v) for k, v in mixed.items()], golden_of=new)


def transposed(t: dict[str, torch.Tensor]) -> None:
    t["trunk.2.weight"].copy_(t["trunk.2.weight"].T.clone())


def constant(t: dict[str, torch.Tensor]) -> None:
    t["tokens.weight"].zero_()


def forged_golden(nursery: Nursery) -> Path:
    contents = bundle_contents(
        nursery.team.policy, nursery.images, version=2, parent="", provenance={}, report={}
    )
    golden = contents.golden
    forged = GoldenSet(
        golden.images_nhwc, golden.instruction_ids, golden.actions * 1.1, golden.proprio
    )
    return nursery.candidate(golden=forged)


def linked(nursery: Nursery) -> Path:
    folder = nursery.candidate()
    (folder / WEIGHTS).rename(nursery.folder / "elsewhere")
    (folder / WEIGHTS).symlink_to(nursery.folder / "elsewhere")
    return folder


def replayed(nursery: Nursery) -> Path:
    folder = nursery.candidate()
    shutil.rmtree(folder)
    shutil.copytree(nursery.folder / "base", folder)
    return folder


def mixed_bundles(nursery: Nursery) -> Path:
    other = nursery.candidate(stir)
    content = (other / WEIGHTS).read_bytes()
    return bend(nursery.candidate(), WEIGHTS, lambda _: content)


def with_file(nursery: Nursery, name: str) -> Path:
    folder = nursery.candidate()
    (folder / name).write_bytes(b"x")
    return folder


def untrained() -> TinyPolicy:
    torch.manual_seed(3)
    return TinyPolicy().eval()


def pleased_judge(team: Any) -> ClassifierJudge:
    """A judge that learned to call everything success: what a policy can be trained to please."""
    judge: TinyJudge = copy.deepcopy(team.judges[0])
    with torch.no_grad():
        judge.success.bias.add_(50.0)
    return ClassifierJudge([judge], INSTRUCTIONS)


STATISTICS = Normalization(q01=tuple(2 * Q01 - 0.01), q99=tuple(2 * Q99))
SWAPPED = b'{"name":"bridge_orig","q01":%s,"q99":%s}' % (
    str([float(q) for q in Q99]).replace(" ", "").encode(),
    str([float(q) for q in Q01]).replace(" ", "").encode(),
)
ROTATED = trusted((OPERATOR, "operator"), (STRANGER, "trainer"))
"""A keyring whose trainer's key was exchanged for a new one."""


def drop_a_tensor(bundle: Bundle) -> bytes:
    """What a loader that does not insist on every tensor leaves in the network."""
    tensors = policy_of(bundle).state_dict()
    tensors["stem.weight"] = TinyPolicy().state_dict()["stem.weight"]
    return save({k: v.contiguous() for k, v in tensors.items()})


Plant = Callable[[Nursery], Path]
PLANTS: dict[str, tuple[Plant, str]] = {
    # not the file that it claims to be
    "one byte of a tensor": (
        lambda n: bend(n.candidate(), WEIGHTS, flip), f"integrity: {WEIGHTS} sha256"),
    "cut short": (
        lambda n: bend(n.candidate(), WEIGHTS, lambda b: b[:-1]), f"integrity: {WEIGHTS} size"),
    "weights of another bundle": (mixed_bundles, f"integrity: {WEIGHTS} sha256"),
    "a link": (linked, f"integrity: {WEIGHTS}"),
    "a pickle beside it": (lambda n: with_file(n, "policy.pkl"), "integrity: file set"),
    "a path out of the folder": (
        lambda n: with_manifest(n.candidate(), files={
            **manifest_of(n.folder / "candidate").files, "../x": FileRecord("0" * 64, 1)}),
        "integrity: manifest.json files"),
    "endless manifest": (
        lambda n: bend(n.candidate(), "manifest.json", lambda b: b + b" " * (1 << 20)),
        "integrity: manifest.json size"),
    "edited manifest": (
        lambda n: bend(n.candidate(), "manifest.json", lambda b: b.replace(
            b'"version":2', b'"version":9')), "integrity: signature"),
    "signature of a stranger": (
        lambda n: n.candidate(key=STRANGER), "integrity: signature key"),
    "not finite: NaN": (
        lambda n: n.resigned(lambda t: t["stem.weight"].view(-1)[0].fill_(float("nan"))),
        f"integrity: {WEIGHTS} stem.weight"),
    "not finite: infinity": (
        lambda n: n.resigned(lambda t: t["tokens.bias"][-1].fill_(float("inf"))),
        f"integrity: {WEIGHTS} tokens.bias"),
    "statistics exchanged": (
        lambda n: replace_signed(n.candidate(), "normalization.json", SWAPPED),
        "integrity: normalization.json"),
    # whole, and not a child of what acts
    "old release again": (replayed, "version"),
    "version not newer": (lambda n: n.candidate(version=1), "version"),
    "stale parent": (lambda n: n.candidate(parent="ab" * 32), "parent"),
    "no parent": (lambda n: n.candidate(parent=""), "parent"),
    "other architecture": (lambda n: n.candidate(architecture=ARCHITECTURE + "x"), "architecture"),
    "other action space": (lambda n: n.candidate(action_space=ACTION_SPACE + "x"), "action space"),
    "other statistics": (
        lambda n: n.candidate(normalization=STATISTICS), "normalization values"),
    "statistics of another name": (
        lambda n: n.candidate(normalization=dataclasses.replace(STATISTICS, name="libero")),
        "normalization"),
    "instructions exchanged": (
        lambda n: n.candidate(instructions=[*reversed(INSTRUCTIONS)]), "instructions"),
    "an instruction twice": (
        lambda n: n.candidate(instructions=[INSTRUCTIONS[0]] * 2), "instructions"),
    "a tensor missing": (lambda n: n.resigned(lambda t: t.pop("stem.bias")), "layout"),
    "a tensor too many": (
        lambda n: n.resigned(lambda t: t.update(extra=torch.zeros(1))), "layout"),
    "a tensor transposed": (
        lambda n: n.resigned(lambda t: t.update(
            {"tokens.weight": t["tokens.weight"].T.contiguous()})), "layout"),
    "another number type": (
        lambda n: n.resigned(lambda t: t.update({k: v.half() for k, v in t.items()})), "layout"),
    "a layer scaled": (
        lambda n: n.candidate(lambda t: t["trunk.0.weight"].mul_(3)), "norm ratio"),
    "all zero": (lambda n: n.candidate(lambda t: [v.zero_() for v in t.values()]), "norm ratio"),
    "constant action": (lambda n: n.candidate(constant), "norm ratio"),
    # a child, and not what its golden actions say
    "golden actions forged": (forged_golden, "golden actions"),
    "sign flipped after export": (
        lambda n: n.candidate(negate_head, golden_of=n.team.policy), "golden actions"),
    "actions permuted after export": (
        lambda n: n.candidate(turn_dimensions, golden_of=n.team.policy), "golden actions"),
    "one bin off after export": (
        lambda n: n.candidate(one_bin_off, golden_of=n.team.policy), "golden actions"),
    "square tensor transposed": (
        lambda n: n.candidate(transposed, golden_of=n.team.policy), "golden actions"),
    "half old, half new": (half_old, "golden actions"),
    # what it claims to be, and bad
    "sign flipped": (lambda n: n.candidate(negate_head), "held out judge"),
    "actions permuted": (lambda n: n.candidate(turn_dimensions), "held out judge"),
    "saturating": (lambda n: n.candidate(saturate), "held out judge"),
    "scrambled bins": (lambda n: n.candidate(scramble), "held out judge"),
    "untrained": (lambda n: n.candidate(policy=untrained()), "norm ratio"),
}  # fmt: skip
"""Name to how it is planted and the check that must stop it first."""
