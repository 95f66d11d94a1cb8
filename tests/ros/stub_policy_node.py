"""The real policy node with weights that are a line of JSON: small steps, tagged by version.

A version file holds {"step_m": 0.005, "act_s": 0.01, "kind": "steady"}. Kinds: steady moves the
tool up and down, nan holds a number that is not one, slow sleeps `act_s` in `act`. With "replay",
a list of actions for each seed, it says those whatever it sees, and then nothing but zeros.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import InputError, SwapRefusedError
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import Chunk, Observation
from robot_agent.release.states import State
from robot_agent.ros import policy

KNOWN = ("open the drawer", "close the drawer")


class StubPolicy:
    """Moves the tool up in even chunks and down in odd ones."""

    def __init__(self, version: str, facts: dict[str, Any]) -> None:
        self._version, self._facts, self._count = version, facts, 0
        self._replay: list[list[float]] = []

    @property
    def version(self) -> str:
        return self._version

    @property
    def needs(self) -> PolicyNeeds:
        return PolicyNeeds(**self._facts.get("needs", {}))

    def reset(self, instruction: str, seed: int) -> None:
        if instruction not in KNOWN:
            raise InputError(f"instruction '{instruction}' is unknown. Choose one of: {KNOWN}.")
        self._count = seed % 2
        self._replay = list(self._facts.get("replay", {}).get(str(seed), []))

    def act(self, observation: Observation) -> Chunk:
        clock = SystemClock()
        clock.sleep_until(clock.now_ns() + round(self._facts.get("act_s", 0.0) * 1e9))
        actions = np.zeros((5, 7))
        actions[:, 2] = self._facts.get("step_m", 0.005) * (1 if self._count % 2 == 0 else -1)
        actions[:, 6] = 1.0
        if "replay" in self._facts:
            now, self._replay = self._replay[:5], self._replay[5:]
            actions = np.array(now + [[0.0] * 6 + [1.0]] * (5 - len(now)))
        if self._facts.get("kind") == "nan":
            actions[2, 0] = np.nan
        self._count += 1
        return Chunk(actions, self._version, self._count, observation.stamp_ns)


class StubWeights:
    """Versions as JSON files in a folder; `current` names the first.

    Those that say {"state": "SANE"} must be proven; what happens to them goes into `events`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._history: list[str] = []

    def _facts(self, version: str) -> dict[str, Any]:
        path = self._folder / f"{version}.json"
        if not path.is_file():
            raise SwapRefusedError(f"{version}: is unknown. The active weights keep running.")
        return dict(json.loads(path.read_text()))

    def _say(self, *words: str) -> None:
        with (self._folder / "events").open("a") as file:
            file.write(" ".join(words) + "\n")

    def boot(self) -> StubPolicy:
        self._history.append((self._folder / "current").read_text().strip())
        return self.load(self._history[-1])

    def state(self, version: str) -> State | None:
        return State(self._facts(version).get("state", "GOOD"))

    def load(self, version: str) -> StubPolicy:
        return StubPolicy(version, self._facts(version))

    def activate(self, version: str, reason: str) -> None:
        self._say("activate", version, reason)
        self._history.append(version)

    def prove(self, version: str, reason: str) -> None:
        self._say("prove", version, reason)

    def reject(self, version: str, reason: str) -> None:
        self._say("reject", version, reason)

    def note(self, version: str, what: str, values: Mapping[str, Any]) -> None:
        self._say("note", version, what, json.dumps(dict(values)))

    def require_waiver(self, version: str, key_id: str, signature: bytes) -> str:
        raise SwapRefusedError(f"{version}: nobody may skip its probation.")

    def roll_back(self, reason: str, leaving: str = "") -> str:
        if len(self._history) < 2:
            raise SwapRefusedError(f"no previous version to roll back to ({reason}).")
        self._say("roll_back", self._history.pop(), reason)
        return self._history[-1]

    def suspend(self, reason: str) -> str:
        self._say("suspend", self._history.pop(), reason)
        return self._history[-1]

    def list(self) -> list[tuple[str, str]]:
        return [(path.stem, "GOOD") for path in sorted(self._folder.glob("*.json"))]


if __name__ == "__main__":
    raise SystemExit(policy.main(lambda config: StubWeights(Path(config.releases)), sys.argv[1:]))
