"""Keys come and go by an operator's signature; a change fits one keyring, once."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.release.bundle_reader import read_bundle
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.rotation import apply_change, changed_keyring, make_change
from robot_agent.release.signing import SigningKey, TrustedKey, load_keyring, save_keyring
from robot_agent.release.states import State
from robot_agent.store.strict_json import canonical_json
from tests.release.bundles import KEYRING, OPERATOR, STRANGER, TRAINER, make_bundle

NEW = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35))))
NEW_TRAINER = TrustedKey(NEW.public_raw, "trainer")


def rotation(keyring=KEYRING, signer=OPERATOR, **changes):
    arguments = {"add": [NEW_TRAINER], "retire": [TRAINER.key_id]} | changes
    return make_change(keyring, signer, **arguments)


def test_a_rotation_brings_a_new_key_and_retires_the_old(tmp_path):
    save_keyring(tmp_path / "keyring.json", KEYRING)
    apply_change(tmp_path / "keyring.json", *rotation())
    after = load_keyring(tmp_path / "keyring.json")
    assert after[TRAINER.key_id].is_retired
    assert not after[NEW.key_id].is_retired
    make_bundle(tmp_path / "old", key=TRAINER)
    make_bundle(tmp_path / "new", key=NEW)
    assert read_bundle(tmp_path / "new", after).signed_by == "trainer"
    with pytest.raises(BundleRejectedError, match="retired, must be in use"):
        read_bundle(tmp_path / "old", after)


@pytest.mark.parametrize("signer", [TRAINER, STRANGER, NEW])
def test_only_an_operator_changes_keys(signer):
    with pytest.raises(ConfigError, match="an operator's key that is in use"):
        changed_keyring(KEYRING, *rotation(signer=signer))


def test_a_change_is_good_for_one_keyring_only():
    change = rotation()
    after = changed_keyring(KEYRING, *change)
    with pytest.raises(ConfigError, match="the present one"):
        changed_keyring(after, *change)  # a replay
    held_back = rotation(add=[], retire=[TRAINER.key_id])
    with pytest.raises(ConfigError, match="the present one"):
        changed_keyring(after, *held_back)


def test_a_retired_key_never_comes_back_and_changes_nothing():
    second = TrustedKey(NEW.public_raw, "operator")
    both = changed_keyring(KEYRING, *rotation(add=[second], retire=[]))
    after = changed_keyring(both, *rotation(both, add=[], retire=[OPERATOR.key_id]))
    with pytest.raises(ConfigError, match="an operator's key that is in use"):
        changed_keyring(after, *rotation(after, OPERATOR))
    back = [TrustedKey(OPERATOR.public_raw, "operator")]
    with pytest.raises(ConfigError, match="never in the keyring"):
        changed_keyring(after, *rotation(after, NEW, add=back, retire=[]))


def test_the_last_operator_stays():
    with pytest.raises(ConfigError, match="leave one operator"):
        changed_keyring(KEYRING, *rotation(retire=[OPERATOR.key_id]))


@pytest.mark.parametrize(
    "edit",
    [
        {"retire": ["0" * 16]}, {"retire": "x"}, {"retire": [1]}, {"schema": 2}, {"extra": 1},
        {"add": {"0" * 16: {"public": NEW.public_raw.hex(), "role": "trainer"}}},
        {"add": {NEW.key_id: {"public": NEW.public_raw.hex(), "role": "king"}}},
        {"add": {NEW.key_id: {"public": "zz", "role": "trainer"}}}, {"add": []},
    ],
)  # fmt: skip
def test_a_change_that_is_none_is_refused_even_when_signed(edit):
    content = canonical_json(json.loads(rotation()[0]) | edit)
    with pytest.raises(ConfigError, match="The keyring stays as it is"):
        changed_keyring(KEYRING, content, OPERATOR.sign(content))


def test_every_flipped_bit_of_a_change_is_refused():
    content, signature = rotation()
    for bit in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ConfigError):
            changed_keyring(KEYRING, bytes(damaged), signature)


def test_releases_that_were_taken_in_before_a_rotation_go_on(tmp_path):
    config = RegistryConfig(min_free_gb=0.0)
    registry = Registry(tmp_path / "r", KEYRING, config)
    first = make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    registry.install_factory(tmp_path / "b1")
    second = make_bundle(tmp_path / "b2", 2, first.hash, key=TRAINER)
    label = registry.publish(tmp_path / "b2")
    for state in (State.LOADED, State.SANE, State.SHADOW):
        registry.advance(label, state)
    registry.activate(label)
    registry.advance(label, State.GOOD)
    after = changed_keyring(KEYRING, *rotation())
    rotated = Registry(tmp_path / "r", after, config)
    assert rotated.boot() == label
    make_bundle(tmp_path / "b3", 3, second.hash, key=TRAINER)
    with pytest.raises(BundleRejectedError, match="retired"):
        rotated.publish(tmp_path / "b3")
    make_bundle(tmp_path / "b4", 4, second.hash, key=NEW)
    assert rotated.publish(tmp_path / "b4").startswith("v0004")


def test_a_keyring_of_the_first_format_is_read(tmp_path):
    keys = {TRAINER.key_id: {"public": TRAINER.public_raw.hex(), "role": "trainer"}}
    (tmp_path / "k").write_bytes(canonical_json({"schema": 1, "keys": keys}))
    assert load_keyring(tmp_path / "k") == {TRAINER.key_id: KEYRING[TRAINER.key_id]}
