"""The backend is chosen by what this machine measures, and only if it gives the same actions."""

import logging

import numpy as np
import pytest

from robot_agent.core.errors import BundleRejectedError
from robot_agent.models import backends
from robot_agent.models.backends import choose_backend
from robot_agent.models.onnx_policy import OnnxLogits, export_policy
from tests.models.test_onnx_policy import small_policy


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(images):
    return export_policy(small_policy(1), images, [0, 1, 0])[0]


def test_weights_without_an_export_run_in_torch(images):
    network = small_policy(1)
    chosen = choose_backend(network, None, images, [0, 1, 0], name="v1")
    assert (chosen.name, chosen.logits, dict(chosen.p50_ms)) == ("torch", network, {})


@pytest.mark.parametrize(("faster", "kind"), [("torch", "TinyPolicy"), ("onnx", "OnnxLogits")])
def test_the_faster_one_is_chosen_and_the_choice_is_logged(
    images, exported, monkeypatch, caplog, faster, kind
):
    times = {"torch": [5.0, 6.0, 90.0], "onnx": [5.0, 6.0, 90.0], faster: [1.0, 2.0, 99.0]}
    monkeypatch.setattr(backends, "_times_ms", lambda *_: times)
    with caplog.at_level(logging.INFO):
        chosen = choose_backend(small_policy(1), exported, images, [0, 1, 0], name="v1")
    assert (chosen.name, type(chosen.logits).__name__) == (faster, kind)
    assert chosen.p50_ms[faster] == 2.0
    assert f"v1: runs with {faster}" in caplog.text
    assert "torch" in caplog.text and "onnx" in caplog.text and "ms" in caplog.text


def test_both_are_really_measured(images, exported):
    chosen = choose_backend(small_policy(1), exported, images, [0, 1, 0], name="v1")
    assert set(chosen.p50_ms) == {"torch", "onnx"}
    assert all(0.0 < ms < 1000.0 for ms in chosen.p50_ms.values())
    assert chosen.p50_ms[chosen.name] == min(chosen.p50_ms.values())


def test_export_of_other_weights_is_refused_at_load(images, exported):
    with pytest.raises(BundleRejectedError, match=r"policy\.onnx"):
        choose_backend(small_policy(2), exported, images, [0, 1, 0], name="v1")


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"tolerance": [0.0] * 7, "max_variation": 0.0}, "limit 0"),
        ({"tolerance": [1.0] * 7}, "outside"),
        ({"tolerances": []}, "unknown key 'tolerances'"),
    ],
)
def test_an_export_is_held_to_the_limits_that_its_release_states(images, exported, limits, told):
    chosen = choose_backend(small_policy(1), exported, images, [0, 1, 0], name="v1")
    assert set(chosen.p50_ms) == {"torch", "onnx"}  # the same export passes the usual limits
    with pytest.raises(BundleRejectedError, match=told):
        choose_backend(small_policy(1), exported, images, [0, 1, 0], name="v1", limits=limits)


def test_export_that_is_no_model_is_refused_at_load(images):
    with pytest.raises(BundleRejectedError, match="no ONNX model"):
        choose_backend(small_policy(1), b"not a model", images, [0, 1, 0], name="v1")


def test_onnx_is_read_from_the_bytes_of_the_bundle(exported):
    assert OnnxLogits(exported).bins == 16
