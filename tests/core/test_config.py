"""The loader refuses with the path, the value, the limit and a suggestion; texts are asserted."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml

from robot_agent.core.config import load_config, require_range, to_plain
from robot_agent.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class _Clip:
    low: float = 0.2
    high: float = 0.3

    def __post_init__(self) -> None:
        require_range("low", self.low, 0.0, 0.5, "ratio")


@dataclass(frozen=True, kw_only=True)
class _Config:
    steps: int
    rate_hz: float = 5.0
    name: str = "a"
    fast: bool = False
    kind: Literal["toy", "vlm"] = "toy"
    point: tuple[float, float] = (0.0, 0.0)
    tasks: tuple[str, ...] = ()
    limit: float | None = None
    folder: Path = Path("runs")
    clip: _Clip = field(default_factory=_Clip)


def _load(tmp_path, text, *overrides):
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    return load_config(_Config, [path], overrides)


def test_values_are_read_and_defaults_hold_elsewhere(tmp_path):
    config = _load(tmp_path, "steps: 3\npoint: [1, 2]\ntasks: [x]\nfolder: out\nclip: {low: 0.1}")
    assert (config.steps, config.point, config.tasks) == (3, (1.0, 2.0), ("x",))
    assert (config.folder, config.clip.low, config.clip.high) == (Path("out"), 0.1, 0.3)
    assert isinstance(config.point[0], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 1\nrate_hx: 5", "agent.yaml: unknown key 'rate_hx'. Did you mean 'rate_hz'?"),
        ("steps: 1\nclip: {lo: 1}", "agent.yaml.clip: unknown key 'lo'. Did you mean 'low'?"),
        ("steps: 1\nclip: {zz: 1}", "agent.yaml.clip: unknown key 'zz'. Known: low, high."),
        ("name: b", "agent.yaml: missing key 'steps'. Add it to the file."),
        ("steps: 1.0", "agent.yaml.steps: expected int, got 1.0."),
        ("steps: true", "agent.yaml.steps: expected int, got True."),
        ("steps: 1\nrate_hz: true", "agent.yaml.rate_hz: expected float, got True."),
        ("steps: 1\nrate_hz: '5'", "agent.yaml.rate_hz: expected float, got '5'."),
        ("steps: 1\nfast: 1", "agent.yaml.fast: expected bool, got 1."),
        ("steps: 1\nname: 5", "agent.yaml.name: expected str, got 5."),
        ("steps: 1\nkind: real", "agent.yaml.kind: 'real' is not one of toy, vlm."),
        ("steps: 1\npoint: [1]", "agent.yaml.point: expected 2 values, got 1."),
        ("steps: 1\npoint: 1", "agent.yaml.point: expected a list, got 1."),
        ("steps: 1\npoint: [1, x]", "agent.yaml.point[1]: expected float, got 'x'."),
        ("steps: 1\nclip: 3", "agent.yaml.clip: expected keys and values, got 3."),
        ("steps: 1\nlimit: x", "agent.yaml.limit: expected float, got 'x'."),
        ("steps: 1\nclip: {low: 0.6}", "agent.yaml.clip: low=0.6 is outside [0.0, 0.5] ratio"),
        ("steps: 1\nclip: {low: .nan}", "agent.yaml.clip: low=nan is outside [0.0, 0.5] ratio"),
        ("- 1", "agent.yaml: must hold keys and values, got list."),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_whole_story(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    assert str(caught.value).removeprefix(str(tmp_path) + "/") == message


def test_what_is_not_yaml_or_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"agent\.yaml: is not YAML"):
        _load(tmp_path, "steps: [1")
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file"):
        load_config(_Config, [tmp_path / "none.yaml"])


def test_later_files_and_then_overrides_win_key_by_key(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("steps: 1\nclip: {low: 0.1, high: 0.4}")
    two.write_text("clip: {low: 0.2}")
    config = load_config(_Config, [one, two], ["steps=7", "clip.high=0.45", "tasks=[a, b]"])
    assert (config.steps, config.clip.low, config.clip.high) == (7, 0.2, 0.45)
    assert config.tasks == ("a", "b")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "--set steps: expected key=value, for example a.b=3."),
        ("steps=x", "--set.steps: expected int, got 'x'."),
        ("clip.lw=1", "--set.clip: unknown key 'lw'. Did you mean 'low'?"),
    ],
)
def test_an_override_that_cannot_be_used_is_refused(override, message):
    with pytest.raises(ConfigError) as caught:
        load_config(_Config, [], [override] if "steps" in override else ["steps=1", override])
    assert str(caught.value) == message


def test_an_empty_file_and_null_are_defaults(tmp_path):
    config = _load(tmp_path, "", "steps=1", "limit=null")
    assert config.limit is None
    assert config == _Config(steps=1)


def test_a_config_survives_the_way_through_yaml(tmp_path):
    config = _load(tmp_path, "steps: 3\npoint: [1, 2]\nlimit: 0.5\ntasks: [x, y]")
    again = _load(tmp_path, yaml.safe_dump(to_plain(config)))
    assert again == config


@pytest.mark.parametrize(("value", "passes"), [(0.0, True), (1.0, True), (1.0000001, False)])
def test_a_range_holds_at_its_edge_and_not_past_it(value, passes):
    if passes:
        require_range("x", value, 0.0, 1.0)
    else:
        with pytest.raises(ValueError, match=r"x=1\.0000001 is outside \[0\.0, 1\.0\]$"):
            require_range("x", value, 0.0, 1.0)
