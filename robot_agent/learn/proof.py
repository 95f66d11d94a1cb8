"""What the gate asks about a tiny policy: loaded as on the robot, timed, and rolled out."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from safetensors.torch import load, save

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray
from robot_agent.learn.imagine import ImagineConfig, Start
from robot_agent.learn.improve import Evidence
from robot_agent.learn.practice import imagined_success
from robot_agent.learn.reality import start_frames
from robot_agent.models.backends import choose_backend
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_team import INSTRUCTIONS, TinyTeam, load_into
from robot_agent.models.tiny_vla import TinyVla
from robot_agent.release.bundle import Bundle
from robot_agent.release.gate import Comparison, GateProbes

_MAX_STARTS = 16
"""Start frames of the new scene in the comparisons."""
_TIMED = 30
"""Inferences that are timed."""


@dataclass(frozen=True, kw_only=True)
class ProofConfig:
    """How a candidate is rolled out beside its base."""

    imagine: ImagineConfig = field(default_factory=ImagineConfig)
    repeats: int = 2
    """Imagined episodes per start frame."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("repeats", self.repeats, 1, 1000)


def policy_of(bundle: Bundle) -> TinyPolicy:
    """Return the network of a verified bundle; BundleRejectedError when it does not fit."""
    count = len(bundle.manifest.provenance["instructions"])
    policy = TinyPolicy(TinyPolicyConfig(num_instructions=count))
    load_into(policy, load(bundle.policy_bytes), bundle.label)
    return policy.eval()


def acting_policy(bundle: Bundle) -> TinyVla:
    """Return the policy of a verified bundle, by the faster of its weights and their export."""
    golden = bundle.golden
    ids = [int(i) for i in golden.instruction_ids]
    export = bundle.report.get("export", {})
    backend = choose_backend(
        policy_of(bundle),
        bundle.onnx,
        golden.images_nhwc,
        ids,
        name=bundle.label,
        limits=export.get("limits") if isinstance(export, dict) else None,
    )
    return TinyVla(
        backend.logits,
        tuple(bundle.manifest.provenance["instructions"]),
        version=bundle.label,
        normalization=bundle.normalization,
        action_space=bundle.manifest.action_space,
        backend=backend.name,
    )


def tiny_probes(
    base: Bundle, evidence: Evidence, home: Sequence[Start], config: ProofConfig
) -> GateProbes:
    """Return every probe of the gate.

    The new scene is asked of a judge, and of a world model, that never trained the candidate; the
    home scene of both at once.
    """
    scene = start_frames(evidence.episodes[:_MAX_STARTS], evidence.instructions, INSTRUCTIONS)
    against = _comparer(base, config)
    return GateProbes(
        loaded=loaded_tensors,
        act=golden_actions,
        latency_ms=latency_ms,
        held_out_judge=against(evidence.worlds[0], evidence.held_out_judge, scene),
        held_out_world=against(evidence.held_out_world, evidence.judge, scene),
        regression=against(evidence.held_out_world, evidence.held_out_judge, home),
    )


def held_out_scores(
    candidate: Bundle, base: Bundle, evidence: Evidence, config: ProofConfig
) -> dict[str, float]:
    """Return what a judge in a world model says that neither trained the candidate: the ledger's.

    Keys are candidate, base (success rates in the new scene), standard_error and trials.
    """
    starts = start_frames(evidence.episodes[:_MAX_STARTS], evidence.instructions, INSTRUCTIONS)
    judge, world = evidence.held_out_judge, evidence.held_out_world
    found = _compare((candidate, base), world, judge, starts, config)
    return {**dataclasses.asdict(found), "trials": float(len(starts) * config.repeats)}


def shipped_probes(
    base: Bundle, team: TinyTeam, home: Sequence[Start], config: ProofConfig
) -> GateProbes:
    """Return what a robot can ask of a release that was trained elsewhere.

    There are no episodes of its scene here, so all three comparisons begin in the home scene, with
    the shipped world models and judges, and say whether it is worse than `base` there. Without
    the tasks of the team they are left out.
    """
    plain = GateProbes(loaded=loaded_tensors, act=golden_actions, latency_ms=latency_ms)
    if tuple(base.manifest.provenance.get("instructions", ())) != tuple(INSTRUCTIONS):
        return plain
    world, unseen = TinyImagination(team.worlds[0]), TinyImagination(team.held_out_world)
    judge = ClassifierJudge(team.judges, INSTRUCTIONS)
    strict = ClassifierJudge([team.held_out_judge], INSTRUCTIONS)
    against = _comparer(base, config)
    return dataclasses.replace(
        plain,
        held_out_judge=against(world, strict, home),
        held_out_world=against(unseen, judge, home),
        regression=against(unseen, strict, home),
    )


def _comparer(
    base: Bundle, config: ProofConfig
) -> Callable[[TinyImagination, ClassifierJudge, Sequence[Start]], Callable[[Bundle], Comparison]]:
    def against(
        world: TinyImagination, judge: ClassifierJudge, starts: Sequence[Start]
    ) -> Callable[[Bundle], Comparison]:
        return lambda candidate: _compare((candidate, base), world, judge, starts, config)

    return against


def loaded_tensors(bundle: Bundle) -> bytes:
    """Return the tensors that the network holds after loading, as a safetensors file."""
    state = policy_of(bundle).state_dict()
    return save({name: tensor.contiguous() for name, tensor in state.items()})


def golden_actions(bundle: Bundle) -> FloatArray:
    """Return the chunks (N, 5, 7) for the bundle's golden observations."""
    vla = TinyVla(
        policy_of(bundle),
        INSTRUCTIONS,
        version=bundle.label,
        normalization=bundle.normalization,
    )
    return vla.act_greedy(bundle.golden.images_nhwc, bundle.golden.instruction_ids.tolist())


def latency_ms(bundle: Bundle) -> float:
    """Return the 99th percentile of the inference time [ms]."""
    vla = TinyVla(policy_of(bundle), INSTRUCTIONS, version=bundle.label)
    image, times = bundle.golden.images_nhwc[:1], []
    for _ in range(_TIMED):
        watch = Stopwatch()
        vla.act_greedy(image, [0])
        times.append(watch.seconds() * 1e3)
    return float(np.percentile(times, 99))


def _compare(
    bundles: tuple[Bundle, Bundle],
    world: TinyImagination,
    judge: ClassifierJudge,
    starts: Sequence[Start],
    config: ProofConfig,
) -> Comparison:
    rates = []
    for bundle in bundles:
        found = imagined_success(
            policy_of(bundle),
            world,
            judge,
            starts,
            config.imagine,
            seed=1,
            repeats=config.repeats,
        )
        rates.append(float(np.mean([rate for rate, _ in found.values()])))
    count = len(starts) * config.repeats
    error = float(np.sqrt(sum(rate * (1 - rate) for rate in rates) / max(1, count)))
    return Comparison(rates[0], rates[1], error)
