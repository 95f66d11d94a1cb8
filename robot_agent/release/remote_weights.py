"""Weights that act from another machine: no releases, so nothing here promotes or proves them."""

from collections.abc import Callable, Mapping
from typing import Any, Never

from robot_agent.core.errors import SwapRefusedError
from robot_agent.core.policy_needs import RobotOffer, require_fit
from robot_agent.models.remote_link import RemoteLink
from robot_agent.release.states import State


class RemoteWeights:
    """What a policy node with a `server` has instead of a registry; `boot` connects.

    Whoever serves the policy decides which weights act. This robot has neither their bytes nor
    their signature, so shadow, probation, promotion and roll-back are refused, each by name.
    """

    def __init__(self, connect: Callable[[], RemoteLink]) -> None:
        """Connect by `connect`, at every `boot` anew."""
        self._connect = connect
        self._link: RemoteLink | None = None

    def boot(self) -> RemoteLink:
        """Return the policy that is served, held against what this robot provides.

        Raises:
            PolicyAwayError: Nobody answers.
            InputError: The server refuses, or its policy needs what the robot lacks.
        """
        self.close()
        link = self._connect()
        try:
            require_fit(link.needs, RobotOffer(), link.version)
        except BaseException:
            link.close()
            raise
        self._link = link
        return link

    def close(self) -> None:
        """Let go of the server; it serves one robot at a time."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def state(self, version: str) -> State | None:
        """Return None: nothing here is a release."""
        del version
        return None

    def load(self, version: str) -> Never:
        """Refuse."""
        self._refuse(version, "promoted")

    def activate(self, version: str, reason: str) -> None:
        """Refuse."""
        self._refuse(f"{version} ({reason})", "activated")

    def prove(self, version: str, reason: str) -> None:
        """Refuse."""
        self._refuse(f"{version} ({reason})", "proven")

    def reject(self, version: str, reason: str) -> None:
        """Refuse."""
        self._refuse(f"{version} ({reason})", "rejected")

    def roll_back(self, reason: str, leaving: str = "") -> Never:
        """Refuse."""
        self._refuse(f"{leaving or 'a roll-back'} ({reason})", "rolled back")

    def suspend(self, reason: str) -> Never:
        """Refuse."""
        self._refuse(f"a probation ({reason})", "suspended")

    def note(self, version: str, what: str, values: Mapping[str, Any]) -> None:
        """Refuse."""
        del values
        self._refuse(f"{version} ({what})", "noted")

    def require_waiver(self, version: str, key_id: str, signature: bytes) -> Never:
        """Refuse."""
        del signature
        self._refuse(f"{version} (key {key_id})", "promoted")

    def list(self) -> list[tuple[str, str]]:
        """Return the one version that is served, as what it is."""
        return [] if self._link is None else [(self._link.version, "REMOTE")]

    def _refuse(self, what: str, done: str) -> Never:
        acting = "nothing" if self._link is None else self._link.version
        raise SwapRefusedError(
            f"{what}: cannot be {done}: {acting} acts, which runs on another machine and is no "
            f"release of this robot. Start the policy node without a server for that."
        )
