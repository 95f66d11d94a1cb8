"""A bundle comes back bit for bit, and never half."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest

from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.release.bundle_reader import read_bundle
from robot_agent.release.tensors import summarize
from tests.release.bundles import KEYRING, OPERATOR, contents, golden, make_bundle, weights


def test_a_round_trip_is_exact(tmp_path):
    manifest = make_bundle(tmp_path / "b", 7, "ab" * 32, onnx=b"an onnx graph")
    bundle = read_bundle(tmp_path / "b", KEYRING)
    assert bundle.manifest == manifest
    assert bundle.label == f"v0007-{manifest.hash[:8]}"
    for name, tensor in weights(7).items():
        loaded = bundle.tensors()[name]
        assert loaded.dtype == tensor.dtype
        assert loaded.tobytes() == tensor.tobytes()
    for name in ("images_nhwc", "instruction_ids", "actions", "proprio"):
        assert np.array_equal(getattr(bundle.golden, name), getattr(golden(), name))
    assert bundle.normalization == contents().normalization
    assert (bundle.report, bundle.onnx) == ({"success": 0.5}, b"an onnx graph")
    assert bundle.signed_by == "trainer"


def test_the_role_of_the_signer_is_known(tmp_path):
    make_bundle(tmp_path / "b", key=OPERATOR)
    assert read_bundle(tmp_path / "b", KEYRING).signed_by == "operator"


def test_the_same_contents_give_the_same_files(tmp_path):
    for name in "ab":
        make_bundle(tmp_path / name)
    names = ("policy.safetensors", "golden.safetensors", "normalization.json", "report.json")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_weights_that_are_not_finite_never_become_a_bundle(tmp_path):
    broken = weights() | {"head.bias": np.array([0, np.inf, 0], np.float32)}
    with pytest.raises(BundleRejectedError, match=r"policy\.safetensors head\.bias is not finite"):
        make_bundle(tmp_path / "b", policy=broken)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_never_overwritten(tmp_path):
    make_bundle(tmp_path / "b")
    with pytest.raises(InputError, match="exists, must be new"):
        make_bundle(tmp_path / "b", 2)


def bfloat16_file(values: list[float]) -> bytes:
    data = np.array(values, ml_dtypes.bfloat16).tobytes()
    entry = {"dtype": "BF16", "shape": [len(values)], "data_offsets": [0, len(data)]}
    header = json.dumps({"w": entry}).encode()
    return struct.pack("<Q", len(header)) + header + data


def test_bfloat16_weights_are_read_and_checked_without_a_framework(tmp_path):
    make_bundle(tmp_path / "b", policy=bfloat16_file([1.0, -2.5, 3e38]))
    bundle = read_bundle(tmp_path / "b", KEYRING)
    assert bundle.tensors()["w"].tolist()[:2] == [1.0, -2.5]
    assert not summarize(bfloat16_file([1.0, float("nan")]))["w"].is_finite
