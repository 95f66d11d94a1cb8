"""The exported policy is the policy: equal numbers, equal chunks, or no file."""

import numpy as np
import onnx
import pytest
import torch

from robot_agent.core.errors import InputError
from robot_agent.core.types import Observation
from robot_agent.core.wx250s import NEUTRAL_RAD
from robot_agent.models.onnx_policy import (
    LIMITS,
    OnnxCheck,
    OnnxCheckConfig,
    OnnxLogits,
    compare_policies,
    export_policy,
)
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_vla import TinyVla

TASKS = ("open the drawer", "close the drawer")


def small_policy(seed: int) -> TinyPolicy:
    torch.manual_seed(seed)
    policy = TinyPolicy(TinyPolicyConfig(bins=16, channels=(8, 16, 16), hidden=64))
    with torch.no_grad():
        policy.tokens.weight.mul_(8.0)  # opinions, so that a difference shows
    return policy.eval()


@pytest.fixture(scope="module")
def policy() -> TinyPolicy:
    return small_policy(1)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(policy, images) -> bytes:
    return export_policy(policy, images, [0, 1, 0])[0]


def test_fp32_equals_torch_for_any_number_of_pictures(policy, images, exported):
    backend = OnnxLogits(exported)
    for count in (1, 2, 3):
        ids = torch.arange(count) % 2
        with torch.no_grad():
            ours = policy(to_unit(images[:count]), ids)
        theirs = backend(to_unit(images[:count]), ids)
        assert theirs.shape == (count, 5, 7, 16)
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_instruction_reaches_the_exported_network(images, exported):
    backend, image = OnnxLogits(exported), to_unit(images[:1])
    opened, closed = (backend(image, torch.tensor([i])) for i in (0, 1))
    assert (opened - closed).abs().max() > 1e-3


def test_a_policy_draws_the_same_chunk_on_either_backend(policy, images, exported):
    chunks = []
    for network in (policy, OnnxLogits(exported)):
        vla = TinyVla(network, TASKS, version="v1")
        vla.reset("close the drawer", seed=5)
        observation = Observation(
            image_hwc=images[0], joints_rad=np.array(NEUTRAL_RAD), gripper=1.0, stamp_ns=0
        )
        chunks.append(np.concatenate([vla.act(observation).actions for _ in range(4)]))
    assert np.array_equal(*chunks)


def test_int8_is_smaller_and_stays_inside_its_limits(policy, images, exported):
    model, check = export_policy(policy, images, [0, 1, 0], precision="int8")
    assert len(model) < len(exported)
    assert max(check.expected[:3]) <= 2e-3
    assert 0.0 < check.variation <= LIMITS["int8"].max_variation


def test_an_export_that_disagrees_is_refused_with_value_limit_and_remedy(policy, images):
    strict = OnnxCheckConfig(max_variation=0.0, tolerance=(0.0,) * 7)
    with pytest.raises(InputError, match=r"dimension 0 differs .* limit 0\. .*--precision fp32"):
        export_policy(policy, images, [0, 1, 0], precision="int8", config=strict)


def test_weights_of_another_policy_are_seen(images, exported):
    check = compare_policies(small_policy(2), OnnxLogits(exported), images, [0, 1, 0])
    for limits in LIMITS.values():
        with pytest.raises(InputError):
            check.require(limits, "policy.onnx")


@pytest.mark.parametrize(
    "check",
    [
        OnnxCheck(expected=(float("nan"), *[0.0] * 6), variation=0.0, tokens_equal=1.0),
        OnnxCheck(expected=(0.0,) * 7, variation=float("nan"), tokens_equal=1.0),
        OnnxCheck(expected=(*[0.0] * 6, 0.051), variation=0.0, tokens_equal=1.0),
    ],
)
def test_what_is_no_number_or_past_its_edge_is_refused(check):
    with pytest.raises(InputError, match="differs from torch"):
        check.require(LIMITS["int8"], "policy.onnx")


def test_what_is_at_its_edge_passes():
    limits = LIMITS["int8"]
    edge = OnnxCheck(expected=limits.tolerance, variation=limits.max_variation, tokens_equal=0.0)
    edge.require(limits, "policy.onnx")


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_file_cut_short_is_refused(exported, size):
    with pytest.raises(InputError, match="no ONNX model"):
        OnnxLogits(exported[:size])


def test_a_model_of_something_else_is_refused():
    kind = onnx.TensorProto.FLOAT
    value = [onnx.helper.make_tensor_value_info(n, kind, [1, 3]) for n in ("image", "logits")]
    node = onnx.helper.make_node("Identity", ["image"], ["logits"])
    graph = onnx.helper.make_graph([node], "other", [value[0]], [value[1]])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 10
    with pytest.raises(InputError, match="must be the tiny policy's"):
        OnnxLogits(model.SerializeToString())
