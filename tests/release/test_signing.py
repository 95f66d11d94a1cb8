"""Keys are private, of one kind, and trusted by name."""

import json
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from robot_agent.core.errors import ConfigError, StorageError
from robot_agent.release.signing import create_key, load_key, load_keyring, save_keyring, trusted
from tests.release.bundles import KEYRING, OPERATOR


def test_a_key_comes_back_and_only_its_owner_can_read_it(tmp_path):
    key = create_key(tmp_path / "keys" / "trainer.pem")
    loaded = load_key(tmp_path / "keys" / "trainer.pem")
    assert stat.S_IMODE((tmp_path / "keys" / "trainer.pem").stat().st_mode) == 0o600
    assert loaded.key_id == key.key_id
    assert trusted((key, "trainer"))[key.key_id].has_signed(b"x", loaded.sign(b"x"))
    assert not trusted((key, "trainer"))[key.key_id].has_signed(b"y", loaded.sign(b"x"))


def test_a_key_is_never_overwritten(tmp_path):
    create_key(tmp_path / "k.pem")
    with pytest.raises(StorageError, match="File exists"):
        create_key(tmp_path / "k.pem")


def test_a_key_that_others_can_read_is_refused(tmp_path):
    create_key(tmp_path / "k.pem")
    (tmp_path / "k.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="mode is 644, must be 600"):
        load_key(tmp_path / "k.pem")


def test_a_key_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "k.pem"
    rsa = generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for pem, message in ((rsa, "must be Ed25519"), (b"nonsense", "no PEM private key")):
        path.write_bytes(pem)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match=message):
            load_key(path)


def test_a_keyring_comes_back(tmp_path):
    save_keyring(tmp_path / "ring.json", KEYRING)
    assert load_keyring(tmp_path / "ring.json") == KEYRING


@pytest.mark.parametrize(
    "change",
    [
        {"role": "root"},
        {"public": "00" * 32},
        {"public": "00"},
        {"public": "zz" * 32},
    ],
)
def test_a_keyring_with_a_wrong_entry_is_refused(tmp_path, change):
    path = tmp_path / "ring.json"
    save_keyring(path, KEYRING)
    content = json.loads(path.read_text())
    content["keys"][OPERATOR.key_id] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="is no keyring"):
        load_keyring(path)
