"""Small signed bundles for the tests of releases."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from robot_agent.release.bundle import BundleContents, GoldenSet, write_bundle
from robot_agent.release.manifest import Manifest
from robot_agent.release.signing import SigningKey, trusted

TRAINER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OPERATOR = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
STRANGER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))
KEYRING = trusted((TRAINER, "trainer"), (OPERATOR, "operator"))


def golden(count: int = 2) -> GoldenSet:
    rng = np.random.default_rng(5)
    return GoldenSet(
        images_nhwc=rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8),
        instruction_ids=np.arange(count, dtype=np.int64),
        actions=rng.normal(size=(count, 1, 7)),
        proprio=np.zeros((count, 0)),
    )


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "head.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "head.bias": np.zeros(3, np.float32),
        "scale": rng.normal(size=2).astype(np.float16),
    }


def contents(version: int = 1, parent: str = "", **changes: Any) -> BundleContents:
    made = BundleContents(
        version=version,
        parent=parent,
        architecture="tiny-1",
        action_space="bridge_delta_7d",
        policy=weights(version),
        golden=golden(),
        report={"success": 0.5},
        provenance={"seed": 1},
    )
    return dataclasses.replace(made, **changes)


def make_bundle(
    folder: Path,
    version: int = 1,
    parent: str = "",
    key: SigningKey = TRAINER,
    **changes: Any,
) -> Manifest:
    return write_bundle(folder, contents(version, parent, **changes), key)


def resign(folder: Path, manifest: Manifest, key: SigningKey = TRAINER) -> None:
    """Sign a changed manifest as a key holder would."""
    signed = manifest.to_bytes()
    (folder / "manifest.json").write_bytes(signed)
    (folder / "manifest.sig").write_bytes(key.sign(signed))
