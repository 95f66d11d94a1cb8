"""Starts the processes of the agent, brings the lifecycle nodes up, watches and ends them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import environment
from robot_agent.ros.calls import ACTIVATE, ACTIVE, CONFIGURE, INACTIVE, UNCONFIGURED
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, NodeProcess, farewell, processes
from robot_agent.ros.process import PARENT_VARIABLE

_GRACE_S = 5.0
_MAX_RESTARTS = 3
_PATIENCE_S, _RETRY_S = 30.0, 0.25
"""How long a node may wait for its inputs, such as joint states of a driver that still starts."""
_WATCH_S = 0.5
_CHANGE_S, _LOADING_S = 60.0, 600.0
"""How long a change of state may take; configuring reads weights, a base has many gigabytes."""


class Agent:
    """The running set of processes; use it in a `with` block, from one thread.

    A process that dies is started again, at most three times, and a lifecycle node among them
    comes back inactive: what made it die may still be there, so the caller activates it.
    """

    def __init__(
        self,
        options: AgentOptions,
        nodes: Sequence[NodeProcess] | None = None,
        *,
        domain_id: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Describe what to start; `say` hears progress in words."""
        self.options, self._say, self._domain_id = options, say, domain_id
        self._nodes = tuple(nodes if nodes is not None else processes(options))
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts: dict[str, int] = {}
        self._is_ending = threading.Event()
        self._watcher: threading.Thread | None = None
        self.client: AgentClient | None = None
        self._claim: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Start everything and return when the agent is ready."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything."""
        self.stop()

    def log_path(self, name: str) -> Path:
        """Return the log of a process."""
        return self.options.folder / "logs" / f"{name}.log"

    def pid(self, name: str) -> int:
        """Return the process id of a node."""
        return self._children[name].pid

    def start(self) -> None:
        """Start the processes, then configure and activate the lifecycle nodes in order.

        Raises:
            ArmFaultError: Another agent runs here already, or a node did not come up; names it
                and the end of its log.
        """
        environment.prepare()
        self.log_path("x").parent.mkdir(parents=True, exist_ok=True)
        domain = environment.domain_id() if self._domain_id is None else self._domain_id
        self._claim = environment.claim(self.options.namespace, domain)
        self.client = AgentClient(self.options.namespace, self._domain_id)
        for node in self._nodes:
            self._spawn(node)
        for node in self._nodes:
            if node.is_lifecycle:
                self._bring_up(node)
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()
        self._say("the agent is ready")

    def stop(self) -> None:
        """End every process, last started first; kill what does not follow in 5 seconds."""
        self._is_ending.set()
        if self._watcher is not None:
            self._watcher.join(2 * _WATCH_S + 1.0)
            self._watcher = None
        if self.client is not None:
            self.client.close()
            self.client = None
        for child in reversed(self._children.values()):
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        for name, child in self._children.items():
            try:
                child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._say(f"{name} did not end within {_GRACE_S:.0f} s and is killed")
                child.kill()
                child.wait()
        self._children.clear()
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _spawn(self, node: NodeProcess) -> None:
        variables = dict(os.environ) | {PARENT_VARIABLE: str(os.getpid())}
        variables.setdefault("OMP_NUM_THREADS", "1")
        if self._domain_id is not None:
            variables["ROS_DOMAIN_ID"] = str(self._domain_id)
        with self.log_path(node.name).open("ab") as log:
            self._children[node.name] = subprocess.Popen(
                node.arguments(self.options.namespace, self.options.params_file),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
            )

    def _bring_up(self, node: NodeProcess) -> None:
        """Configure and activate one node; its first attempts may come before its inputs."""
        self._say(f"bringing up {node.name}")
        self._transition(node, CONFIGURE, INACTIVE)
        self._transition(node, ACTIVATE, ACTIVE)

    def _transition(self, node: NodeProcess, transition: int, wanted: int) -> None:
        watch = Stopwatch()
        while watch.seconds() < _PATIENCE_S and not self._is_ending.is_set():
            if self._children[node.name].poll() is not None or self.client is None:
                break
            try:
                if self.client.calls.state_of(node.name, 30.0) == wanted:
                    return
                limit_s = _LOADING_S if transition == CONFIGURE else _CHANGE_S
                if self.client.calls.change_state(node.name, transition, timeout_s=limit_s):
                    return
                if self.client.calls.state_of(node.name) == wanted:
                    return
            except ArmFaultError as error:
                self._say(str(error))
                break
            if transition == CONFIGURE:
                break
            self._is_ending.wait(_RETRY_S)
        raise ArmFaultError(
            f"{node.name}: did not come up. Its log {self.log_path(node.name)} ends with:\n"
            f"{self._log_tail(node.name)}"
        )

    def _log_tail(self, name: str, lines: int = 8) -> str:
        text = self.log_path(name).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _watch(self) -> None:
        while not self._is_ending.wait(_WATCH_S):
            for node in self._nodes:
                status = self._children[node.name].poll()
                if status is not None and not self._is_ending.is_set():
                    self._revive(node, status)

    def _revive(self, node: NodeProcess, status: int) -> None:
        """Start a dead process again, inactive; give up after a few times."""
        count = self._restarts.get(node.name, 0)
        if count >= _MAX_RESTARTS:
            return
        self._restarts[node.name] = count + 1
        self._say(f"{node.name} ended with status {status}; starting it again, inactive")
        self._spawn(node)
        if node.is_lifecycle and self.client is not None:
            try:
                if self.client.calls.state_of(node.name, 30.0) == UNCONFIGURED:
                    self.client.calls.change_state(node.name, CONFIGURE)
            except ArmFaultError as error:
                self._say(str(error))


def run(options: AgentOptions) -> int:
    """Bring the agent up and stay until SIGINT or SIGTERM; return the exit status."""
    is_told_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: is_told_to_end.set())
    watch = Stopwatch()
    try:
        with Agent(options, say=lambda text: _say(watch, text)):
            while not is_told_to_end.wait(0.5):
                continue
        _say(watch, farewell(options))
    except ArmFaultError as error:
        _say(watch, str(error))
        return 1
    return 0


def _say(watch: Stopwatch, text: str) -> None:
    sys.stderr.write(f"[{watch.seconds():6.1f} s] {text}\n")
