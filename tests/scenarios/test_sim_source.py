"""A robot in this process takes new weights by the same road: shadow, pairs, GOOD or back."""

import dataclasses

import numpy as np
import pytest

from robot_agent.core.errors import ConfigError, SwapRefusedError
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import Chunk
from robot_agent.evaluate.sim_source import SimSource
from robot_agent.learn.source import CollectPlan
from robot_agent.release.probation import ProbationConfig
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.road import SIMULATED
from robot_agent.release.signing import save_keyring
from robot_agent.release.states import State
from robot_agent.release.weights import ReleaseWeights
from robot_agent.sim.scenes import NOVEL
from tests.release.bundles import KEYRING, OPERATOR, make_bundle
from tests.scenarios.slow_loop import MemoryStore

TASK = "open the drawer"
STILL = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]] * 8)

pytestmark = pytest.mark.slow  # whole episodes in the simulator


class Scripted:
    """Holds still, until the `turn`-th inference gives `odd` instead."""

    def __init__(self, version: str, odd: np.ndarray, turn: int) -> None:
        self.version, self.needs = version, PolicyNeeds(chunk=8)
        self._odd, self._left = odd, turn

    def reset(self, instruction: str, seed: int) -> None:
        """Nothing to reset."""

    def act(self, observation) -> Chunk:
        self._left -= 1
        return Chunk(self._odd if self._left == 0 else STILL, self.version, 1, 0)


class Robot:
    """A simulated robot with a factory release and a candidate before the shadow."""

    def __init__(self, folder, odd=STILL, turn=0, **changes) -> None:
        releases = folder / "releases"
        self.registry = Registry(releases, KEYRING, RegistryConfig(min_free_gb=0.0))
        save_keyring(releases / "keyring.json", KEYRING)
        first = make_bundle(folder / "b1", 1, key=OPERATOR)
        self.first = self.registry.install_factory(folder / "b1")
        make_bundle(folder / "b2", 2, first.hash)
        self.second = self.registry.publish(folder / "b2")
        for state in (State.LOADED, State.SANE):
            self.registry.advance(self.second, state)
        self.store = MemoryStore()

        def load(bundle):
            is_new = bundle.name == self.second
            return Scripted(bundle.name, odd if is_new else STILL, turn if is_new else 0)

        weights = ReleaseWeights(releases, load)
        config = dataclasses.replace(SIMULATED, **changes)
        say = lambda *_: None  # noqa: E731 - nobody listens
        self.source = SimSource(NOVEL["kitchen"], self.store, weights, say, config)

    def collect(self, count: int):
        ids = self.source.collect(self.registry.current(), [CollectPlan(TASK, count, 7)])
        return [self.store.load(name) for name in ids]

    @property
    def state(self) -> State:
        return self.registry.releases().states[self.second]


@pytest.fixture
def robot(tmp_path):
    return Robot(tmp_path)


def test_new_weights_are_proven_in_pairs_on_like_starts_before_they_stay(robot):
    assert robot.source.promote(robot.second)[0]
    assert robot.state is State.SHADOW
    episodes = robot.collect(7)
    acted = [episode.weights_versions[0] for episode in episodes]
    assert acted == [robot.first, *[robot.second, robot.first] * 3]
    pairs = [(episodes[i], episodes[i + 1]) for i in (1, 3, 5)]
    for new, previous in pairs:
        assert np.array_equal(new.joints_rad[0], previous.joints_rad[0])
        assert np.array_equal(new.images[0], previous.images[0])
    assert robot.state is State.GOOD
    assert robot.source.active == robot.second
    assert "GOOD" in robot.source.proving


def test_not_finite_actions_are_found_in_the_shadow_and_never_act(tmp_path):
    robot = Robot(tmp_path, odd=STILL * np.nan, turn=3)
    robot.source.promote(robot.second)
    (episode,) = robot.collect(1)
    assert robot.state is State.REJECTED
    assert set(episode.weights_versions) == {robot.first}
    assert "finite" in robot.source.proving


def test_a_fault_on_probation_hands_the_arm_back_within_the_episode(tmp_path):
    huge = STILL + np.array([0.5, 0, 0, 0, 0, 0, 0])
    robot = Robot(tmp_path, odd=huge, turn=7)  # 4 in the shadow, then the third
    robot.source.promote(robot.second)
    robot.collect(1)
    assert robot.registry.releases().states[robot.second] is State.SHADOW
    (episode,) = robot.collect(1)
    versions = list(episode.weights_versions)
    assert robot.state is State.REJECTED
    assert versions[0] == robot.second
    assert versions[-1] == robot.first
    assert robot.registry.current() == robot.first
    assert "huge_action" in robot.source.proving


def test_what_may_not_be_promoted_is_refused_in_words(robot):
    assert robot.source.promote("v9") == (False, robot.source.promote("v9")[1])
    assert "is unknown, must be SANE" in robot.source.promote("v9")[1]
    with pytest.raises(SwapRefusedError, match="is unknown"):
        robot.source.collect("v9", [])


def test_a_probation_that_ends_in_good_order_may_begin_again(robot):
    robot.source.promote(robot.second)
    robot.collect(2)
    assert robot.state is State.PROBATION
    robot.source.close()
    assert robot.state is State.SHADOW
    assert robot.registry.current() == robot.first


def test_a_reduced_speed_that_nobody_would_keep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"probation\.speed is 0\.5, must be 1"):
        Robot(tmp_path, probation=ProbationConfig(speed=0.5))
