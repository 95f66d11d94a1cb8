"""A release of the same weights with their export in it: signed, gated and swapped like any."""

from collections.abc import Mapping
from typing import Any

from robot_agent.release.bundle import Bundle, BundleContents


def with_export(
    bundle: Bundle, exported: bytes, *, version: int, check: Mapping[str, Any]
) -> BundleContents:
    """Return the contents of a bundle with `policy.onnx` beside the unchanged weights.

    Args:
        bundle: Verified weights; the parent of the new release.
        exported: The model, already held against the weights.
        version: Of the new release, above every published one.
        check: How far the export is from the weights, kept in the report.
    """
    return BundleContents(
        version=version,
        architecture=bundle.manifest.architecture,
        action_space=bundle.manifest.action_space,
        policy=bundle.policy_bytes,
        golden=bundle.golden,
        normalization=bundle.normalization,
        parent=bundle.manifest.hash,
        report={**bundle.report, "export": dict(check)},
        provenance={**bundle.manifest.provenance, "exported_from": bundle.label},
        onnx=exported,
        settings=bundle.settings,
    )
