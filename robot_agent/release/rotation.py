"""Key rotation: an operator signs which key comes and goes; a change fits one keyring only."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from robot_agent.core.errors import ConfigError
from robot_agent.release.signing import (
    Keyring,
    SigningKey,
    TrustedKey,
    key_id_of,
    keyring_bytes,
    parse_trusted_key,
    save_keyring,
)
from robot_agent.store.durable import folder_lock, storage_errors
from robot_agent.store.strict_json import canonical_json, parse_json_object

SCHEMA = 1
_MAX_BYTES = 1 << 16
_FIELDS = {"schema", "keyring", "key_id", "add", "retire"}


def make_change(
    keyring: Keyring,
    operator: SigningKey,
    *,
    add: Collection[TrustedKey] = (),
    retire: Collection[str] = (),
) -> tuple[bytes, bytes]:
    """Return a change of exactly this keyring, and the operator's signature over it."""
    content = canonical_json(
        {
            "schema": SCHEMA,
            "keyring": _hash(keyring),
            "key_id": operator.key_id,
            "add": {
                key_id_of(key.public_raw): {"public": key.public_raw.hex(), "role": key.role}
                for key in add
            },
            "retire": sorted(retire),
        }
    )
    return content, operator.sign(content)


def changed_keyring(keyring: Keyring, content: bytes, signature: bytes) -> dict[str, TrustedKey]:
    """Return the keyring after a signed change.

    A change names the keyring that it was made for, so none can be replayed, reordered or held
    back and used later. A retired key still proves releases that were taken in before; it signs
    nothing new and never comes back.

    Raises:
        ConfigError: The signature is by no operator, or the change does not fit; says what, the
            value and the limit. Nothing changes.
    """
    fields = _parsed(content)
    signer = keyring.get(str(fields["key_id"]))
    if signer is None or signer.is_retired or signer.role != "operator":
        raise _refused("key_id", fields["key_id"], "an operator's key that is in use")
    if not signer.has_signed(content, signature):
        raise _refused("signature", "invalid", f"by key {fields['key_id']}")
    if fields["keyring"] != _hash(keyring):
        raise _refused("keyring", fields["keyring"], f"{_hash(keyring)}, the present one")
    added = _added(fields["add"])
    if known := sorted(added.keys() & keyring.keys()):
        raise _refused("add", known[0], "a key that was never in the keyring")
    if unknown := sorted(set(fields["retire"]) - keyring.keys()):
        raise _refused("retire", unknown[0], "a key in the keyring")
    after = {**keyring, **added}
    for key_id in fields["retire"]:
        after[key_id] = TrustedKey(after[key_id].public_raw, after[key_id].role, is_retired=True)
    if not any(key.role == "operator" and not key.is_retired for key in after.values()):
        raise _refused("retire", "the last operator", "leave one operator's key in use")
    return after


def apply_change(path: Path, content: bytes, signature: bytes) -> dict[str, TrustedKey]:
    """Change the keyring at `path` by one atomic rename; return it. Errors as above."""
    from robot_agent.release.signing import load_keyring

    with storage_errors("changing the keyring", path), folder_lock(path.parent):
        after = changed_keyring(load_keyring(path), content, signature)
        save_keyring(path, after)
    return after


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        fields = parse_json_object(content, _MAX_BYTES)
    except ValueError as error:
        raise _refused("content", error, "canonical JSON") from error
    is_known = set(fields) == _FIELDS and fields["schema"] == SCHEMA
    fits = (
        is_known
        and canonical_json(fields) == content
        and isinstance(fields["add"], dict)
        and isinstance(fields["retire"], list)
        and all(isinstance(key_id, str) for key_id in fields["retire"])
    )
    if not fits:
        raise _refused("fields", sorted(fields), f"{sorted(_FIELDS)} of schema {SCHEMA}")
    return fields


def _added(entries: Mapping[str, Any]) -> dict[str, TrustedKey]:
    try:
        return {name: parse_trusted_key(name, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused("add", error, "public keys by their ids") from error


def _refused(what: str, value: object, limit: str) -> ConfigError:
    return ConfigError(
        f"keyring change: {what} is {value}, must be {limit}. The keyring stays as it is; "
        f"make the change again with: robot-agent weights keys"
    )


def _hash(keyring: Keyring) -> str:
    return hashlib.sha256(keyring_bytes(keyring)).hexdigest()
