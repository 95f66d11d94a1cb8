"""Adapting to a scene: several sources, what is measured on is never seen, and part of the way."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.learn.averaging import between
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.scene_finetune import SceneFinetuneConfig, _mixture, finetune_on_episodes
from robot_agent.learn.split import SplitConfig
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.models.lora import LoraConfig
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from tests.learn.episodes import counting_episodes, moving_dot

FEW = WorldTrainingConfig(
    fit=FitConfig(steps=2, learning_rate=1e-3, warmup_steps=1),
    frames=4,
    unroll=(1,),
    stages=(1.0,),
    lora=LoraConfig(rank=1),
)


def test_only_the_first_episodes_of_each_source_are_trained_on():
    scenes = [(counting_episodes(4), 3.0), (counting_episodes(3), 1.0)]
    config = SceneFinetuneConfig(
        training=WorldTrainingConfig(replay=0.2), episodes=2, held_out=SplitConfig(time=0.25)
    )
    mixture = _mixture(scenes, counting_episodes(5), config)
    assert np.allclose(mixture.shares, (0.6, 0.2, 0.2))
    assert [len(part) for part in mixture.parts] == [2, 2, 5]
    marks = mixture.draw(200, 1, np.random.default_rng(0)).actions_BTA[:120, 1, 0]
    assert set(marks.tolist()) == {1.0, 2.0}
    assert [part.lengths_N.tolist() for part in mixture.held_out] == [[3, 3], [3, 3]]


def test_part_of_the_way_lies_between():
    torch.manual_seed(0)
    size = TinyWorldConfig(channels=(8, 16, 16), condition=16)
    before = TinyWorld(size)
    tuned = copy.deepcopy(before)
    with torch.no_grad():
        tuned.stem.weight += 1.0
    between(before, tuned, 0.75)
    assert torch.allclose(tuned.stem.weight, before.stem.weight + 0.75)


def test_results_name_the_base_and_nothing_is_left_beside_them(tmp_path):
    config = SceneFinetuneConfig(training=FEW, episodes=1, windows=2)
    results = finetune_on_episodes(
        [(moving_dot(2, steps=12), 1.0), (moving_dot(2, steps=12, seed=1), 1.0)],
        moving_dot(2, steps=12, seed=2),
        moving_dot(2, steps=12, seed=3),
        out=tmp_path / "out",
        config=config,
        seed=0,
    )
    assert results["measured_on"] == 2
    assert set(results["held_out"]) == set(results["home"]) == {"1", "5", "10"}
    saved = json.loads((tmp_path / "out" / "finetune.json").read_text())
    assert saved["started_from"] == results["started_from"]
    assert saved["config"]["training"]["lora"]["rank"] == 1
    assert "stem.weight" in load_file(tmp_path / "out" / "world.safetensors")
    beside = {path.name for path in tmp_path.iterdir()}
    assert beside == {"out", "out.clips", "out.jsonl"}
    assert [path.name for path in (tmp_path / "out.clips").iterdir()] == ["000002.mp4"]


def test_too_few_episodes_and_a_gpu_that_is_not_there_are_named(tmp_path):
    one = moving_dot(1, steps=12)
    arguments = {"out": tmp_path / "out", "config": SceneFinetuneConfig(episodes=1), "seed": 0}
    with pytest.raises(InputError, match="1 episodes, must be more than the 1 to train on"):
        finetune_on_episodes([(one, 1.0)], one, one, **arguments)
    two = moving_dot(2, steps=12)
    with pytest.raises(ConfigError, match=r"device cuda:99: torch .* sees"):
        finetune_on_episodes([(two, 1.0)], one, one, device="cuda:99", **arguments)
    assert not (tmp_path / "out").exists()
