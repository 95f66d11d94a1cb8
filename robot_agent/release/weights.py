"""Where the policy node gets weights from: the release registry, each edge recorded."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robot_agent.core.errors import (
    BaseRejectedError,
    BundleRejectedError,
    StorageError,
    SwapRefusedError,
)
from robot_agent.core.protocols import Policy
from robot_agent.release.bases import base_of
from robot_agent.release.registry import Registry
from robot_agent.release.signing import load_keyring
from robot_agent.release.states import State
from robot_agent.release.waiver import require_waiver

_LOG = logging.getLogger(__name__)
LoadPolicy = Callable[[Path], Policy]
"""Makes a policy from a verified bundle folder."""
KEYRING_NAME = "keyring.json"


class ReleaseWeights:
    """Weights out of a release registry; any thread, one call at a time."""

    def __init__(
        self, releases: Path, load_policy: LoadPolicy, keyring: Path | None = None
    ) -> None:
        """Use the registry in `releases`; trust the keys in `keyring`, by default beside it."""
        self._keyring = load_keyring(keyring or releases / KEYRING_NAME)
        self._registry = Registry(releases, self._keyring)
        self._load_policy = load_policy

    def boot(self) -> Policy:
        """Return the policy of the current release, or of the next slot that loads.

        What is damaged, or stands on a damaged base, gives way to the previous release and then
        to the factory one. The journal keeps which, why and for what. Nothing is recorded when
        none of them loads: a base that is taken in again brings back what was current.

        Raises:
            SwapRefusedError: Nothing sound is left, or none of it loads; names each failure.
        """
        label = self._registry.boot()
        if not label:
            raise SwapRefusedError(
                f"{self._registry.folder}: no sound release is left, must be one. "
                f"Install one with: robot-agent weights import"
            )
        releases = self._registry.releases()
        failures: dict[str, Exception] = {}
        for name in dict.fromkeys((label, releases.previous, releases.factory)):
            try:
                policy = self._load_unless_known(name, failures) if name else None
            except (BundleRejectedError, StorageError) as error:
                failures[name] = error
                continue
            if policy is not None:
                self._give_way(failures, name)
                self._registry.healthy()
                return policy
        found = "; ".join(f"{name}: {error}" for name, error in failures.items())
        raise SwapRefusedError(
            f"{self._registry.folder}: no release loads, one must. {found} Take the base in "
            f"again, or install another release: robot-agent weights import"
        )

    def _load_unless_known(self, label: str, failures: Mapping[str, Exception]) -> Policy:
        """Load a release; the many gigabytes of a base that is damaged are not read again."""
        folder = self._registry.path(label)
        base = base_of(folder)
        for other, error in failures.items():
            if isinstance(error, BaseRejectedError) and base == base_of(
                self._registry.path(other)
            ):
                raise error
        return self._load_policy(folder)

    def _give_way(self, failures: Mapping[str, Exception], loaded: str) -> None:
        """Record that what does not load was left for what does, if anything was."""
        for label, error in failures.items():
            _LOG.error("%s does not load, %s acts instead: %s", label, loaded, error)
            self._registry.note(
                label, "does not load", {"acts instead": loaded, "why": str(error)}
            )
            if self._registry.current() != loaded:
                self._registry.roll_back(f"does not load: {error}", leaving=label)

    def state(self, version: str) -> State | None:
        """Return the state of `version`; None when it is unknown."""
        return self._registry.releases().states.get(version)

    def load(self, version: str) -> Policy:
        """Verify and load a release that has passed the gate; it is in the shadow afterwards."""
        state = self.state(version)
        if state not in (State.SANE, State.SHADOW, State.GOOD):
            raise SwapRefusedError(
                f"{version}: is {state or 'unknown'}, must be SANE, SHADOW or GOOD (it passed the "
                f"gate). List the releases with: robot-agent weights list; one that is VERIFIED "
                f"goes before the gate with: robot-agent weights gate {version}"
            )
        self._registry.load(version)
        policy = self._load_policy(self._registry.path(version))
        if state is State.SANE:
            self._registry.advance(version, State.SHADOW)
        return policy

    def activate(self, version: str, reason: str) -> None:
        """Make `version` current; a new one is in probation."""
        self._registry.activate(version, reason)

    def prove(self, version: str, reason: str) -> None:
        """End the probation of `version`."""
        self._registry.advance(version, State.GOOD, reason)

    def reject(self, version: str, reason: str) -> None:
        """Record that a candidate failed before it acted."""
        self._registry.reject(version, reason)

    def roll_back(self, reason: str, leaving: str = "") -> str:
        """Return to the previous or factory release and name what is current then."""
        return self._registry.roll_back(reason, leaving)

    def suspend(self, reason: str) -> str:
        """End a probation in good order; its release waits in SHADOW. Name what is current."""
        return self._registry.suspend(reason)

    def note(self, version: str, what: str, values: Mapping[str, Any]) -> None:
        """Record evidence about `version`."""
        self._registry.note(version, what, values)

    def require_waiver(self, version: str, key_id: str, signature: bytes) -> str:
        """Return who lets `version` act at once; SwapRefusedError when nobody may."""
        return require_waiver(self._keyring, version, key_id, signature)

    def list(self) -> list[tuple[str, str]]:
        """Return every version with its state, oldest first."""
        return [(item.label, item.state.value) for item in self._registry.list()]
