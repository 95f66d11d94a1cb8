"""pi0 and LeRobot's policies behind the contract of every policy."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from transformers import PI0Config, PI0ForConditionalGeneration

from robot_agent.act.inference import Guided
from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.errors import BundleRejectedError, ConfigError, InputError
from robot_agent.core.types import Observation
from robot_agent.models.lerobot_policy import LeRobotConfig, LeRobotPolicy, load_lerobot_model
from robot_agent.models.moments import Moments
from robot_agent.models.pi0_policy import (
    Pi0Policy,
    Pi0PolicyConfig,
    load_pi0_policy,
    pad_to_square,
)

ACTIONS = Moments("bridge_orig", (0.0,) * 6 + (0.5,), (0.01,) * 3 + (0.05,) * 3 + (0.3,))
STATES = Moments("bridge_orig", (0.3, 0, 0.1, 0, 0, 0, 0.5), (0.1,) * 7)


def words(text):
    return [5 + ord(letter) % 20 for letter in text]


def tiny_pi0():
    text = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8}
    vision = {"intermediate_size": 32, "hidden_size": 16, "patch_size": 14, "image_size": 28}
    config = PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": {"model_type": "gemma", "vocab_size": 100, **text, **heads},
            "vision_config": {
                "model_type": "siglip_vision_model",
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "vision_use_head": False,
                **vision,
            },
            "projection_dim": 32,
            "image_token_id": 100,
        },
        dit_config={"model_type": "gemma", **text, **heads},
        chunk_size=6,
        max_state_dim=8,
        max_action_dim=8,
    )
    torch.manual_seed(0)
    return PI0ForConditionalGeneration(config)


@pytest.fixture(scope="module")
def network():
    return tiny_pi0()


def policy(network, **used):
    return Pi0Policy(
        network, words, (STATES, ACTIONS), version="pi0", config=Pi0PolicyConfig(**used)
    )


def seen(seed=0, **changes):
    image = np.random.default_rng(seed).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    values = {"joints_rad": np.full(6, 0.1), "gripper": 0.4, "stamp_ns": 3, **changes}
    return Observation(image, **values)


def test_pi0_gives_chunks_that_the_seed_the_picture_and_the_state_decide(network):
    acting = policy(network)

    def act(seed, observation, instruction="open the drawer"):
        acting.reset(instruction, seed)
        return acting.act(observation).actions

    first = act(1, seen())
    assert first.shape == (5, 7)
    assert np.isfinite(first).all()
    assert np.array_equal(first, act(1, seen()))
    assert not np.array_equal(first, act(2, seen()))
    assert not np.array_equal(first, act(1, seen(seed=9)))
    assert not np.array_equal(first, act(1, seen(gripper=1.0)))
    assert not np.array_equal(first, act(1, seen(), "close the drawer"))


def test_pi0_is_the_flow_of_its_own_velocity(network):
    # Reference: Euler's steps from noise along the velocity that one plain forward pass predicts.
    acting = policy(network, steps=4)
    acting.reset("open the drawer", 5)
    inputs = acting.prepare(seen())
    x = torch.randn((1, 6, 8), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        for step in range(4):
            time = torch.full((1,), 1.0 - step / 4)
            x = x - network(**inputs, noise=x, timestep=time).logits / 4
    wanted = ACTIONS.unnormalize(x[0, :5, :7].double().numpy())
    np.testing.assert_allclose(acting.act(seen()).actions, wanted, atol=1e-5)


def test_pi0_goes_on_from_a_plan_by_inpainting(network):
    """Frozen actions stay, what is bound less comes nearer, the rest is made to fit."""
    acting = policy(network, execute=6)
    acting.reset("open the drawer", 3)
    free = acting.act(seen()).actions
    planned = free[:4] + 0.5 * np.array(ACTIONS.std)
    planned[:, 6] = np.clip(planned[:, 6], 0.0, 1.0)
    weights = np.array([1.0, 1.0, 0.5, 0.1])
    acting.reset("open the drawer", 3)
    bound = acting.act_along(seen(), planned, weights).actions
    assert np.allclose(bound[:2], planned[:2], atol=1e-6)
    distance, before = np.abs(bound - free)[:4, :6], np.abs(planned - free[:4])[:, :6]
    assert (distance[2] > 0.3 * before[2]).all(), "half bound"
    assert not np.array_equal(bound[4:], free[4:]), "what follows was made with the plan in view"
    acting.reset("open the drawer", 3)
    assert np.array_equal(acting.act(seen()).actions, free), "nothing of the plan is left behind"
    acting.reset("open the drawer", 3)
    loose = acting.act_along(seen(), planned, np.zeros(4)).actions
    assert np.allclose(loose, free, atol=1e-6), "weights of 0 bind nothing"
    assert isinstance(acting, Guided)


def test_pi0_says_what_it_needs_and_refuses_what_it_cannot_use(network):
    needs = policy(network, cameras=("color", "wrist")).needs
    assert (needs.cameras, needs.state, needs.chunk) == (("color", "wrist"), "bridge_state", 5)
    with pytest.raises(ConfigError, match="over the network's 6"):
        policy(network, execute=7)
    with pytest.raises(InputError, match="instruction is empty"):
        policy(network).reset(" ", 0)
    with pytest.raises(InputError, match="no instruction yet"):
        policy(network).act(seen())
    far = Moments("other", (0.0,) * 7, (0.5,) * 7)
    with pytest.raises(ConfigError, match="of another robot"):
        Pi0Policy(network, words, (STATES, far), version="pi0")
    with pytest.raises(ConfigError, match="must be 7"):
        Moments("aloha", (0.0,) * 14, (0.1,) * 14)


def write_pi0(folder, network):
    network.save_pretrained(folder)
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "state_mean": STATES.mean,
                "state_std": STATES.std,
                "actions_mean": ACTIONS.mean,
                "actions_std": ACTIONS.std,
            }
        )
    )
    return folder


def test_pi0_comes_back_from_a_folder(network, tmp_path):
    loaded = load_pi0_policy(write_pi0(tmp_path / "pi0", network), words, version="pi0")
    kept = policy(network)
    for acting in (loaded, kept):
        acting.reset("open the drawer", 1)
    np.testing.assert_allclose(loaded.act(seen()).actions, kept.act(seen()).actions, atol=1e-6)


def test_pi0_with_tensors_that_do_not_fit_lists_them(network, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_pi0(tmp_path / "pi0", network)
    tensors = load_file(folder / "model.safetensors")
    del tensors["action_out_proj.bias"]
    tensors["foreign"] = torch.zeros(1)
    tensors["action_out_proj.weight"] = torch.zeros(2, 2)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BundleRejectedError) as refused:
        load_pi0_policy(folder, words, version="pi0")
    for part in ("action_out_proj.bias", "foreign", "action_out_proj.weight"):
        assert part in str(refused.value)


def test_padding_keeps_the_shape_of_the_picture():
    square = pad_to_square(np.full((20, 40, 3), 255, np.uint8), 28)
    assert square.shape == (3, 28, 28)
    assert (square[:, :7] == -1).all()
    assert (square[:, 7:21] == 1).all()


class FakeLeRobot:
    """Answers with what it was given, so that a wrong name, scale or order shows."""

    def __init__(self, answer=None):
        self.resets, self.batches, self.answer = 0, [], answer

    def reset(self):
        self.resets += 1

    def predict_action_chunk(self, batch):
        self.batches.append(batch)
        if self.answer is not None:
            return self.answer
        return torch.randn(1, 8, 7) + batch["observation.state"]


def test_lerobot_is_given_its_names_and_scales_and_taken_back_to_bridge():
    model = FakeLeRobot(torch.linspace(-1, 1, 8 * 7).view(1, 8, 7))
    acting = LeRobotPolicy(
        model, (STATES, ACTIONS), version="act", config=LeRobotConfig(execute=3)
    )
    acting.reset("open the drawer", 0)
    observation = seen()
    actions = acting.act(observation).actions
    np.testing.assert_allclose(
        actions, ACTIONS.unnormalize(model.answer[0, :3].double().numpy()), atol=1e-12
    )
    batch = model.batches[0]
    assert (model.resets, batch["task"]) == (1, ["open the drawer"])
    assert batch["observation.images.image_0"].shape == (1, 3, 256, 256)
    measured = bridge_state(observation.joints_rad, observation.gripper)
    wanted = (measured - np.array(STATES.mean)) / 0.1
    np.testing.assert_allclose(batch["observation.state"][0].numpy(), wanted, atol=1e-4)


def test_lerobots_randomness_follows_the_seed_and_leaves_torchs_alone():
    acting = LeRobotPolicy(FakeLeRobot(), (STATES, ACTIONS), version="act")
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    drawn = []
    for seed in (1, 2):
        acting.reset("open the drawer", seed)
        drawn.append(acting.act(seen()).actions)
    again = LeRobotPolicy(FakeLeRobot(), (STATES, ACTIONS), version="act")
    again.reset("open the drawer", 1)
    assert np.array_equal(again.act(seen()).actions, drawn[0])
    assert not np.array_equal(drawn[0], drawn[1])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (torch.zeros(1, 8, 14), r"must be \(1, K, 7\)"),
        (torch.zeros(1, 2, 7), "gives 2 actions"),
        (torch.full((1, 8, 7), float("nan")), "not all finite"),
    ],
)
def test_malformed_answers_of_lerobot_are_refused(answer, told):
    acting = LeRobotPolicy(FakeLeRobot(answer), (STATES, ACTIONS), version="act")
    acting.reset("open the drawer", 0)
    with pytest.raises(InputError, match=told):
        acting.act(seen())


def test_missing_lerobot_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    with pytest.raises(ConfigError, match="pip install lerobot"):
        load_lerobot_model(tmp_path, "act")


def test_lerobot_is_asked_for_a_local_folder_only(tmp_path, monkeypatch):
    asked = {}

    class Policy:
        @classmethod
        def from_pretrained(cls, folder, **settings):
            asked.update(folder=folder, **settings)
            return FakeLeRobot()

    factory = types.ModuleType("lerobot.policies.factory")
    factory.get_policy_class = lambda kind: {"act": Policy}[kind]
    for name in ("lerobot", "lerobot.policies"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "lerobot.policies.factory", factory)
    assert isinstance(load_lerobot_model(tmp_path, "act"), FakeLeRobot)
    assert asked == {"folder": str(tmp_path), "local_files_only": True}
    with pytest.raises(ConfigError, match="cannot read it as 'other'"):
        load_lerobot_model(tmp_path, "other")


def test_object_without_chunks_is_no_policy():
    with pytest.raises(ConfigError, match="has no predict_action_chunk"):
        LeRobotPolicy(object(), (STATES, ACTIONS), version="x")
