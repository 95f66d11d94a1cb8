"""The policy of a server over as many connections as it takes, for a robot that must not wait."""

import threading
from dataclasses import dataclass, replace

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import (
    ConfigError,
    InputError,
    InstructionError,
    PolicyAwayError,
)
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import Chunk, Observation
from robot_agent.models.remote_policy import RemoteConfig, RemotePolicy

REMOTE = "remote"
"""Backend of a policy that runs elsewhere, and the beginning of its version."""
DEFAULT_PORT = 8766


@dataclass(frozen=True, kw_only=True)
class ReconnectConfig:
    """How often a server that is away is called again."""

    first_s: float = 0.05
    """Before the second call; doubled at every further one."""
    longest_s: float = 0.5
    give_up_s: float = 10.0
    """A server that is away for longer ends the episode; the next one calls it again."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("first_s", self.first_s, 0.001, 60.0, "s")
        require_range("longest_s", self.longest_s, self.first_s, 60.0, "s")
        require_range("give_up_s", self.give_up_s, 0.01, 3600.0, "s")


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST`, `HOST:PORT` or `[IPV6]:PORT`; ConfigError otherwise."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or host.strip() != host or not port.isascii() or not port.isdigit():
        raise ConfigError(
            f"policy server '{text}' must be HOST, HOST:PORT or [IPV6]:PORT. "
            f"Name where this runs: robot-agent policy serve"
        )
    return host, int(port)


class RemoteLink:
    """A `Policy` that is served elsewhere. Any thread may call; one is let in at a time.

    `reset` only takes note, and `act` waits no longer than its limits, so nobody but the thread
    that infers ever waits for the network. What a connection that was lost had seen is not acted
    on: whoever asks must look again. The server must stay what it was when the robot first
    connected; another version or other needs are refused from then on.
    """

    backend = REMOTE

    def __init__(self, config: RemoteConfig, reconnect: ReconnectConfig | None = None) -> None:
        """Connect and learn what is served.

        Raises:
            PolicyAwayError: Nobody answers.
            InputError: The server refuses, or it is none of ours.
        """
        self._config, self._reconnect = config, reconnect or ReconnectConfig()
        self._remote: RemotePolicy | None = RemotePolicy(config)
        self._served, self._needs = self._remote.version, self._remote.needs
        self._lock, self._is_closed = threading.Lock(), threading.Event()
        self._wish: tuple[str, int] | None = None
        self._told: tuple[str, int] | None = None
        self._away: Stopwatch | None = None
        self._wait_s = 0.0
        self._refusal = ""

    @property
    def version(self) -> str:
        """Version of the weights there, marked as none of this robot's releases."""
        return f"{REMOTE}:{self._served}"

    @property
    def needs(self) -> PolicyNeeds:
        """What the weights there were trained with."""
        return self._needs

    def reset(self, instruction: str, seed: int) -> None:
        """Take note of what to do; the server hears it with the next observation."""
        if not instruction.strip():
            raise InputError("instruction is empty. Say what the robot shall do.")
        self._wish = instruction, seed

    def act(self, observation: Observation) -> Chunk:
        """Return the next chunk (K, 7).

        Raises:
            PolicyAwayError: The server is away, or has just come back: look again and ask again.
            InstructionError: The weights there do not know the instruction.
            InputError: The server is away for too long, serves other weights than before, or
                its answer is malformed or not finite.
        """
        with self._lock:
            try:
                return self._act(observation)
            finally:
                if self._is_closed.is_set():
                    self._let_go()

    def close(self) -> None:
        """Let go of the server: at once, or by the thread that waits for it when it returns."""
        self._is_closed.set()
        if self._lock.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._lock.release()

    @property
    def _name(self) -> str:
        return f"policy server {self._config.host}:{self._config.port}"

    def _act(self, observation: Observation) -> Chunk:
        if self._refusal:
            raise InputError(self._refusal)
        if self._remote is None:
            self._connect()
            raise PolicyAwayError(f"{self._name}: is back. Looking again.")
        chunk = self._ask(self._remote, observation)
        self._away, self._wait_s = None, 0.0
        return replace(chunk, weights_version=self.version)

    def _ask(self, remote: RemotePolicy, observation: Observation) -> Chunk:
        try:
            self._tell(remote)
            return remote.act(observation)
        except InstructionError:
            raise
        except PolicyAwayError as error:
            self._let_go()
            raise self._missed(error) from error
        except InputError:
            self._let_go()  # what else it would say belongs to no request of ours
            raise

    def _tell(self, remote: RemotePolicy) -> None:
        if self._wish is None or self._wish == self._told:
            return
        try:
            remote.reset(*self._wish)
        except PolicyAwayError:
            raise
        except InputError as error:
            raise InstructionError(str(error)) from error
        self._told = self._wish

    def _connect(self) -> None:
        """Call once more, after a pause that grows; the same weights must answer."""
        self._is_closed.wait(self._wait_s)
        self._wait_s = min(2 * self._wait_s or self._reconnect.first_s, self._reconnect.longest_s)
        if self._is_closed.is_set():
            raise InputError(f"{self._name}: the connection was closed here.")
        try:
            remote = RemotePolicy(self._config)
        except PolicyAwayError as error:
            raise self._missed(error) from error
        if (remote.version, remote.needs) == (self._served, self._needs):
            self._remote = remote
            return
        remote.close()
        what = remote.version if remote.version != self._served else "the same with other needs"
        self._refusal = (
            f"{self._name}: serves {what}, must serve {self._served} as when this node was "
            f"configured. Serve that again, or configure the node anew."
        )
        raise InputError(self._refusal)

    def _let_go(self) -> None:
        if self._remote is not None:
            self._remote.close()
        self._remote = self._told = None

    def _missed(self, error: PolicyAwayError) -> InputError:
        """Return what to raise: that the server is away, or that it is away for too long."""
        self._away = self._away or Stopwatch()
        away_s = self._away.seconds()
        if away_s <= self._reconnect.give_up_s:
            return PolicyAwayError(
                f"{self._name}: away for {away_s:.1f} s. The arm holds. {error}"
            )
        self._away, self._wait_s = None, 0.0
        return InputError(
            f"{self._name}: away for {away_s:.1f} s, limit {self._reconnect.give_up_s:g} s. "
            f"{error}"
        )
