"""Patterns: white leaves a colour alone, seams do not show, seeds differ."""

import numpy as np
import pytest

from robot_agent.core.errors import ConfigError
from robot_agent.sim.textures import PATTERNS, Texture, pixels


@pytest.mark.parametrize("kind", PATTERNS)
def test_a_pattern_shows_with_its_contrast_and_darkens_only(kind):
    none, half, full = (pixels(Texture(kind, contrast, 1)) for contrast in (0.0, 0.5, 1.0))
    assert (none == 255).all()
    assert full.shape == (256, 256, 3)
    assert full.mean() > 120
    assert full.std() > 3
    assert half.std() == pytest.approx(full.std() / 2, rel=0.05)


@pytest.mark.parametrize("kind", PATTERNS)
def test_a_pattern_repeats_without_a_seam(kind):
    picture = pixels(Texture(kind, 1.0, 0)).astype(int)[..., 0]
    for axis in (0, 1):
        inside = np.abs(np.diff(picture, axis=axis)).mean(axis=1 - axis)
        seam = np.abs(picture.take(0, axis) - picture.take(-1, axis)).mean()
        assert seam <= inside.max() + 4.0, f"axis {axis}: {seam:.1f}, inside {inside.max():.1f}"


@pytest.mark.parametrize("kind", [kind for kind in PATTERNS if kind != "stripes"])
def test_another_seed_is_another_piece_of_the_same(kind):
    one, other = (pixels(Texture(kind, 1.0, seed)) for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert np.array_equal(one, pixels(Texture(kind, 1.0, 0)))
    assert abs(one.mean() - other.mean()) < 25


def test_a_wrong_texture_is_refused():
    with pytest.raises(ConfigError, match="texture 'fur' is unknown"):
        Texture("fur")
    with pytest.raises(ValueError, match=r"contrast=1.1 is outside \[0.0, 1.0\]"):
        Texture("wood", 1.1)
