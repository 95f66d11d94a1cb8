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

    Any thread may offer or roll back. The control thread alone exchanges the pointers:
    `begin_chunk` when the first chunk of the one that waits is there, `swap_at_boundary` between
    episodes. No chunk mixes versions, and `active` is what moves the arm. Loading and warming a
    policy is done before it is offered; nothing here takes longer than an exchange of pointers.
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

    @property
    def next_policy(self) -> Policy:
        """The policy that the next chunk is to come from: the one that waits, or the active."""
        with self._lock:
            return self._active if self._candidate is None else self._candidate

    def begin_chunk(self, policy: Policy) -> bool:
        """Let a chunk of `policy` act from now on, exchanging the pointers if it waits.

        False when it must not act: it was recalled or withdrawn while it was thinking.
        """
        with self._lock:
            if policy is self._candidate:
                self._exchange(policy)
                return True
            return policy is self._active and not self._is_recalled

    def swap_at_boundary(self) -> Policy:
        """Exchange the pointers if a candidate waits; return the policy to use from now on."""
        with self._lock:
            if self._candidate is not None:
                self._exchange(self._candidate)
            return self._active

    def _exchange(self, candidate: Policy) -> None:
        watch = Stopwatch()
        self._previous = None if candidate is self._previous else self._active
        self._active, self._candidate = candidate, None
        self._is_recalled = False
        self._swapped += 1
        self._last_swap_s = watch.seconds()

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
