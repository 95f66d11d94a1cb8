"""One candidate on its way to GOOD: shadow, probation in pairs, verdict; the wired decisions."""

import threading
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import InputError, SwapRefusedError
from robot_agent.core.protocols import Policy
from robot_agent.core.types import FloatArray
from robot_agent.release.probation import Probation, Verdict
from robot_agent.release.road import (
    TAKEOVER,
    Progress,
    PromotionConfig,
    Stage,
    Weights,
    is_safety_event,
    spell,
)
from robot_agent.release.shadow import Shadow
from robot_agent.release.states import State


class Promotion:
    """Decides what acts in the next episode; any thread may call, one at a time gets in.

    The registry is the truth and is written first where new weights gain something, and last
    where they lose it: a crash in between leaves too little trust, never too much.
    """

    def __init__(self, weights: Weights, slot: PolicySlot, config: PromotionConfig) -> None:
        """Begin with nothing to prove."""
        self._weights, self._slot, self._config = weights, slot, config
        self._lock = threading.RLock()
        self._candidate: Policy | None = None
        self._shadow: Shadow | None = None
        self._pair: tuple[Policy, Policy] | None = None
        self._probation = Probation(config.probation)
        self._stage = Stage.NONE
        self._told = ""
        self._turn: bool | None = None
        self._is_running = False
        self._causes: frozenset[str] = frozenset()
        self._times: deque[tuple[str, float]] = deque(maxlen=100_000)
        self.progress = Progress()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one thread in; when it leaves, readers see what it did without waiting for it."""
        with self._lock:
            try:
                yield
            finally:
                self.progress = Progress(
                    self._stage,
                    self._label,
                    self._words(),
                    self._stage is Stage.PROBATION and not self._probation.next_is_new,
                    self._config.probation.speed if self._pair is not None else 1.0,
                )

    @property
    def candidate(self) -> Policy | None:
        """The weights in the shadow; None in every other stage."""
        return self._candidate if self._stage is Stage.SHADOW else None

    @property
    def _label(self) -> str:
        if self._pair is not None:
            return self._pair[0].version
        return self._candidate.version if self._candidate is not None else ""

    def _words(self) -> str:
        if self._stage is Stage.SHADOW and self._shadow is not None:
            seen, wanted = self._shadow.observations, self._config.shadow.min_observations
            return f"{self._label}: shadow, {seen} of {wanted} observations"
        if self._stage is Stage.PROBATION:
            return f"{self._label}: probation, {self._probation.verdict()[1]}"
        return self._told

    # --- on the way ------------------------------------------------------------------------------

    def begin(self, policy: Policy) -> str:
        """Put a loaded candidate into the shadow; one that was there is rejected. Return words.

        Raises:
            SwapRefusedError: Other weights are on probation.
        """
        with self._changing():
            self.require_free(policy.version)
            self.drop(f"replaced in the shadow by {policy.version}")
            limits = self._config.shadow
            self._weights.note(policy.version, "shadow begins", vars(limits))
            self._candidate, self._shadow = policy, Shadow(limits)
            self._stage = Stage.SHADOW
            return self._words()

    def require_free(self, version: str) -> None:
        """Raise SwapRefusedError while other weights are on probation."""
        if self._pair is not None:
            raise SwapRefusedError(
                f"{version}: {self._label} is in PROBATION, must be GOOD or rolled back first. "
                f"{self._words()}"
            )

    def drop(self, reason: str, version: str = "", but: str = "") -> None:
        """Reject what is in the shadow, if it is `version`; `but` only leaves it."""
        with self._changing():
            if self._candidate is None or version not in ("", self._label):
                return
            label = self._label
            self._clear(f"{label}: refused, {reason}")
            if label != but and self._weights.state(label) is not State.REJECTED:
                self._weights.reject(label, reason)

    def compare(
        self,
        versions: tuple[str, str],
        active: FloatArray,
        candidate: FloatArray,
        seconds: tuple[float, float],
    ) -> None:
        """Take both answers (K, 7) to one observation, and the seconds that each took.

        Enough of them arm the candidate, or reject it with the check that failed.
        """
        with self._changing():
            shadow = self._shadow
            if shadow is None or versions != (self._slot.active.version, self._label):
                return
            try:
                shadow.add(active, candidate, seconds)
            except InputError as error:
                self.drop(f"shadow: {error}")
                return
            if shadow.is_complete:
                self._judge_shadow(shadow)

    def _judge_shadow(self, shadow: Shadow) -> None:
        report, label = shadow.report(), self._label
        values = {check.name: spell(check) for check in report.checks}
        self._weights.note(label, "shadow ends", {"passed": report.passed, **values})
        if report.first_failure is not None:
            self.drop(f"shadow: {spell(report.first_failure)}")
            return
        self._shadow, self._stage = None, Stage.ARMED
        self._told = f"{label}: not refused in the shadow; on probation from the next episode on"

    def begin_episode(self) -> None:
        """Let the weights act whose turn it is; called before an episode, by its thread."""
        with self._changing():
            self.follow()
            self.settle()
            self._turn, self._is_running = None, True
            if self._stage is Stage.ARMED:
                self._begin_probation()
            if self._pair is None:
                return
            is_new = self._stage is Stage.PROVEN or self._probation.next_is_new
            self._slot.turn_to(self._pair[not is_new].version)
            self._turn = is_new

    def _begin_probation(self) -> None:
        candidate, previous = self._candidate, self._slot.active
        assert candidate is not None
        try:
            self._weights.activate(candidate.version, self._told)
        except SwapRefusedError as error:
            self.drop(str(error))
            return
        self._slot.offer(candidate)
        self._slot.swap_at_boundary()
        self._candidate, self._pair = None, (candidate, previous)
        self._probation = Probation(self._config.probation)
        self._stage = Stage.PROBATION
        self._times.clear()

    def end_episode(self) -> None:
        """Note that nothing is proposed any more."""
        with self._changing():
            self._is_running = False

    def report(self, version: str, outcome: str, judged_by: str) -> str:
        """Take the outcome of the last episode, and carry out what it decides; return words.

        Only success and failure count; after anything else the same weights act again. An outcome
        counts once, and only that of the weights whose turn it was.
        """
        with self._changing():
            turn, self._turn = self._turn, None
            if self._pair is None or turn is None or self._stage is not Stage.PROBATION:
                return self._words()
            if version != self._pair[not turn].version or outcome not in ("success", "failure"):
                return f"{self._words()}; an episode that ended in '{outcome}' does not count"
            self._probation.add_episode(is_new=turn, succeeded=outcome == "success")
            facts = {"acted": version, "outcome": outcome, "judged_by": judged_by}
            self._weights.note(self._label, "episode", facts)
            return self.settle()

    def add_latency(self, version: str, seconds: float) -> None:
        """Take the time of an inference of the acting weights; never waits."""
        if self._pair is not None:
            self._times.append((version, seconds))

    def hear_guard(self, causes: Collection[str], *, is_operator: bool) -> bool:
        """Take what the guard says; return whether it was a safety event of the new weights.

        Then they are recalled already, before this returns; `settle` writes it down and may take
        as long as a disk. Only what is new since the last call counts.
        """
        with self._changing():
            now = frozenset(causes) | ({TAKEOVER} if is_operator else frozenset())
            fresh, self._causes = now - self._causes, now
            events = sorted(filter(is_safety_event, fresh - set(self._config.excused)))
            if not events or self._pair is None or not (self._is_running and self._turn):
                return False
            self._slot.leave(self._label)
            self._probation.add_safety_event(", ".join(events))
            return True

    # --- verdicts --------------------------------------------------------------------------------

    def settle(self) -> str:
        """Carry out what the probation says now; return words."""
        with self._changing():
            if self._pair is None:
                return self._told
            while self._times:
                version, seconds = self._times.popleft()
                is_new = version == self._label
                self._probation.add_latency(is_new=is_new, milliseconds=seconds * 1e3)
            verdict, reason = self._probation.verdict()
            if verdict is Verdict.ROLL_BACK:
                return self.leave(reason)
            if verdict is Verdict.STAY and self._stage is Stage.PROBATION:
                self._stage = Stage.PROVEN
                self._told = (
                    f"{self._label}: {reason}. Let it stay with: robot-agent weights approve "
                    f"{self._label}"
                )
                if self._config.approved_by:
                    return self.approve(self._label, self._config.approved_by)
            return self._told if self._stage is Stage.PROVEN else self._words()

    def approve(self, version: str, person: str) -> str:
        """Let weights stay that are not worse; return words.

        Raises:
            SwapRefusedError: `version` is not proven yet, or nobody is named.
        """
        with self._changing():
            self.settle()  # a safety event may have come after the last episode
            if self._pair is None or self._stage is not Stage.PROVEN or version != self._label:
                raise SwapRefusedError(
                    f"{version}: must have passed its probation to be approved. "
                    f"{self._words() or 'Nothing is on probation.'}"
                )
            if not person:
                raise SwapRefusedError(f"{version}: approved by nobody, must name a person.")
            reason = self._probation.verdict()[1]
            self._weights.prove(version, f"{reason}; approved by {person}")
            self._slot.turn_to(version)
            self._clear(f"{version}: GOOD, {reason}; approved by {person}")
            return self._told

    def leave(self, reason: str) -> str:
        """Recall what is on probation, then write it down; return words, or "" when nothing is."""
        with self._changing():
            if self._pair is None:
                return ""
            label, previous = self._label, self._pair[1]
            self._slot.leave(label)
            if not self._is_running:
                self._slot.swap_at_boundary()
            self._clear(f"{label}: rolled back, {reason}")
            sound = self._weights.roll_back(reason, leaving=label)
            if sound not in ("", label, previous.version):  # the previous is damaged on disk
                self._slot.offer(self._weights.load(sound))
            return self._told

    def follow(self) -> None:
        """Obey what another process wrote into the registry: a veto or a roll-back."""
        with self._changing():
            label = self._label
            is_vetoed = bool(label) and self._weights.state(label) is State.REJECTED
            if is_vetoed and not self.leave("vetoed"):
                self._clear(f"{label}: vetoed")

    def close(self) -> None:
        """End in good order: what is on probation is not rejected, and has proved nothing."""
        with self._changing():
            if self._pair is not None:
                self._weights.suspend("the policy node ended during probation")
            self._clear("")

    def _clear(self, told: str) -> None:
        self._candidate = self._shadow = self._pair = self._turn = None
        self._stage, self._told = Stage.NONE, told
