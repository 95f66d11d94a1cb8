"""The slot that holds the weights in use: a pointer that changes only at a boundary."""

import threading
from dataclasses import dataclass

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import SwapRefusedError
from robot_agent.core.protocols import Policy


@dataclass(frozen=True)
class SlotStatus:
    """What the slot holds and has done."""

    active: str
    candidate: str
    """Version that waits for the next boundary; empty when none."""
    previous: str
    offered: int
    swapped: int
    rolled_back: int
    last_swap_s: float
    """Duration of the newest pointer exchange [s]; 0 before the first."""


class PolicySlot:
    """Active, candidate and previous policies.

    Any thread may offer or roll back. The control thread alone calls `swap_at_boundary`, between
    chunks or episodes, and keeps the returned policy until it calls again: no chunk mixes
    versions. Loading and warming a policy is done before it is offered; nothing here takes longer
    than an exchange of pointers.
    """

    def __init__(self, active: Policy) -> None:
        """Begin with `active`, already loaded."""
        self._lock = threading.Lock()
        self._active = active
        self._candidate: Policy | None = None
        self._previous: Policy | None = None
        self._offered = self._swapped = self._rolled_back = 0
        self._last_swap_s = 0.0
        self._is_recalled = False

    @property
    def active(self) -> Policy:
        """The policy that the next chunk comes from unless a boundary changes it first."""
        with self._lock:
            return self._active

    @property
    def candidate(self) -> Policy | None:
        """The policy that waits, for shadow runs; None when none waits."""
        with self._lock:
            return self._candidate

    @property
    def is_recalled(self) -> bool:
        """Whether the active weights must not act any more: the chunk under way ends here."""
        with self._lock:
            return self._is_recalled

    def offer(self, policy: Policy) -> None:
        """Let `policy` take over at the next boundary; a newer offer replaces a waiting one.

        An offer of the active version while another one waits means to stay: the waiting one is
        dropped.

        Raises:
            SwapRefusedError: Its version is the active one, and none waits.
        """
        with self._lock:
            if policy.version == self._active.version:
                if self._candidate is not None:
                    self._candidate, self._is_recalled = None, False
                    return
                raise SwapRefusedError(
                    f"{policy.version}: is active already, must be another version. "
                    f"Nothing changed."
                )
            self._candidate = policy
            self._offered += 1

    def withdraw(self) -> bool:
        """Take back a waiting offer; return whether there was one."""
        with self._lock:
            waited, self._candidate = self._candidate is not None, None
            self._is_recalled = False
            return waited

    def swap_at_boundary(self) -> Policy:
        """Exchange the pointers if a candidate waits; return the policy to use from now on."""
        with self._lock:
            if self._candidate is not None:
                watch = Stopwatch()
                is_return = self._candidate is self._previous
                self._previous = None if is_return else self._active
                self._active, self._candidate = self._candidate, None
                self._is_recalled = False
                self._swapped += 1
                self._last_swap_s = watch.seconds()
            return self._active

    def roll_back(self) -> None:
        """Let the previous policy take over with the next action; a waiting offer is dropped.

        The weights that were left are forgotten: a second roll-back never returns to them.

        Raises:
            SwapRefusedError: There is no previous policy.
        """
        with self._lock:
            if self._previous is None:
                raise SwapRefusedError(
                    f"{self._active.version}: has no previous policy in memory, must have one to "
                    f"roll back. Load one with: robot-agent weights roll-back"
                )
            self._candidate, self._is_recalled = self._previous, True
            self._rolled_back += 1

    def turn_to(self, version: str) -> None:
        """Let `version`, active or previous, act from the next episode on; both are kept.

        For weights that take turns. Only between episodes, by the thread that runs them.

        Raises:
            SwapRefusedError: It is neither of the two, or an offer waits.
        """
        with self._lock:
            if self._candidate is not None:
                raise SwapRefusedError(
                    f"{version}: {self._candidate.version} waits to act, must be in before "
                    f"weights take turns. Nothing changed."
                )
            if version == self._active.version:
                return
            if self._previous is None or version != self._previous.version:
                raise SwapRefusedError(
                    f"{version}: is neither active nor previous, must be one of them to take "
                    f"turns. Nothing changed."
                )
            self._active, self._previous = self._previous, self._active
            self._swapped += 1

    def leave(self, version: str) -> None:
        """Let `version` act no more: forget it, and roll back at once when it is active."""
        with self._lock:
            if self._candidate is not None and self._candidate.version == version:
                self._candidate = None
            if self._active.version == version and self._previous is not None:
                self._candidate, self._is_recalled = self._previous, True
                self._rolled_back += 1
            elif self._previous is not None and self._previous.version == version:
                self._previous = None

    def status(self) -> SlotStatus:
        """Return versions and counters, as one consistent picture."""
        with self._lock:
            return SlotStatus(
                active=self._active.version,
                candidate=self._candidate.version if self._candidate else "",
                previous=self._previous.version if self._previous else "",
                offered=self._offered,
                swapped=self._swapped,
                rolled_back=self._rolled_back,
                last_swap_s=self._last_swap_s,
            )
