"""The life of a release as a pure function of the journal: states, slots, version floor."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from robot_agent.core.errors import SwapRefusedError


class State(StrEnum):
    """How far a release has been proved."""

    FETCHED = "FETCHED"
    """Copied here whole."""
    VERIFIED = "VERIFIED"
    """Signature, hashes, schema, version and parent are right."""
    LOADED = "LOADED"
    """Another process has loaded it."""
    SANE = "SANE"
    """It passed the gate."""
    SHADOW = "SHADOW"
    """It runs beside the active weights and moves nothing."""
    PROBATION = "PROBATION"
    """It drives the arm and is being watched."""
    GOOD = "GOOD"
    """It has proved itself; a crash comes back to it."""
    REJECTED = "REJECTED"
    """It failed; it never runs again."""


ROAD = (
    State.FETCHED,
    State.VERIFIED,
    State.LOADED,
    State.SANE,
    State.SHADOW,
    State.PROBATION,
    State.GOOD,
)
"""The only order in which a release is promoted."""


@dataclass(frozen=True)
class ReleaseInfo:
    """One line of the list of releases."""

    label: str
    version: int
    state: State
    slots: tuple[str, ...]
    """Which of current, previous and factory it is."""
    reason: str
    """Why it was rejected or left; empty otherwise."""


@dataclass
class Releases:
    """What the journal says so far."""

    states: dict[str, State] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a release was rejected or left."""
    history: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    """Of each release, oldest first: when (UTC), which edge or what evidence, and its words."""
    current: str = ""
    previous: str = ""
    factory: str = ""
    min_version: int = 0
    """Version of the newest release that became GOOD; older ones never come back by themselves."""
    created: dict[str, str] = field(default_factory=dict)
    """When each release was signed (UTC), by the signer's clock."""
    latest_at: str = ""
    """The latest time that this registry has seen (UTC): its clock never goes back behind it."""
    newest_at: str = ""
    """Wall-clock time at which the newest release came, UTC; a registry that is kept from news
    shows it here."""
    boots: int = 0
    """Starts since the last one that was marked healthy."""

    @property
    def newest_version(self) -> int:
        """Highest version ever published."""
        return max(self.versions.values(), default=0)

    @property
    def pinned(self) -> set[str]:
        """Releases that must never be deleted."""
        return {label for label in self.slots().values() if label}

    def slots(self) -> dict[str, str]:
        """Return the labels in the slots by name."""
        return {"current": self.current, "previous": self.previous, "factory": self.factory}

    def require_state(self, label: str, *wanted: State) -> State:
        """Return the state of a release; SwapRefusedError unless it is one of `wanted`."""
        state = self.states.get(label)
        if state is None or state not in wanted:
            raise SwapRefusedError(
                f"{label}: is {state or 'unknown'}, must be {' or '.join(wanted)}. "
                f"List the releases with: robot-agent weights list"
            )
        return state

    def past(self, keep: int) -> list[str]:
        """Return what may be deleted: rejected, or GOOD but in no slot and not the last `keep`."""
        good = [name for name, state in self.states.items() if state is State.GOOD]
        kept = self.pinned | set(good[len(good) - keep :] if keep else ())
        done = (State.GOOD, State.REJECTED)
        return [n for n, state in self.states.items() if state in done and n not in kept]

    def describe(self) -> list[ReleaseInfo]:
        """Return every release ever published, oldest first."""
        slots = self.slots()
        return [
            ReleaseInfo(
                label,
                self.versions[label],
                state,
                tuple(name for name, held in slots.items() if held == label),
                self.reasons.get(label, ""),
            )
            for label, state in self.states.items()
        ]

    def take(self, record: Mapping[str, Any]) -> None:
        """Apply one record."""
        kind, label, at = record["kind"], str(record.get("label", "")), str(record.get("at", ""))
        self.latest_at = at if kind == "clock" else max(self.latest_at, at)
        if label:
            self._remember(label, record)
        if kind == "state":
            self._take_state(label, State(record["state"]), record)
        elif kind == "slots":
            # Journals used to hold the slots beside the chain's own field of the name "previous".
            self._take_slots(record.get("slots", {**record, "previous": ""}))
        elif kind == "boot":
            self.boots += 1
        elif kind == "healthy":
            self.boots = 0

    def _remember(self, label: str, record: Mapping[str, Any]) -> None:
        what = str(record.get("state") or record.get("what", ""))
        values = record.get("values", {})
        words = record.get("reason") or "; ".join(f"{name}: {v}" for name, v in values.items())
        line = (str(record.get("at", "")), what, str(words))
        self.history.setdefault(label, []).append(line)

    def _take_slots(self, slots: Mapping[str, Any]) -> None:
        self.current, self.previous = slots["current"], slots["previous"]
        self.factory = slots["factory"]

    def _take_state(self, label: str, state: State, record: Mapping[str, Any]) -> None:
        self.states[label] = state
        if "version" in record:
            self.versions[label], self.hashes[label] = record["version"], record["hash"]
            self.newest_at = str(record.get("at", ""))
            # Journals used not to hold it; such releases were not older when they came.
            self.created[label] = str(record.get("created", self.newest_at))
        if record.get("reason"):
            self.reasons[label] = record["reason"]
        if "slots" in record:
            self._take_slots(record["slots"])
        if state is State.GOOD:
            self.min_version = max(self.min_version, self.versions[label])


def replay(records: Iterable[Mapping[str, Any]]) -> Releases:
    """Return what all records together say."""
    releases = Releases()
    for record in records:
        releases.take(record)
    return releases
