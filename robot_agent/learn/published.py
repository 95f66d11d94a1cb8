"""Releases on a base: made from a published folder or an adapter, loaded on a resident base."""

import dataclasses
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import build, to_plain
from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.core.policy_needs import BRIDGE_ACTIONS, COLOR_CAMERA
from robot_agent.core.types import ACTION_DIM, FloatArray, Observation
from robot_agent.models.published import (
    PublishedConfig,
    PublishedPolicy,
    Resident,
    load_resident,
)
from robot_agent.release.bases import require_base
from robot_agent.release.bundle import Bundle, BundleContents, GoldenSet
from robot_agent.release.gate import AGAINST_BASE, Gate, GateConfig, GateProbes
from robot_agent.release.signing import Keyring

_LOG = logging.getLogger(__name__)
_MAX_RESIDENT = 2
"""Bases that stay in memory: the one in use, and the one that a new line is loaded on."""
_TIMED = 5


class PublishedLoader:
    """Makes policies of releases on bases, which stay in memory. Any thread, one at a time.

    So a release that brings another adapter is loaded without reading the base again, while the
    policy that acts keeps its own.
    """

    def __init__(self) -> None:
        """Begin with no base in memory."""
        self._residents: dict[str, Resident] = {}
        self._lock = threading.Lock()

    def load(self, bundle: Bundle, releases: Path) -> PublishedPolicy:
        """Return the policy of a verified release whose base lies beside the registry `releases`.

        It acts on the release's golden observations first, which also warms it up.

        Raises:
            BundleRejectedError: The base is missing or changed, the adapter does not fit, or the
                golden actions are others.
            ConfigError: The settings or the statistics do not fit.
        """
        config, base = settings_of(bundle)
        with self._lock:
            resident = self._resident(bundle, config, base, releases)
            watch = Stopwatch()
            policy = resident.policy(bundle.label, adapter_of(bundle))
            made_s = watch.seconds()
            require_golden(policy, bundle)
        _LOG.info("%s: on its resident base in %.2f s", bundle.label, made_s)
        return policy

    def _resident(
        self, bundle: Bundle, config: PublishedConfig, base: str, releases: Path
    ) -> Resident:
        key = f"{bundle.manifest.architecture} {base} {json.dumps(to_plain(config))}"
        if key not in self._residents:
            while len(self._residents) >= _MAX_RESIDENT:
                self._residents.pop(next(iter(self._residents)))
            watch = Stopwatch()
            folder = require_base(releases, base)
            resident = load_resident(bundle.manifest.architecture, folder, config)
            self._residents[key] = resident
            _LOG.info("%s: base %s read in %.1f s", bundle.label, base[:12], watch.seconds())
        return self._residents[key]


def settings_of(bundle: Bundle) -> tuple[PublishedConfig, str]:
    """Return how the weights are used, and the name of their base."""
    settings = bundle.settings or {}
    base = settings.get("base")
    if set(settings) != {"base", "config"} or not isinstance(base, str):
        raise BundleRejectedError(bundle.label, "policy.json", sorted(settings), "base and config")
    return build(PublishedConfig, settings["config"], f"{bundle.label}/policy.json"), base


def adapter_of(bundle: Bundle) -> bytes:
    """Return the adapter that a release adds to its base; nothing for a bare one."""
    return bundle.policy_bytes if bundle.summaries else b""


def published_contents(
    policy: PublishedPolicy,
    observations: Sequence[Observation],
    instructions: Sequence[str],
    *,
    architecture: str,
    base: str,
    config: PublishedConfig,
    adapter: bytes = b"",
) -> BundleContents:
    """Return a first release (version 1, no parent) of a loaded policy, golden actions included.

    Args:
        policy: On its base, with the adapter.
        observations: Pictures of one size, large enough for the policy, joints and opening.
        instructions: Of each observation.
        architecture: One of `models.published.FAMILIES`.
        base: Name of the folder that was taken in.
        config: How the weights are used.
        adapter: File of the adapter, or nothing.

    Raises:
        ConfigError: The statistics have no spread in some dimension.
    """
    ids = np.arange(len(observations), dtype=np.int64)
    joints = [[*seen.joints_rad, seen.gripper] for seen in observations]
    golden = GoldenSet(
        images_nhwc=np.stack([seen.image_hwc for seen in observations]),
        instruction_ids=ids,
        actions=np.zeros((len(observations), policy.needs.chunk, ACTION_DIM)),
        proprio=np.array(joints),
    )
    golden = dataclasses.replace(golden, actions=act_on(policy, golden, instructions))
    return BundleContents(
        version=1,
        architecture=architecture,
        action_space=BRIDGE_ACTIONS,
        policy=adapter or {},
        golden=golden,
        normalization=normalization_of(policy),
        provenance={"instructions": list(instructions)},
        settings={"base": base, "config": to_plain(config)},
    )


def act_on(policy: PublishedPolicy, golden: GoldenSet, instructions: Sequence[str]) -> FloatArray:
    """Return the chunks (N, K, 7) for golden observations, each with its number as the seed."""
    chunks = []
    for index, image in enumerate(golden.images_nhwc):
        joints, gripper = golden.proprio[index, :-1], float(golden.proprio[index, -1])
        views = {name: image for name in policy.needs.cameras if name != COLOR_CAMERA}
        policy.reset(instructions[golden.instruction_ids[index]], index)
        chunks.append(policy.act(Observation(image, joints, gripper, 0, views=views)).actions)
    return np.stack(chunks)


def require_golden(policy: PublishedPolicy, bundle: Bundle) -> None:
    """Raise BundleRejectedError unless the policy gives the release's golden actions."""
    wanted, limit = bundle.golden.actions, GateConfig().golden_tolerance
    actions = act_on(policy, bundle.golden, instructions_of(bundle))
    if actions.shape != wanted.shape:
        raise BundleRejectedError(bundle.label, "golden actions", actions.shape, wanted.shape)
    apart = float(np.abs(actions - wanted).max())
    if not apart <= limit:
        raise BundleRejectedError(
            bundle.label, "golden actions", f"{apart:.2e} apart", f"at most {limit} apart"
        )


def instructions_of(bundle: Bundle) -> list[str]:
    """Return the instructions of the golden observations."""
    stated: Any = bundle.manifest.provenance.get("instructions")
    ids = bundle.golden.instruction_ids
    if not isinstance(stated, list) or ids.ndim != 1 or not (ids >= 0).all():
        raise BundleRejectedError(bundle.label, "instructions", stated, "a list of texts")
    if int(ids.max()) >= len(stated):
        raise BundleRejectedError(bundle.label, "instruction", int(ids.max()), len(stated) - 1)
    return [str(text) for text in stated]


def normalization_of(policy: PublishedPolicy) -> Normalization:
    """Return what -1 and 1 of the network mean, as the bundle's own statistics."""
    scale, ones = policy.statistics, np.ones(ACTION_DIM)
    low, high = scale.unnormalize(-ones), scale.unnormalize(ones)
    if not (low < high).all():
        flat = ", ".join(map(str, np.flatnonzero(~(low < high))))
        raise ConfigError(
            f"statistics '{scale.name}': dimensions {flat} have no spread. Compute them again."
        )
    return Normalization(tuple(map(float, low)), tuple(map(float, high)), scale.name)


def published_probes(loader: PublishedLoader, releases: Path) -> GateProbes:
    """Return what the gate can ask of a release on a base here; no world model knows its tasks."""

    def latency_ms(bundle: Bundle) -> float:
        policy, times = loader.load(bundle, releases), []
        for _ in range(_TIMED):
            watch = Stopwatch()
            act_on(policy, _first(bundle.golden), instructions_of(bundle))
            times.append(watch.seconds() * 1e3)
        return max(times)

    return GateProbes(
        act=lambda bundle: act_on(
            loader.load(bundle, releases), bundle.golden, instructions_of(bundle)
        ),
        latency_ms=latency_ms,
    )


def published_gate(
    loader: PublishedLoader, releases: Path, keyring: Keyring, base: Bundle, candidate: Bundle
) -> Gate:
    """Return the gate for a release on a base: an inference may last as long as its chunk.

    A release that begins a new line, which only an operator may sign, has no parent to be held
    against. Comparisons in a world model are left out: the team here does not know its tasks.
    """
    period_ms, chunk = GateConfig().max_latency_ms, candidate.golden.actions.shape[1]
    probes = published_probes(loader, releases)
    left_out = [name for name, probe in vars(probes).items() if probe is None]
    is_child = candidate.manifest.parent == base.manifest.hash
    return Gate(
        GateConfig(max_latency_ms=period_ms * chunk),
        keyring,
        base=base if is_child else None,
        probes=probes,
        allow_skipped=[*left_out, *(() if is_child else AGAINST_BASE)],
    )


def _first(golden: GoldenSet) -> GoldenSet:
    return GoldenSet(
        images_nhwc=golden.images_nhwc[:1],
        instruction_ids=golden.instruction_ids[:1],
        actions=golden.actions[:1],
        proprio=golden.proprio[:1],
    )
