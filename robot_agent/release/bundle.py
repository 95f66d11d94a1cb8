"""A bundle: weights with all they need, one signed manifest, read whole and checked first."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.clock import wall_stamp
from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.core.types import ACTION_DIM, FloatArray, ImageArray, require_array
from robot_agent.release.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    NORMALIZATION_NAME,
    ONNX_NAME,
    POLICY_NAME,
    REPORT_NAME,
    SETTINGS_NAME,
    SIGNATURE_NAME,
    FileRecord,
    Manifest,
)
from robot_agent.release.signing import SigningKey
from robot_agent.release.tensors import (
    Tensors,
    TensorSummary,
    first_not_finite,
    load_tensors,
    summarize,
)
from robot_agent.store.durable import (
    make_folder,
    publish_folder,
    storage_errors,
    write_durably,
)
from robot_agent.store.strict_json import canonical_json


@dataclass(frozen=True, eq=False)
class GoldenSet:
    """Observations and the actions that the weights must give for them."""

    images_nhwc: ImageArray
    """(N, H, W, 3) uint8, as the policy sees them."""
    instruction_ids: NDArray[np.int64]
    """Token or vocabulary ids (N, L) or (N,)."""
    actions: FloatArray
    """Bridge actions (N, K, 7)."""
    proprio: FloatArray
    """Joints and opening (N, P); P may be 0."""

    def __post_init__(self) -> None:
        """Check that all parts speak of the same N observations."""
        count = len(self.images_nhwc)
        require_array("golden.images", self.images_nhwc, (None, None, None, 3), np.uint8)
        require_array("golden.actions", self.actions, (count, None, ACTION_DIM))
        require_array("golden.proprio", self.proprio, (count, None))
        if len(self.instruction_ids) != count or not count:
            raise InputError(
                f"golden set: {len(self.instruction_ids)} instructions for {count} pictures, "
                f"must be equal and at least 1. Export it again."
            )

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Return the tensors of `golden.safetensors`."""
        return {
            "images": np.ascontiguousarray(self.images_nhwc),
            "instruction_ids": np.ascontiguousarray(self.instruction_ids, np.int64),
            "actions": np.ascontiguousarray(self.actions, np.float64),
            "proprio": np.ascontiguousarray(self.proprio, np.float64),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class BundleContents:
    """What a learner hands over to become a bundle."""

    version: int
    architecture: str
    action_space: str
    policy: bytes | Tensors
    """Tensors, or the bytes of a safetensors file (for types that numpy lacks)."""
    golden: GoldenSet
    normalization: Normalization = field(default_factory=Normalization)
    parent: str = ""
    """Hash of the parent's manifest; empty for a first release."""
    report: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    onnx: bytes | None = None
    settings: Mapping[str, Any] | None = None
    """How weights on a base are used, and which base: see `learn.published`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Bundle:
    """A bundle that passed every check; its bytes are those that were hashed."""

    manifest: Manifest
    policy_bytes: bytes
    """`policy.safetensors`, for a framework's own loader."""
    golden: GoldenSet
    normalization: Normalization
    report: Mapping[str, Any]
    onnx: bytes | None
    settings: Mapping[str, Any] | None = None
    """`policy.json`; None where the weights are whole in the bundle."""
    summaries: Mapping[str, TensorSummary]
    """Shape, type and norm of every tensor of the policy."""
    signed_by: str
    """Role of the key that signed: trainer or operator."""

    @property
    def label(self) -> str:
        """Short name, which is also the version stamped on every action."""
        return self.manifest.label

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the policy's tensors; BF16 as float32."""
        return load_tensors(self.policy_bytes)


def write_bundle(folder: Path, contents: BundleContents, key: SigningKey) -> Manifest:
    """Write a signed bundle that appears under `folder` by one atomic rename; return its manifest.

    Raises:
        BundleRejectedError: A tensor is not finite: such weights never become a file.
        InputError: `folder` exists.
        StorageError: The disk refused; nothing became visible.
    """
    with storage_errors("writing a bundle", folder):
        exists = folder.exists()
    if exists:
        raise InputError(f"{folder}: exists, must be new. Choose another folder.")
    files = _encode(contents, folder.name)
    manifest = Manifest(
        version=contents.version,
        parent=contents.parent,
        architecture=contents.architecture,
        action_space=contents.action_space,
        normalization=contents.normalization.name,
        key_id=key.key_id,
        created=wall_stamp(),
        provenance=contents.provenance,
        files={
            name: FileRecord(hashlib.sha256(content).hexdigest(), len(content))
            for name, content in files.items()
        },
    )
    signed = manifest.to_bytes()
    files |= {MANIFEST_NAME: signed, SIGNATURE_NAME: key.sign(signed)}
    publish_files(folder, files)
    return manifest


def publish_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder of files visible by one atomic rename; StorageError leaves nothing behind."""
    staging = folder.with_name(f".tmp-{folder.name}")
    with storage_errors("writing a bundle", folder):
        make_folder(folder.parent)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            for name, content in files.items():
                write_durably(staging / name, content)
            publish_folder(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _encode(contents: BundleContents, bundle: str) -> dict[str, bytes]:
    policy = contents.policy
    if not isinstance(policy, bytes):
        policy = save_tensors({name: np.ascontiguousarray(t) for name, t in policy.items()})
    broken = first_not_finite(summarize(policy))
    if broken is not None:
        raise BundleRejectedError(bundle, f"{POLICY_NAME} {broken}", "not finite", "finite")
    normalization = contents.normalization
    files = {
        POLICY_NAME: policy,
        GOLDEN_NAME: save_tensors(contents.golden.to_tensors()),
        NORMALIZATION_NAME: canonical_json(
            {
                "name": normalization.name,
                "q01": [float(q) for q in normalization.q01],
                "q99": [float(q) for q in normalization.q99],
            }
        ),
        REPORT_NAME: canonical_json(contents.report),
    }
    if contents.onnx is not None:
        files[ONNX_NAME] = contents.onnx
    if contents.settings is not None:
        files[SETTINGS_NAME] = canonical_json(contents.settings)
    return files
