"""Where the policy node gets weights from: the release registry, each edge recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from robot_agent.core.errors import SwapRefusedError
from robot_agent.core.protocols import Policy
from robot_agent.release.registry import Registry
from robot_agent.release.signing import load_keyring
from robot_agent.release.states import State

LoadPolicy = Callable[[Path], Policy]
"""Makes a policy from a verified bundle folder."""
KEYRING_NAME = "keyring.json"


class Weights(Protocol):
    """Versions by name. Methods may take seconds; none is called in the control loop."""

    def boot(self) -> Policy:
        """Return the policy to start with."""

    def load(self, version: str) -> Policy:
        """Return a verified policy that may be promoted; SwapRefusedError says why not."""

    def activate(self, version: str) -> None:
        """Record that `version` acts from the next boundary on."""

    def prove(self, version: str) -> None:
        """Record that an episode with `version` ended well."""

    def roll_back(self, reason: str) -> str:
        """Record the return to the previous version and name it."""

    def list(self) -> list[tuple[str, str]]:
        """Return every version with its state, oldest first."""


class ReleaseWeights:
    """Weights out of a release registry; any thread, one call at a time."""

    def __init__(
        self, releases: Path, load_policy: LoadPolicy, keyring: Path | None = None
    ) -> None:
        """Use the registry in `releases`; trust the keys in `keyring`, by default beside it."""
        self._registry = Registry(releases, load_keyring(keyring or releases / KEYRING_NAME))
        self._load_policy = load_policy

    def boot(self) -> Policy:
        """Return the policy of the current release, or of the next sound slot."""
        label = self._registry.boot()
        if not label:
            raise SwapRefusedError(
                f"{self._registry.folder}: no sound release is left, must be one. "
                f"Install one with: robot-agent weights import"
            )
        policy = self._load_policy(self._registry.path(label))
        self._registry.healthy()
        return policy

    def load(self, version: str) -> Policy:
        """Verify and load a release that has passed the gate; it is in the shadow afterwards."""
        state = self._registry.releases().states.get(version)
        if state not in (State.SANE, State.SHADOW, State.GOOD):
            raise SwapRefusedError(
                f"{version}: is {state or 'unknown'}, must be SANE, SHADOW or GOOD (it passed the "
                f"gate). List the releases with: robot-agent weights list"
            )
        self._registry.load(version)
        policy = self._load_policy(self._registry.path(version))
        if state is State.SANE:
            self._registry.advance(version, State.SHADOW)
        return policy

    def activate(self, version: str) -> None:
        """Make `version` current; a new one is in probation."""
        self._registry.activate(version)

    def prove(self, version: str) -> None:
        """End the probation of `version`; nothing changes for another state."""
        if self._registry.releases().states.get(version) is State.PROBATION:
            self._registry.advance(version, State.GOOD)

    def roll_back(self, reason: str) -> str:
        """Return to the previous or factory release and name it."""
        return self._registry.roll_back(reason)

    def list(self) -> list[tuple[str, str]]:
        """Return every version with its state, oldest first."""
        return [(item.label, item.state.value) for item in self._registry.list()]
