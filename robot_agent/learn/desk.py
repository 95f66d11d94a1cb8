"""The release desk: writes a candidate's bundle, lets the gate judge it, publishes what passes."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load, save

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.clock import Stopwatch
from robot_agent.core.types import ImageArray
from robot_agent.learn.imagine import ImagineConfig, Start
from robot_agent.learn.improve import Evidence
from robot_agent.learn.journal import RoundRecord
from robot_agent.learn.practice import imagined_success
from robot_agent.learn.reality import start_frames
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_team import INSTRUCTIONS, load_into
from robot_agent.models.tiny_vla import ARCHITECTURE, TinyVla
from robot_agent.release.bundle import Bundle, BundleContents, GoldenSet, write_bundle
from robot_agent.release.gate import Comparison, Gate, GateConfig, GateProbes
from robot_agent.release.registry import Registry
from robot_agent.release.signing import Keyring, SigningKey
from robot_agent.release.states import State

ACTION_SPACE = "bridge-7d-5hz-1"


@dataclass(frozen=True, kw_only=True)
class DeskConfig:
    """How candidates are proven."""

    gate: GateConfig = field(
        default_factory=lambda: GateConfig(
            judge_margin=0.05, world_margin=0.10, regression_margin=0.10, confidence_z=0.0
        )
    )
    imagine: ImagineConfig = field(default_factory=ImagineConfig)
    repeats: int = 2
    """Imagined episodes per start frame in the gate's comparisons."""


def bundle_contents(
    policy: TinyPolicy,
    golden_images: ImageArray,
    *,
    version: int,
    parent: str,
    provenance: Mapping[str, Any],
    report: Mapping[str, Any],
) -> BundleContents:
    """Return a tiny policy as the contents of a bundle, golden actions included."""
    count = len(golden_images)
    ids = np.arange(count) % len(INSTRUCTIONS)
    vla = TinyVla(policy, INSTRUCTIONS, version="golden")
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
        provenance={"instructions": list(INSTRUCTIONS), **provenance},
    )


def policy_of(bundle: Bundle) -> TinyPolicy:
    """Return the network of a verified bundle; BundleRejectedError when it does not fit."""
    policy = TinyPolicy(TinyPolicyConfig(num_instructions=len(INSTRUCTIONS)))
    load_into(policy, load(bundle.policy_bytes), bundle.label)
    return policy.eval()


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
        probes = self._probes(base, evidence)
        report = Gate(self._config.gate, self._keyring, base=base, probes=probes).judge(path)
        checks = [dict(dataclasses.asdict(check)) for check in report.checks]
        if not report.passed:
            return "", checks
        label = self._registry.publish(path)
        self._registry.advance(label, State.LOADED)
        self._registry.advance(label, State.SANE)
        return label, checks

    def _probes(self, base: Bundle, evidence: Evidence) -> GateProbes:
        scene = start_frames(evidence.episodes[:16], evidence.instructions, INSTRUCTIONS)
        imagination, held_out = evidence.worlds[0], evidence.held_out_world

        def against(
            world: TinyImagination, judge: ClassifierJudge, starts: list[Start]
        ) -> Callable[[Bundle], Comparison]:
            return lambda candidate: self._compare(candidate, base, world, judge, starts)

        return GateProbes(
            act=_golden_actions,
            latency_ms=_latency_ms,
            held_out_judge=against(imagination, evidence.held_out_judge, scene),
            held_out_world=against(held_out, evidence.judge, scene),
            regression=against(held_out, evidence.held_out_judge, self._home),
        )

    def _compare(
        self,
        candidate: Bundle,
        base: Bundle,
        world: TinyImagination,
        judge: ClassifierJudge,
        starts: list[Start],
    ) -> Comparison:
        rates = []
        for bundle in (candidate, base):
            found = imagined_success(
                policy_of(bundle),
                world,
                judge,
                starts,
                self._config.imagine,
                seed=1,
                repeats=self._config.repeats,
            )
            rates.append(float(np.mean([rate for rate, _ in found.values()])))
        count = len(starts) * self._config.repeats
        error = float(np.sqrt(sum(rate * (1 - rate) for rate in rates) / max(1, count)))
        return Comparison(rates[0], rates[1], error)


def _golden_actions(bundle: Bundle) -> Any:
    vla = TinyVla(policy_of(bundle), INSTRUCTIONS, version=bundle.label)
    return vla.act_greedy(bundle.golden.images_nhwc, bundle.golden.instruction_ids.tolist())


def _latency_ms(bundle: Bundle) -> float:
    vla = TinyVla(policy_of(bundle), INSTRUCTIONS, version=bundle.label)
    image, times = bundle.golden.images_nhwc[:1], []
    for _ in range(30):
        watch = Stopwatch()
        vla.act_greedy(image, [0])
        times.append(watch.seconds() * 1e3)
    return float(np.percentile(times, 99))
