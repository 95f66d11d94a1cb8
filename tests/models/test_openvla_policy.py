"""OpenVLA as a policy: a published folder, chunks with exact log-probabilities, adapters."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from robot_agent.core.errors import BundleRejectedError, ConfigError, InputError
from robot_agent.core.policy_needs import RobotOffer, differences
from robot_agent.core.types import Observation
from robot_agent.models.openvla_folder import OpenVlaFolderConfig, load_openvla_policy
from robot_agent.models.openvla_images import PictureConfig
from robot_agent.models.openvla_lora import (
    AdapterConfig,
    add_adapter,
    load_adapter,
    merge_adapter,
    num_trainable,
    save_adapter,
)
from robot_agent.models.openvla_policy import (
    OpenVlaPolicyConfig,
    chunk_log_probs,
    prompt_ids,
)
from robot_agent.models.openvla_tensors import load_openvla
from tests.models.test_openvla import BRIDGE
from tests.models.tiny_openvla import MEANS, PROMPTS, STDS, TINY, picture, write_folder

PROMPT_IDS = [1, 0, 0, 0, 3, 4, 8, 0, 0, 0, 5, 8, 7, 0, 0, 0, 29871]
"""Of "open the drawer", as the tiny tokenizer below spells the prompt."""
STATE = {"q01": [0.1, -0.2, 0.0, -1, -1, -1, 0], "q99": [0.5, 0.2, 0.4, 1, 1, 1, 1]}


def write_published(folder, **changes):
    write_folder(folder, has_proprio=True)
    words = ["<unk>", "<s>", "what", "action", "should", "open", "close", "drawer", "the"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "vision_backbone_id": "dinosiglip-vit-so-224px",
        "llm_backbone_id": "llama2-7b-pure",
        "arch_specifier": "no-align+fused-gelu-mlp",
        "image_resize_strategy": "resize-naive",
        "n_action_bins": 256,
        "text_config": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 32064},
        "norm_stats": {"bridge_orig": {**BRIDGE, "proprio": STATE}},
        "auto_map": {"AutoModelForVision2Seq": "modeling_prismatic.OpenVLAForActionPrediction"},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"means": [MEANS, [0.5] * 3], "stds": [STDS, [0.5] * 3]})
    )
    # Would end the test run if anything imported or ran it.
    (folder / "modeling_prismatic.py").write_text("raise SystemExit('remote code ran')\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("published"))


def load(folder, *, uses_state=False, **used):
    config = OpenVlaFolderConfig(
        uses_state=uses_state, is_bfloat16=False, policy=OpenVlaPolicyConfig(**used)
    )
    return load_openvla_policy(folder, config, version="openvla", sizes=TINY)


@pytest.fixture(scope="module")
def parallel(folder):
    return load(folder, temperature=1.6)


def observation(seed=1, **views):
    return Observation(picture(seed), np.full(6, 0.1), 0.4, 7, views=views)


def test_a_published_folder_acts_and_its_code_never_runs(parallel):
    parallel.reset("Open the drawer", 3)
    chunk = parallel.act(observation())
    assert chunk.actions.shape == (5, 7)
    assert np.isfinite(chunk.actions).all()
    assert (chunk.weights_version, chunk.observation_stamp_ns) == ("openvla", 7)
    low, high = BRIDGE["action"]["q01"], BRIDGE["action"]["q99"]
    assert (chunk.actions >= np.array(low) - 1e-9).all()
    assert (chunk.actions <= np.array(high) + 1e-9).all()


def test_the_same_seed_draws_the_same_chunk_and_another_seed_another(parallel):
    drawn = []
    for seed in (3, 3, 4):
        parallel.reset("open the drawer", seed)
        drawn.append(parallel.act(observation()).actions)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_log_probabilities_of_a_chunk_are_those_of_the_drawn_tokens(parallel, folder):
    parallel.reset("open the drawer", 5)
    sampled = parallel.sample(observation())
    network = load_openvla(folder, TINY, dtype=torch.float32)
    pixels, _ = parallel.prepare(observation())
    context = network.context(pixels)
    prompt = PROMPT_IDS
    logits = network.parallel_logits(context, [prompt], 5)[0].detach()
    # Written out: log of exp(l / T) over the sum, for each of the 35 tokens.
    scaled = logits.double() / 1.6
    for k in range(5):
        for a in range(7):
            row = scaled[k, a]
            wanted = row[sampled.bins_KA[k, a]] - row.exp().sum().log()
            assert sampled.log_probs_KA[k, a] == pytest.approx(float(wanted), abs=1e-4)
    again = chunk_log_probs(network, context, [prompt], sampled.bins_KA[None], 1.6)
    torch.testing.assert_close(again[0], sampled.log_probs_KA, atol=1e-4, rtol=0)
    again.sum().backward()
    assert network.language.lm_head.weight.grad.abs().sum() > 0


def test_drawn_tokens_follow_their_probabilities(parallel, folder):
    parallel.reset("open the drawer", 0)
    count = 80
    drawn = [float(parallel.sample(observation()).log_probs_KA.sum()) for _ in range(count)]
    network = load_openvla(folder, TINY, dtype=torch.float32)
    with torch.no_grad():
        context = network.context(parallel.prepare(observation())[0])
        p = (network.parallel_logits(context, [PROMPT_IDS], 5) / 1.6).softmax(-1).double()
    # Samples of a distribution have minus its entropy as mean log-probability.
    assert np.mean(drawn) == pytest.approx(
        float((p * p.log()).sum()), abs=4 * np.std(drawn) / np.sqrt(count)
    )


def test_openvla_draws_one_action_token_by_token(folder):
    policy = load(folder, decoding="autoregressive", chunk=1, temperature=1.0)
    policy.reset("close the drawer", 1)
    sampled = policy.sample(observation())
    assert sampled.chunk.actions.shape == (1, 7)
    assert sampled.log_probs_KA.shape == (1, 7)
    assert (sampled.log_probs_KA < 0).all()
    with pytest.raises(ValueError, match="chunk=5 must be 1"):
        OpenVlaPolicyConfig(decoding="autoregressive", chunk=5)


def test_log_probabilities_of_tokens_drawn_one_by_one_are_those_of_a_slow_loop(folder):
    policy = load(folder, decoding="autoregressive", chunk=1, temperature=1.3)
    policy.reset("open the drawer", 4)
    sampled = policy.sample(observation())
    network = load_openvla(folder, TINY, dtype=torch.float32)
    ids = list(PROMPT_IDS)
    with torch.no_grad():
        context = network.context(policy.prepare(observation())[0])
        for a in range(7):
            # Written out, without a cache: the whole sequence again for every token.
            embedded = network.language.model.embed_tokens(torch.tensor([ids]))
            whole = torch.cat([embedded[:, :1], context, embedded[:, 1:]], dim=1)
            logits = network.language(inputs_embeds=whole).logits[0, -1, network.action_ids()]
            scaled, drawn = logits.double() / 1.3, int(sampled.bins_KA[0, a])
            wanted = scaled[drawn] - scaled.exp().sum().log()
            assert sampled.log_probs_KA[0, a] == pytest.approx(float(wanted), abs=1e-4)
            ids.append(int(network.action_ids()[drawn]))


def test_state_and_second_picture_change_the_actions_and_are_named_when_missing(folder):
    policy = load(folder, uses_state=True, second_camera="wrist")
    needs = policy.needs
    assert (needs.cameras, needs.state) == (("color", "wrist"), "bridge_state")
    assert any("'wrist'" in line for line in differences(needs, RobotOffer()))
    policy.reset("open the drawer", 0)
    one = policy.act(observation(wrist=picture(2)))
    other = policy.act(observation(wrist=255 - picture(1)))
    assert not np.array_equal(one.actions, other.actions)
    with pytest.raises(InputError, match="no picture of camera 'wrist', only of: color"):
        policy.act(observation())


def test_centre_crop_changes_what_is_seen(folder):
    pictures = [
        load(folder, picture=PictureConfig(center_crop=crop)).prepare(observation())[0]
        for crop in (False, True)
    ]
    assert (pictures[0] - pictures[1]).abs().max() > 0.1


def test_empty_instruction_is_refused_before_anything_moves(parallel):
    with pytest.raises(InputError, match="instruction is empty"):
        parallel.reset("  \n", 0)


def test_acting_without_an_instruction_is_refused(folder):
    with pytest.raises(InputError, match="no instruction yet"):
        load(folder).act(observation())


def test_picture_below_the_networks_size_is_refused(parallel):
    parallel.reset("open the drawer", 0)
    small = Observation(picture(1)[:20], np.zeros(6), 0.0, 0)
    with pytest.raises(InputError, match="must be 28 or more"):
        parallel.act(small)


def test_output_that_is_no_number_is_refused(folder):
    policy = load(folder, temperature=1.0)
    policy.reset("open the drawer", 0)
    with torch.no_grad():
        policy._network.projector.fc3.bias[0] = float("inf")
    with pytest.raises(InputError, match="not finite"):
        policy.act(observation())


def test_prompt_ends_with_the_empty_token_once():
    assert prompt_ids(lambda text: [1, 5], "Go")[-2:] == [5, 29871]
    assert prompt_ids(lambda text: [1, 5, 29871], "Go") == [1, 5, 29871]
    asked = []
    prompt_ids(lambda text: asked.append(text) or [1], "  Open  THE drawer ")
    assert asked == ["In: What action should the robot take to open the drawer?\nOut:"]
    with pytest.raises(InputError, match="must be \\[1\\]"):
        prompt_ids(lambda text: [101, 5], "go")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"llm_backbone_id": "vicuna-v15-7b"}, "llm_backbone_id is 'vicuna-v15-7b'"),
        ({"n_action_bins": 128}, "n_action_bins is 128, must be 256"),
        ({"norm_stats": {}}, "holds no statistics"),
    ],
)
def test_folder_of_another_variant_is_refused(tmp_path, changes, told):
    write_published(tmp_path / "other", **changes)
    with pytest.raises(ConfigError, match=told):
        load(tmp_path / "other")


def test_missing_tokenizer_names_the_remedy(tmp_path):
    folder = write_published(tmp_path / "half")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"Copy tokenizer\.json"):
        load(folder)


# --- adapters --------------------------------------------------------------------------------


def trained_adapter(folder, config):
    """Return a network whose adapter is not zero, the hash of its base, and its logits."""
    network = load_openvla(folder, TINY, dtype=torch.float32)
    base = add_adapter(network, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.05)
    return network, base


@torch.no_grad()
def logits_of(network, parallel):
    context = network.context(parallel.prepare(observation())[0])
    return network.parallel_logits(context, [PROMPTS["short"]], 5)


def test_merged_and_unmerged_adapters_agree_and_differ_from_the_base(folder, parallel):
    network, _ = trained_adapter(folder, AdapterConfig(rank=4, alpha=8))
    unmerged = logits_of(network, parallel)
    merge_adapter(network)
    merged = logits_of(network, parallel)
    plain = logits_of(load_openvla(folder, TINY, dtype=torch.float32), parallel)
    torch.testing.assert_close(merged, unmerged, atol=2e-4, rtol=1e-4)
    assert (plain - merged).abs().max() > 0.05


def test_only_the_adapter_trains(folder):
    network, _ = trained_adapter(folder, AdapterConfig(rank=4))
    names = [name for name, weight in network.named_parameters() if weight.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    assert not any("lm_head" in name for name in names)
    assert num_trainable(network) < 0.05 * sum(p.numel() for p in network.parameters())


def test_adapter_comes_back_on_its_base_and_on_no_other(folder, parallel, tmp_path):
    config = AdapterConfig(rank=4, alpha=8)
    network, base = trained_adapter(folder, config)
    save_adapter(tmp_path / "adapter.safetensors", network, config, base)
    fresh = load_openvla(folder, TINY, dtype=torch.float32)
    load_adapter(tmp_path / "adapter.safetensors", fresh)
    torch.testing.assert_close(logits_of(fresh, parallel), logits_of(network, parallel))
    other = load_openvla(folder, TINY, dtype=torch.float32)
    with torch.no_grad():
        other.projector.fc1.bias[0] += 1e-3
    with pytest.raises(BundleRejectedError, match="base of the adapter"):
        load_adapter(tmp_path / "adapter.safetensors", other)
