"""A waiver: an operator signs that one release acts without shadow and probation."""

from robot_agent.core.errors import SwapRefusedError
from robot_agent.release.signing import Keyring, SigningKey

_WORDS = "robot_agent: release %s acts without shadow and probation"


def waiver_bytes(label: str) -> bytes:
    """Return what an operator signs to let the release `label` act at once."""
    return (_WORDS % label).encode()


def sign_waiver(label: str, operator: SigningKey) -> bytes:
    """Return the operator's signature; it holds for this release alone."""
    return operator.sign(waiver_bytes(label))


def require_waiver(keyring: Keyring, label: str, key_id: str, signature: bytes) -> str:
    """Return in words who released `label`.

    Raises:
        SwapRefusedError: The key is no operator's in use, or the signature is of something else.
    """
    remedy = "Promote it without --skip-probation, or sign with an operator's key."
    key = keyring.get(key_id)
    if key is None or key.role != "operator" or key.is_retired:
        role = "unknown" if key is None else "retired" if key.is_retired else f"a {key.role}'s"
        raise SwapRefusedError(
            f"{label}: key {key_id or 'none'} is {role}, must be an operator's in use to skip "
            f"the probation. {remedy}"
        )
    if not key.has_signed(waiver_bytes(label), signature):
        raise SwapRefusedError(
            f"{label}: the signature is not by key {key_id} over this release, must be. {remedy}"
        )
    return f"shadow and probation skipped, released by operator key {key_id}"
