"""The folder of releases: slots current, previous and factory; every edge durable."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robot_agent.core.errors import BundleRejectedError, InputError, SwapRefusedError
from robot_agent.release import lineage
from robot_agent.release.bundle import Bundle
from robot_agent.release.bundle_reader import read_manifest
from robot_agent.release.depot import Depot
from robot_agent.release.journal import Journal
from robot_agent.release.manifest import Manifest
from robot_agent.release.registry_config import RegistryConfig, config_of
from robot_agent.release.signing import Keyring
from robot_agent.release.states import ROAD, ReleaseInfo, Releases, State, replay
from robot_agent.store.durable import folder_lock, storage_errors


class Registry:
    """Releases in one folder; any number of processes may use it at once.

    The journal is the only truth: a bundle without a record does not exist, and each edge is one
    record, so that a crash leaves the registry before or after an edge, never between.
    """

    def __init__(
        self, folder: Path, keyring: Keyring, config: RegistryConfig | None = None
    ) -> None:
        """Use `folder`, made when it is missing; without `config` what its registry.yaml says.

        Raises:
            ConfigError: The registry.yaml is wrong; names the key, the value and the limit.
        """
        self.folder = folder
        self._keyring = keyring
        self._config = config or config_of(folder)
        self._journal = Journal(folder / "journal.jsonl")
        self._depot = Depot(folder / "bundles", keyring)

    def publish(self, source: Path) -> str:
        """Copy a bundle here, verify the copy and record FETCHED and VERIFIED; return its label.

        Publishing the same bundle twice changes nothing.

        Raises:
            BundleRejectedError: A check failed, it has expired, its version is not newer than
                every published one, or its parent is not the current release.
            StorageError: Less space than two copies of the weights need, or the disk refused.
        """
        manifest, _ = read_manifest(source, self._keyring)
        if manifest.label not in (releases := self.releases()).states:
            lineage.require_fresh(manifest, releases, self._config.max_age_days)
        return self._take_in(source, manifest)

    def _take_in(self, source: Path, manifest: Manifest) -> str:
        label = manifest.label
        floor = round(self._config.min_free_gb * 1e9)
        if label not in self.releases().states:
            with (
                self._depot.staged(source, manifest, floor) as staging,
                self._locked() as releases,
            ):
                if label not in releases.states:
                    self._depot.shelve(staging, label)
                    self._record_state(label, State.FETCHED, manifest)
        if self.releases().states[label] is State.FETCHED:
            self.verify(label)
        return label

    def verify(self, label: str) -> Bundle:
        """Take a release from FETCHED to VERIFIED; REJECTED and an error when a check fails."""
        with self._locked() as releases:
            releases.require_state(label, State.FETCHED)
            try:
                bundle = self.load(label)
                lineage.require_newer(bundle, releases)
                lineage.require_parent(bundle, releases)
            except BundleRejectedError as error:
                self._record_state(label, State.REJECTED, reason=str(error))
                raise
            self._record_state(label, State.VERIFIED)
        return bundle

    def install_factory(self, source: Path) -> str:
        """Publish the release that everything falls back to; it is GOOD and current at once.

        A deliberate act of a person: only an operator's signature is accepted, of any age.
        """
        manifest, role = read_manifest(source, self._keyring)
        if role != "operator":
            raise BundleRejectedError(manifest.label, "signer", role, "operator")
        label = self._take_in(source, manifest)
        with self._locked() as releases:
            slots = {"current": label, "previous": releases.current, "factory": label}
            self._record_state(label, State.GOOD, slots=slots, reason="")
        return label

    def advance(self, label: str, state: State, reason: str = "") -> None:
        """Record the next state on the road, and why; PROBATION only by `activate`."""
        if state is State.PROBATION:
            raise InputError(f"{label}: PROBATION is entered by activate, not by advance.")
        with self._locked() as releases:
            index = ROAD.index(state) if state in ROAD else 0
            if index < 1:
                raise InputError(f"{label}: {state} cannot be advanced to. Use publish or reject.")
            releases.require_state(label, ROAD[index - 1])
            if state is State.GOOD and label != releases.current:
                raise SwapRefusedError(
                    f"{label}: is not current, must be current to become GOOD. Activate it first."
                )
            self._record_state(label, state, reason=reason)

    def reject(self, label: str, reason: str) -> None:
        """Record that a candidate failed; a current release is rolled back instead."""
        with self._locked() as releases:
            if label in releases.pinned:
                raise SwapRefusedError(
                    f"{label}: is in a slot, must be a candidate. "
                    f"Use: robot-agent weights roll-back"
                )
            releases.require_state(label, *ROAD[:-1])
            self._record_state(label, State.REJECTED, reason=reason)

    def activate(self, label: str, reason: str = "") -> None:
        """Make a release current: a SHADOW one enters PROBATION, a GOOD one stays GOOD.

        Raises:
            SwapRefusedError: Wrong state, version below the floor, expired, or the current release
                is itself in probation. Nothing changes.
        """
        with self._locked() as releases:
            if releases.states.get(releases.current) is State.PROBATION:
                raise SwapRefusedError(
                    f"{label}: {releases.current} is in PROBATION, must be GOOD or rolled back "
                    f"first. The active weights keep running."
                )
            state = releases.require_state(label, State.SHADOW, State.GOOD)
            lineage.require_floor(label, releases)
            if state is State.SHADOW:
                lineage.require_not_expired(label, releases, self._config.max_age_days)
            slots = {**releases.slots(), "current": label, "previous": releases.current}
            if state is State.SHADOW:
                self._record_state(label, State.PROBATION, slots=slots, reason=reason)
            elif label != releases.current:
                self._journal.append(
                    {"kind": "slots", "slots": slots, "reason": f"activate {label}"}
                )

    def trust_clock(self, reason: str) -> None:
        """Let the machine's clock count again after it ran ahead: a deliberate act of a person."""
        with self._locked():
            self._journal.append({"kind": "clock", "reason": reason})

    def note(self, label: str, what: str, values: Mapping[str, Any]) -> None:
        """Keep evidence about a release in the journal; no state changes."""
        with self._locked():
            self._journal.append(
                {"kind": "note", "label": label, "what": what, "values": dict(values)}
            )

    def roll_back(self, reason: str, leaving: str = "") -> str:
        """Return to the previous release, or the factory one; return its label.

        A deliberate local act, recorded with its reason: the only way to an older version. A
        release in probation is rejected by it, a good one stays good. With `leaving`, nothing
        happens unless that release is current: someone else was faster.
        """
        with self._locked() as releases:
            if leaving and releases.current != leaving:
                return releases.current
            return self._roll_back(releases, reason)

    def suspend(self, reason: str) -> str:
        """End a probation in good order: its release waits in SHADOW to be tried anew."""
        with self._locked() as releases:
            if releases.states.get(releases.current) is not State.PROBATION:
                return releases.current
            return self._roll_back(releases, reason, State.SHADOW)

    def boot(self) -> str:
        """Record a start; return the label to run, or "" when nothing sound is left.

        A release that was in probation when the process ended is rejected. After too many starts
        without `healthy`, or when a bundle is damaged on disk, the next slot takes over.
        """
        with self._locked() as releases:
            self._journal.append({"kind": "boot"})
            if releases.states.get(releases.current) is State.PROBATION:
                return self._roll_back(releases, "the process ended during probation")
            if releases.boots >= self._config.max_unhealthy_boots:
                return self._fall_to(releases, [releases.factory], "too many unhealthy starts")
            if self._depot.is_sound(releases.current, releases.hashes):
                return releases.current
            rest = [releases.previous, releases.factory]
            return self._fall_to(releases, rest, f"{releases.current} is damaged on disk")

    def healthy(self) -> None:
        """Record that the process started well, which resets the count of starts."""
        with self._locked() as releases:
            if releases.boots:
                self._journal.append({"kind": "healthy"})

    def current(self) -> str:
        """Return the label of the current release, or ""."""
        return self.releases().current

    def releases(self) -> Releases:
        """Return states and slots as the journal says now."""
        return replay(self._journal.read())

    def path(self, label: str) -> Path:
        """Return the folder of a release."""
        return self._depot.path(label)

    def load(self, label: str) -> Bundle:
        """Read and check a release again: the one in the journal, to the last byte."""
        return self._depot.load(label, self.releases().hashes.get(label, "in the journal"))

    def list(self) -> Sequence[ReleaseInfo]:
        """Return every release ever published, oldest first."""
        return self.releases().describe()

    def collect_garbage(self) -> Sequence[str]:
        """Delete rejected and long past releases; never a slot or a candidate. Return labels."""
        with self._locked() as releases:
            past = releases.past(self._config.keep)
            removed = [label for label in past if self._depot.remove(label)]
            self._depot.sweep()
        return removed

    @contextmanager
    def _locked(self) -> Iterator[Releases]:
        with storage_errors("changing the registry", self.folder), folder_lock(self.folder):
            yield self.releases()

    def _record_state(
        self,
        label: str,
        state: State,
        manifest: Manifest | None = None,
        *,
        slots: Mapping[str, str] | None = None,
        reason: str = "",
    ) -> None:
        record: dict[str, Any] = {"kind": "state", "label": label, "state": state.value}
        if manifest is not None:
            record |= {"version": manifest.version, "hash": manifest.hash}
            record["created"] = manifest.created
        if slots is not None:
            record["slots"] = dict(slots)
        self._journal.append({**record, "reason": reason})

    def _roll_back(self, releases: Releases, reason: str, to: State = State.REJECTED) -> str:
        left = releases.current
        rest = [releases.previous, releases.factory]
        target = self._depot.first_sound([n for n in rest if n != left], releases.hashes)
        previous = releases.factory if target != releases.factory else ""
        slots = {"current": target, "previous": previous, "factory": releases.factory}
        if releases.states.get(left) is State.PROBATION:
            self._record_state(left, to, slots=slots, reason=reason)
        elif not target:
            raise SwapRefusedError(
                f"{left}: no sound previous or factory release is left, must be one to roll back. "
                f"Install one with: robot-agent weights import"
            )
        else:
            self._journal.append(
                {"kind": "slots", "slots": slots, "reason": f"left {left}: {reason}"}
            )
        return target

    def _fall_to(self, releases: Releases, rest: Sequence[str], reason: str) -> str:
        target = self._depot.first_sound(rest, releases.hashes)
        if target != releases.current:
            slots = {**releases.slots(), "current": target}
            self._journal.append({"kind": "slots", "slots": slots, "reason": reason})
        return target
