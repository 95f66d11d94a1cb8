"""The token head: log-probabilities are exact and sampling follows them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_agent.models.tiny_policy import (
    TinyPolicy,
    TinyPolicyConfig,
    sample_tokens,
    token_log_probs,
)


def log_softmax(logits, temperature):
    """The same in plain numpy, the slow way round."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def make_logits(seed, bins=5, batch=2):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (batch, 3, 7, bins)))


@given(st.integers(0, 10_000), st.floats(0.2, 4.0))
@settings(max_examples=25, deadline=None)
def test_probabilities_of_all_tokens_sum_to_one(seed, temperature):
    logits = make_logits(seed)
    each = [
        token_log_probs(logits, torch.full(logits.shape[:-1], token), temperature).exp()
        for token in range(logits.shape[-1])
    ]
    assert torch.stack(each).sum(dim=0).numpy() == pytest.approx(1.0, abs=1e-5)


@given(st.integers(0, 10_000), st.floats(0.2, 4.0))
@settings(max_examples=25, deadline=None)
def test_log_probabilities_match_a_softmax_in_numpy(seed, temperature):
    logits = make_logits(seed)
    tokens = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, logits.shape[:-1]))
    reference = log_softmax(logits.numpy(), temperature)
    wanted = np.take_along_axis(reference, tokens.numpy()[..., None], axis=-1)[..., 0]
    found = token_log_probs(logits, tokens, temperature).numpy()
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_with_their_probabilities(temperature):
    draws, bins = 8000, 6
    one = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 1, 1, bins)))
    logits = one.expand(draws, 1, 1, bins)
    tokens = sample_tokens(logits, temperature, torch.Generator().manual_seed(3))
    expected = draws * np.exp(log_softmax(one.numpy(), temperature)).reshape(-1)
    counted = np.bincount(tokens.numpy().reshape(-1), minlength=bins)
    chi_square = float(((counted - expected) ** 2 / expected).sum())
    assert chi_square < 20.5, "0.1 % of the chi-square distribution with 5 degrees of freedom"


def test_temperature_zero_takes_the_most_likely_token():
    logits = make_logits(4)
    tokens = sample_tokens(logits, 0.0, torch.Generator())
    assert np.array_equal(tokens.numpy(), logits.numpy().argmax(axis=-1))


def test_bins_cover_minus_one_to_one():
    centers = TinyPolicy(TinyPolicyConfig(bins=5)).bin_centers()
    assert centers.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_every_action_of_the_chunk_comes_from_one_pass():
    policy = TinyPolicy(TinyPolicyConfig(bins=8)).eval()
    with torch.no_grad():
        assert policy(torch.zeros(3, 3, 64, 64), torch.tensor([0, 1, 0])).shape == (3, 5, 7, 8)


def test_a_number_of_bins_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="bins"):
        TinyPolicyConfig(bins=1)
