"""The release desk: writes a candidate's bundle, lets the gate judge it, publishes what passes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load, save

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.errors import ConfigError
from robot_agent.core.policy_needs import BRIDGE_ACTIONS
from robot_agent.core.types import ImageArray
from robot_agent.learn.imagine import Start
from robot_agent.learn.improve import Evidence
from robot_agent.learn.journal import RoundRecord
from robot_agent.learn.proof import ProofConfig, held_out_scores, shipped_probes, tiny_probes
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import INSTRUCTIONS, TinyTeam, load_into
from robot_agent.models.tiny_vla import ARCHITECTURE, TinyVla
from robot_agent.release.bundle import Bundle, BundleContents, GoldenSet, write_bundle
from robot_agent.release.bundle_reader import read_bundle
from robot_agent.release.gate import Gate, GateConfig
from robot_agent.release.registry import Registry
from robot_agent.release.signing import Keyring, SigningKey
from robot_agent.release.states import State

ACTION_SPACE = BRIDGE_ACTIONS


@dataclass(frozen=True, kw_only=True)
class DeskConfig:
    """How candidates are proven."""

    gate: GateConfig = field(
        default_factory=lambda: GateConfig(
            judge_margin=0.05, world_margin=0.10, regression_margin=0.10, confidence_z=0.0
        )
    )
    proof: ProofConfig = field(default_factory=ProofConfig)


def bundle_contents(
    policy: TinyPolicy,
    golden_images: ImageArray,
    *,
    version: int,
    parent: str,
    provenance: Mapping[str, Any],
    report: Mapping[str, Any],
    instructions: Sequence[str] = INSTRUCTIONS,
) -> BundleContents:
    """Return a tiny policy as the contents of a bundle, golden actions included."""
    count = len(golden_images)
    ids = np.arange(count) % len(instructions)
    vla = TinyVla(policy, instructions, version="golden")
    golden = GoldenSet(
        images_nhwc=golden_images,
        instruction_ids=ids.astype(np.int64),
        actions=vla.act_greedy(golden_images, ids.tolist()),
        proprio=np.zeros((count, 0)),
    )
    tensors = {k: v.detach().contiguous() for k, v in policy.state_dict().items()}
    return BundleContents(
        version=version,
        architecture=ARCHITECTURE,
        action_space=ACTION_SPACE,
        policy=save(tensors),
        golden=golden,
        normalization=Normalization(),
        parent=parent,
        report=report,
        provenance={"instructions": list(instructions), **provenance},
    )


def shipped_gate(
    base: Bundle, team: TinyTeam, home: Sequence[Start], keyring: Keyring, label: str
) -> Gate:
    """Return the gate for a release that was trained elsewhere, against what acts here.

    Raises:
        ConfigError: Nothing here can run an architecture like that of the base.
    """
    if base.manifest.architecture != ARCHITECTURE:
        raise ConfigError(
            f"{label}: the gate here runs {ARCHITECTURE}, the current release is "
            f"{base.manifest.architecture}. Gate it where it was trained."
        )
    config = DeskConfig()
    probes = shipped_probes(base, team, home, config.proof)
    left_out = [name for name, probe in vars(probes).items() if probe is None]
    return Gate(config.gate, keyring, base=base, probes=probes, allow_skipped=left_out)


class TinyDesk:
    """Releases tiny policies into a registry; the base of every candidate is what acts now."""

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        key: SigningKey,
        *,
        folder: Path,
        home_starts: list[Start],
        config: DeskConfig,
        provenance: Mapping[str, Any],
    ) -> None:
        """Write candidates into `folder`; `home_starts` are scenes that must not be forgotten."""
        self._registry, self._keyring, self._key = registry, keyring, key
        self._folder, self._home, self._config = folder, home_starts, config
        self._provenance = provenance

    @property
    def current(self) -> str:
        """Version that acts now."""
        return self._registry.current()

    def restore(self, policy: TinyPolicy) -> None:
        """Load the acting version's weights into `policy`."""
        bundle = self._registry.load(self.current)
        load_into(policy, load(bundle.policy_bytes), bundle.label)

    def release(
        self, policy: TinyPolicy, evidence: Evidence, record: RoundRecord
    ) -> tuple[str, list[dict[str, object]]]:
        """Write, gate and publish; return the version ("" when refused) and the checks."""
        base = self._registry.load(self.current)
        version = 1 + max(info.version for info in self._registry.list())
        while (path := self._folder / f"candidate-{version}").exists():
            version += 1
        contents = bundle_contents(
            policy,
            np.stack([start.observation.image_hwc for start in self._home]),
            version=version,
            parent=base.manifest.hash,
            provenance={**self._provenance, "episodes": list(record.episodes)},
            report={"imagined": record.imagined_after, "trust": record.trust},
        )
        write_bundle(path, contents, self._key)
        probes = tiny_probes(base, evidence, self._home, self._config.proof)
        report = Gate(self._config.gate, self._keyring, base=base, probes=probes).judge(path)
        checks = [dict(dataclasses.asdict(check)) for check in report.checks]
        if not report.passed:
            return "", checks
        candidate = read_bundle(path, self._keyring)
        record.held_out = held_out_scores(candidate, base, evidence, self._config.proof)
        label = self._registry.publish(path)
        self._registry.advance(label, State.LOADED)
        self._registry.advance(label, State.SANE)
        return label, checks
