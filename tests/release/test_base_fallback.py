"""A base that is damaged on disk: the node starts with what still loads, and says why."""

import logging

import pytest
from safetensors.numpy import save_file

from robot_agent.core.errors import BaseRejectedError, BundleRejectedError, SwapRefusedError
from robot_agent.release.bases import BASES, base_of, require_base, take_base
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.signing import save_keyring
from robot_agent.release.states import State
from robot_agent.release.weights import ReleaseWeights
from tests.release.bundles import KEYRING, OPERATOR, make_bundle, weights


class Place:
    """Three GOOD releases: a factory one without a base, and two on bases of their own."""

    def __init__(self, folder, releases, on=("", "a", "b")):
        self.releases, self.loaded, self.read = releases, [], []
        save_keyring(releases / "keyring.json", KEYRING)
        self.registry = Registry(releases, KEYRING, RegistryConfig(min_free_gb=0.0))
        self.bases = {name: self._take(folder / name) for name in sorted(set(on) - {""})}
        self.labels, parent = [], ""
        for version, name in enumerate(on, start=1):
            changes = {}
            if name:
                changes["settings"] = {"base": self.bases[name], "config": {}}
            path = folder / f"bundle{version}"
            made = make_bundle(path, version, parent, key=OPERATOR, **changes)
            self._make_good(path, made.label)
            self.labels.append(made.label)
            parent = made.hash

    def _take(self, source):
        source.mkdir()
        save_file(
            weights(len(source.name)) | {source.name: weights()["scale"]}, source / "w.safetensors"
        )
        return take_base(source, self.releases)

    def _make_good(self, path, label):
        if not self.registry.current():
            self.registry.install_factory(path)
            return
        self.registry.publish(path)
        for state in (State.LOADED, State.SANE, State.SHADOW):
            self.registry.advance(label, state)
        self.registry.activate(label)
        self.registry.advance(label, State.GOOD)

    def damage(self, name):
        path = self.releases / BASES / self.bases[name] / "w.safetensors"
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    def load(self, bundle):
        """Read every byte of the base, as the node does."""
        base = base_of(bundle)
        if base:
            self.read.append(base)
            require_base(self.releases, base)
        self.loaded.append(bundle.name)
        return bundle.name

    def boot(self):
        return ReleaseWeights(self.releases, self.load).boot()


def test_a_damaged_base_gives_way_to_the_previous_release(tmp_path, releases_path, caplog):
    place = Place(tmp_path, releases_path)
    factory, previous, current = place.labels
    assert place.boot() == current
    place.damage("b")
    with caplog.at_level(logging.ERROR):
        assert place.boot() == previous
    assert f"{current} does not load, {previous} acts instead" in caplog.text
    assert "w.safetensors sha256" in caplog.text
    slots = place.registry.releases()
    assert (slots.current, slots.previous, slots.factory) == (previous, factory, factory)
    assert slots.states[current] is State.GOOD, "its own files are as good as they were"
    told = [line for line in slots.history[current] if line[1] == "does not load"]
    assert len(told) == 1
    assert f"acts instead: {previous}" in told[0][2]
    assert "w.safetensors sha256" in told[0][2]
    assert place.boot() == previous, "and it stays"


def test_both_bases_damaged_give_way_to_the_factory_release(tmp_path, releases_path):
    place = Place(tmp_path, releases_path)
    place.damage("a")
    place.damage("b")
    assert place.boot() == place.labels[0]
    slots = place.registry.releases()
    assert (slots.current, slots.previous) == (place.labels[0], "")
    assert slots.boots == 0, "the start counts as a healthy one"


def test_releases_on_one_damaged_base_are_not_read_twice(tmp_path, releases_path):
    place = Place(tmp_path, releases_path, on=("", "a", "a"))
    place.damage("a")
    assert place.boot() == place.labels[0]
    assert place.read == [place.bases["a"]], "a base of 14 GB is hashed once"


def test_when_nothing_loads_every_failure_is_named_and_nothing_changes(tmp_path, releases_path):
    place = Place(tmp_path, releases_path, on=("a", "b", "c"))
    before = place.registry.releases().slots()
    for name in "abc":
        place.damage(name)
    with pytest.raises(SwapRefusedError, match="no release loads, one must") as refused:
        place.boot()
    for label, name in zip(place.labels, "abc", strict=True):
        assert label in str(refused.value)
        assert place.bases[name][:12] in str(refused.value)
    assert place.registry.releases().slots() == before
    path = place.releases / BASES / place.bases["c"]
    path.rename(path.with_name("away"))
    take_base(tmp_path / "c", place.releases)
    assert place.boot() == place.labels[2], "the base is back, and with it what was current"


def test_an_adapter_that_does_not_fit_gives_way_and_its_base_is_still_asked(
    tmp_path, releases_path
):
    place = Place(tmp_path, releases_path, on=("", "a", "a"))
    honest = place.load

    def load(bundle):
        if bundle.name == place.labels[2]:
            raise BundleRejectedError(bundle.name, "tensors", "others", "the adapter's")
        return honest(bundle)

    assert ReleaseWeights(place.releases, load).boot() == place.labels[1]


def test_other_errors_than_damage_are_not_hidden_behind_an_older_release(tmp_path, releases_path):
    place = Place(tmp_path, releases_path)

    def load(bundle):
        raise MemoryError("14 GB")

    with pytest.raises(MemoryError):
        ReleaseWeights(place.releases, load).boot()
    assert place.registry.current() == place.labels[2]


def test_a_base_error_is_a_bundle_error():
    assert issubclass(BaseRejectedError, BundleRejectedError)
