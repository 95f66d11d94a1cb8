"""Ed25519 keys: who may publish weights, and the keyring that says whom this robot trusts."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from robot_agent.core.errors import ConfigError
from robot_agent.store.durable import make_folder, replace_file, storage_errors, sync_folder
from robot_agent.store.strict_json import canonical_json, parse_json_object

Role = Literal["trainer", "operator"]
"""A trainer may publish candidates; an operator may also start a new line of weights."""

_KEYRING_SCHEMA = 2
"""2 knows retired keys; 1 is read too."""


@dataclass(frozen=True)
class SigningKey:
    """A private key; it signs manifests and never leaves its machine."""

    private: Ed25519PrivateKey

    @property
    def public_raw(self) -> bytes:
        """The public key, 32 bytes."""
        return self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """Name of the key: the beginning of the SHA-256 of its public half."""
        return key_id_of(self.public_raw)

    def sign(self, content: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        return self.private.sign(content)


@dataclass(frozen=True)
class TrustedKey:
    """A public key and what its owner may do."""

    public_raw: bytes
    role: Role
    is_retired: bool = False
    """It proves releases that were taken in before, and signs nothing new."""

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        """Return whether `signature` over `content` is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_raw).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


Keyring = Mapping[str, TrustedKey]
"""Trusted keys by key id."""


def key_id_of(public_raw: bytes) -> str:
    """Return the id of a public key."""
    return hashlib.sha256(public_raw).hexdigest()[:16]


def create_key(path: Path) -> SigningKey:
    """Make a new key and write it as PEM that only its owner can read; never overwrites one."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with storage_errors("writing a signing key", path):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, pem)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    return SigningKey(private)


def load_key(path: Path) -> SigningKey:
    """Read a private key; ConfigError when others can read it or it is no Ed25519 key."""
    with storage_errors("reading a signing key", path):
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    if mode & 0o077:
        raise ConfigError(f"{path}: mode is {mode:o}, must be 600. Run: chmod 600 {path}")
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: is no PEM private key ({error}). Make a new one.") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(
            f"{path}: is a {type(private).__name__}, must be Ed25519. Make a new key."
        )
    return SigningKey(private)


def trusted(*keys: tuple[SigningKey, Role]) -> dict[str, TrustedKey]:
    """Return a keyring of the public halves of `keys`."""
    return {key.key_id: TrustedKey(key.public_raw, role) for key, role in keys}


def keyring_bytes(keyring: Keyring) -> bytes:
    """Return the one spelling of a keyring."""
    keys = {
        key_id: {"public": key.public_raw.hex(), "role": key.role, "retired": key.is_retired}
        for key_id, key in keyring.items()
    }
    return canonical_json({"schema": _KEYRING_SCHEMA, "keys": keys})


def save_keyring(path: Path, keyring: Keyring) -> None:
    """Write the trusted public keys as JSON, by one atomic rename."""
    with storage_errors("writing the keyring", path):
        make_folder(path.parent)
        replace_file(path, keyring_bytes(keyring))


def load_keyring(path: Path) -> dict[str, TrustedKey]:
    """Read the trusted keys; ConfigError when the file is damaged or a key has another id."""
    with storage_errors("reading the keyring", path):
        content = path.read_bytes()
    try:
        parsed = parse_json_object(content, 1 << 20)
        if parsed.get("schema") not in (1, _KEYRING_SCHEMA):
            raise ValueError(f"schema is {parsed.get('schema')!r}, must be {_KEYRING_SCHEMA}")
        return {
            str(name): parse_trusted_key(str(name), entry)
            for name, entry in parsed["keys"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: is no keyring ({error}). Make it again from the keys."
        ) from error


def parse_trusted_key(name: str, entry: Mapping[str, Any]) -> TrustedKey:
    """Return one entry of a keyring; ValueError, KeyError or TypeError when it is none."""
    public_raw, role = bytes.fromhex(entry["public"]), entry["role"]
    is_retired = entry.get("retired", False)
    if len(public_raw) != 32 or key_id_of(public_raw) != name:
        raise ValueError(f"key {name} does not match its public half")
    if role not in get_args(Role):
        raise ValueError(f"role of {name} is {role!r}, must be one of {', '.join(get_args(Role))}")
    if type(is_retired) is not bool:
        raise ValueError(f"retired of {name} is {is_retired!r}, must be true or false")
    return TrustedKey(public_raw, cast("Role", role), is_retired)
