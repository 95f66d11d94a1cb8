"""Image-text models of two families through one class, and nothing downloaded."""

import json
import math

import numpy as np
import pytest

from robot_agent.core.errors import ConfigError
from robot_agent.models.vlm_judge import VlmJudge, VlmJudgeConfig
from robot_agent.models.vlm_transformers import LocalVlmConfig, load_local_vlm
from tests.models.tiny_vlm import write_vlm


@pytest.fixture(scope="module", params=["qwen", "llava"])
def folder(request, tmp_path_factory):
    return write_vlm(tmp_path_factory.mktemp(request.param), request.param)


def clips(batch, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, 4, 40, 48, 3), dtype=np.uint8)


def judge_of(folder, **settings):
    vlm = load_local_vlm(LocalVlmConfig(model=str(folder)))
    return VlmJudge(vlm, VlmJudgeConfig(image_px=56, frames=3, **settings))


def test_token_probabilities_are_a_score_and_the_same_each_time(folder, monkeypatch):
    vlm = load_local_vlm(LocalVlmConfig(model=str(folder)))
    config = VlmJudgeConfig(image_px=56, frames=3, votes=1, scoring="probability")
    asked = VlmJudge(vlm, config)._question(clips(1)[0], "open the drawer", 0)
    first, again = vlm.ask(asked), vlm.ask(asked)
    assert first == again
    assert set(first.probabilities) == {"yes", "partly", "no", "unsure"}
    assert 0.0 < sum(first.probabilities.values()) < 1.0
    other = VlmJudge(vlm, config)._question(clips(1, seed=5)[0], "open the drawer", 0)
    assert vlm.ask(other).probabilities != first.probabilities


def test_a_random_model_without_verdict_is_unknown_and_asked_with_the_seed_of_each_vote(folder):
    judge = judge_of(folder, votes=2, max_answer_tokens=6)
    assert math.isnan(judge.score(clips(1), ["open the drawer"])[0])
    assert judge.usage.calls == 2
    assert judge.usage.tokens > 2 * 6
    assert judge.usage.models == {judge.name}


def test_the_name_pins_the_content_of_the_folder(folder, tmp_path):
    name = load_local_vlm(LocalVlmConfig(model=str(folder))).name
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"note": "other"}))
    assert load_local_vlm(LocalVlmConfig(model=str(folder))).name != name


@pytest.mark.parametrize("revision", ["", "main", "abc123"])
def test_a_repository_without_a_commit_is_refused(revision):
    with pytest.raises(ConfigError, match="40 hex digits"):
        load_local_vlm(LocalVlmConfig(model="owner/name", revision=revision))


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"Name a folder with config\.json"):
        load_local_vlm(LocalVlmConfig(model=str(tmp_path)))
