"""OpenVLA against numbers of the original code on the same tiny weights.

Golden values (tests/golden/openvla.safetensors): the public code of openvla/openvla and
moojink/openvla-oft (with its fork of transformers 4.40.1, timm 0.9.16) ran outside this repository
on the weights that `tiny_openvla.drawn_tensors` draws from each tensor's published name, with the
encoders' sizes of `TINY`, on the pictures `picture(1)` and `picture(2)` and the ids of `PROMPTS`.
`causal_*`: predict_action and generate of OpenVLA. `parallel_<chunk>_*`: predict_action of OFT
with the discrete head, `two_views_state` with a second picture and a state of linspace(-0.8, 0.9).
Logits are those of ids 31744 to 31999.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from robot_agent.core.errors import BundleRejectedError, ConfigError, InputError
from robot_agent.models.openvla import OpenVla, OpenVlaConfig
from robot_agent.models.openvla_images import PictureConfig, crop_center, prepare_picture
from robot_agent.models.openvla_statistics import choose_statistics
from robot_agent.models.openvla_tensors import (
    check_tensors,
    load_openvla,
    num_parameters,
    tensor_map,
    to_published,
)
from tests.models.tiny_openvla import (
    MEANS,
    PROMPTS,
    STDS,
    TINY,
    drawn_tensors,
    picture,
    write_folder,
)

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "openvla.safetensors")
XYZ_Q01 = (-0.02872725307941437, -0.04170349963009357, -0.026093858778476715)
RPY_Q01 = (-0.08092105075716972, -0.09288699507713317, -0.20718276381492615)
XYZ_Q99 = (0.028309678435325586, 0.040855254605412394, 0.040161586627364146)
RPY_Q99 = (0.08192047759890528, 0.07792850524187081, 0.20382574498653397)
BRIDGE = {
    "action": {
        "q01": [*XYZ_Q01, *RPY_Q01, 0.0],
        "q99": [*XYZ_Q99, *RPY_Q99, 1.0],
        "mask": [*[True] * 6, False],
    }
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("openvla"), has_proprio=True)


@pytest.fixture(scope="module")
def network(folder):
    return load_openvla(folder, TINY, dtype=torch.float32)


@pytest.fixture(scope="module")
def context(network):
    with torch.no_grad():
        return network.context(GOLDEN["pixels"][:1])


def greedy(logits):
    return logits.argmax(dim=-1)


def test_published_sizes_hold_the_published_number_of_parameters():
    # openvla-7b's index states 15 082 474 368 bytes of bfloat16.
    assert num_parameters(tensor_map(OpenVlaConfig())) * 2 == 15_082_474_368


def test_every_weight_of_the_published_size_has_a_published_tensor():
    with torch.device("meta"):
        own = OpenVla(OpenVlaConfig()).state_dict()
    places = tensor_map(OpenVlaConfig())
    assert set(own) - {name for place in places.values() for name in place.names} == {
        "vision.dino.embeddings.mask_token"  # training only; timm's encoder has none
    }
    ours = sum(tensor.numel() for tensor in own.values())
    assert ours - num_parameters(places) == 2 * 1024  # that token, and a row for the class


@pytest.mark.parametrize("seed", [1, 2])
def test_pictures_are_prepared_as_by_the_original(seed):
    config = PictureConfig(size_px=28, means=(MEANS, (0.5,) * 3), stds=(STDS, (0.5,) * 3))
    ours = prepare_picture(picture(seed), config)
    torch.testing.assert_close(ours, GOLDEN["pixels"][seed - 1], atol=1e-6, rtol=0)


def test_patches_equal_the_original(network):
    with torch.no_grad():
        patches = network.vision(GOLDEN["pixels"][:1])
    torch.testing.assert_close(patches, GOLDEN["patches"], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(PROMPTS))
@torch.no_grad()
def test_decoding_one_by_one_equals_the_original(network, context, name):
    bins, logits = network.decode(context, [PROMPTS[name]], greedy)
    assert (31999 - bins[0, 0]).tolist() == GOLDEN[f"causal_tokens_{name}"].tolist()
    wanted = GOLDEN[f"causal_logits_{name}"].flip(-1)
    torch.testing.assert_close(logits[0, 0], wanted, atol=2e-5, rtol=0)
    again = network.causal_logits(context, [PROMPTS[name]], bins[:, 0])
    torch.testing.assert_close(again[0, 0], wanted, atol=2e-5, rtol=0)
    unit = network.bin_centers().numpy()[bins[0, 0].numpy()]
    action = choose_statistics({"bridge_orig": BRIDGE}, "bridge_orig").unnormalize(unit)
    golden = GOLDEN[f"causal_action_{name}"].numpy()
    np.testing.assert_allclose(action[:6], golden[:6], atol=1e-12)
    assert action[6] == pytest.approx(np.clip(golden[6], 0, 1))


@pytest.mark.parametrize("name", sorted(PROMPTS))
@torch.no_grad()
def test_parallel_decoding_equals_the_original(network, context, name):
    logits = network.parallel_logits(context, [PROMPTS[name]], 5)
    wanted = GOLDEN[f"parallel_5_{name}_logits"].flip(-1)
    torch.testing.assert_close(logits[0].flatten(0, 1), wanted, atol=2e-5, rtol=0)
    unit = network.bin_centers().numpy()[greedy(logits)[0].numpy()]
    actions = choose_statistics({"bridge_orig": BRIDGE}, "bridge_orig").unnormalize(unit)
    golden = GOLDEN[f"parallel_5_{name}_action"].numpy()
    np.testing.assert_allclose(actions[:, :6], golden[:, :6], atol=2e-8)


@torch.no_grad()
def test_chunk_of_eight_equals_the_original(network, context):
    logits = network.parallel_logits(context, [PROMPTS["short"]], 8)
    wanted = GOLDEN["parallel_8_short_logits"].flip(-1)
    torch.testing.assert_close(logits[0].flatten(0, 1), wanted, atol=2e-5, rtol=0)


@torch.no_grad()
def test_second_picture_and_state_equal_the_original(folder):
    network = load_openvla(folder, TINY, dtype=torch.float32, has_proprio=True)
    pixels = GOLDEN["pixels"].flatten(0, 1)[None]
    context = network.context(pixels, torch.linspace(-0.8, 0.9, 7)[None])
    logits = network.parallel_logits(context, [PROMPTS["long"]], 5)
    wanted = GOLDEN["parallel_5_two_views_state_logits"].flip(-1)
    torch.testing.assert_close(logits[0].flatten(0, 1), wanted, atol=2e-5, rtol=0)
    with pytest.raises(InputError, match="a state"):
        network.context(pixels)


@torch.no_grad()
def test_prompts_of_different_length_share_a_batch_without_touching_each_other(network, context):
    logits = network.parallel_logits(context.expand(2, -1, -1), list(PROMPTS.values()), 5)
    for row, name in enumerate(PROMPTS):
        wanted = GOLDEN[f"parallel_5_{name}_logits"].flip(-1)
        torch.testing.assert_close(logits[row].flatten(0, 1), wanted, atol=2e-5, rtol=0)
    with pytest.raises(InputError, match="equally long"):
        network.decode(context.expand(2, -1, -1), list(PROMPTS.values()), greedy)


@torch.no_grad()
def test_first_action_slot_sees_the_last_one(network, context):
    # Bidirectional: a longer chunk changes even the first token's logits. A causal mask would not.
    short = network.parallel_logits(context, [PROMPTS["short"]], 5)[0, 0, 0]
    longer = network.parallel_logits(context, [PROMPTS["short"]], 8)[0, 0, 0]
    assert (short - longer).abs().max() > 1e-3


def test_names_map_there_and_back(network):
    published = to_published(network)
    drawn = drawn_tensors(tensor_map(TINY))
    assert published.keys() == drawn.keys()
    for name, tensor in drawn.items():
        assert torch.equal(published[name], tensor), name


def test_all_tensors_that_do_not_fit_are_listed():
    shapes = {name: place.shape for name, place in tensor_map(TINY).items()}
    del shapes["projector.fc2.bias"], shapes["language_model.lm_head.weight"]
    shapes["vision_backbone.featurizer.pos_embed"] = (1, 9, 32)
    shapes["projector.fc1.weight"] = (3, 3)
    shapes["foreign.one"] = shapes["foreign.two"] = (1,)
    with pytest.raises(BundleRejectedError) as refused:
        check_tensors(shapes, tensor_map(TINY), "folder")
    for part in (
        "missing: language_model.lm_head.weight, projector.fc2.bias;",
        "extra: foreign.one, foreign.two;",
        "vision_backbone.featurizer.pos_embed [1, 9, 32] instead of [1, 4, 32]",
        "projector.fc1.weight [3, 3] instead of [320, 80]",
    ):
        assert part in str(refused.value)


def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path):
    tensors = drawn_tensors(tensor_map(TINY))
    for name in ("projector.fc2.bias", "vision_backbone.featurizer.norm.weight"):
        tensors[name][0] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(BundleRejectedError, match=r"norm\.weight.*projector\.fc2|projector\.fc2"):
        load_openvla(tmp_path, TINY)


def test_pickled_weights_are_never_opened(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match=r"only pytorch_model\.bin"):
        load_openvla(tmp_path, TINY)


@torch.no_grad()
def test_bfloat16_is_near_float32(folder, network, context):
    small = load_openvla(folder, TINY)
    assert small.dtype is torch.bfloat16
    logits = small.parallel_logits(small.context(GOLDEN["pixels"][:1]), [PROMPTS["short"]], 5)
    exact = network.parallel_logits(context, [PROMPTS["short"]], 5)
    apart = (logits.softmax(-1) - exact.softmax(-1)).abs().sum(-1) / 2
    assert apart.mean() < 0.1


def test_centre_crop_is_tensorflows_crop_and_resize():
    # Reference: the rule of tf.image.crop_and_resize, sample by sample, in float64.
    image = picture(3)[:, :40]
    size, side = 28, 0.9**0.5
    low = (1 - side) / 2
    wanted = np.zeros((size, size, 3))
    for i in range(size):
        for j in range(size):
            y, x = (low * (40 - 1) + n * side * (40 - 1) / (size - 1) for n in (i, j))
            top, left = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - top, x - left
            corner = image[top : top + 2, left : left + 2].astype(float) / 255
            rows = corner[0] * (1 - fy) + corner[1] * fy
            wanted[i, j] = rows[0] * (1 - fx) + rows[1] * fx
    cropped = crop_center(image, size)
    assert np.abs(cropped - np.floor(wanted * 255.5)).max() <= 1
    assert (cropped == np.floor(wanted * 255.5)).mean() > 0.99


@pytest.mark.parametrize(
    "image", [np.zeros((3, 40, 52), np.uint8), np.zeros((40, 52, 3)), np.zeros((40, 52), np.uint8)]
)
def test_picture_of_another_order_or_type_is_refused(image):
    with pytest.raises(InputError, match="must be uint8"):
        prepare_picture(image, PictureConfig(size_px=28))


def test_unknown_key_lists_the_valid_ones():
    known = {"bridge_orig": BRIDGE, "fractal20220817_data": BRIDGE}
    with pytest.raises(ConfigError, match="bridge_orig, fractal20220817_data"):
        choose_statistics(known, "bridge")


def test_statistics_of_another_robot_are_refused_with_each_reason():
    far = {"action": {"q01": [-0.3] * 6 + [-1.0], "q99": [0.2] * 6 + [1.0], "mask": [True] * 7}}
    with pytest.raises(ConfigError) as refused:
        choose_statistics({"libero_spatial": far}, "libero_spatial")
    for part in ("begins with none of bridge", "dimension 0 reaches 0.3, limit 0.05", "gripper"):
        assert part in str(refused.value)
    with pytest.raises(ConfigError, match=r"\[14\] numbers, must be 7"):
        two_arms = {"action": {"q01": [0.0] * 14, "q99": [0.01] * 14}}
        choose_statistics({"bridge_aloha": two_arms}, "bridge_aloha")
