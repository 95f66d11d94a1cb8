"""The wire of remote inference with a policy that does nothing; openpi's server beside it.

Both servers are processes of their own on loopback, both clients run here, in turns. openpi is not
part of this project: a checkout of it is named by the user, and needs msgpack and websockets.
"""

import contextlib
import importlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ConfigError
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import ACTION_DIM, Chunk, FloatArray, Observation
from robot_agent.core.wx250s import NEUTRAL_RAD
from robot_agent.models.policy_server import PolicyServer, ServerConfig
from robot_agent.models.remote_policy import RemoteConfig, RemotePolicy

SIDE_PX, CHUNK = 256, 5
_WARM_UP, _BLOCK = 50, 25
_START_S = 60.0
_CLIENT = Path("packages") / "openpi-client" / "src"
_SERVER = Path("src") / "openpi" / "serving" / "websocket_policy_server.py"


class NullPolicy:
    """Answers at once with actions of zero."""

    version, needs = "null", PolicyNeeds(chunk=CHUNK)

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode."""

    def act(self, observation: Observation) -> Chunk:
        """Return five actions of zero."""
        return Chunk(np.zeros((CHUNK, ACTION_DIM)), self.version, 1, observation.stamp_ns)

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """Return the same by the name that openpi's server calls."""
        del obs
        return {"actions": np.zeros((CHUNK, ACTION_DIM))}


def bench_wire(peer: Path | None, repeats: int, seed: int = 0) -> dict[str, Any]:
    """Return the round trip of a 256x256 picture to five actions, ours and openpi's.

    Args:
        peer: Checkout of openpi, or None to leave it out.
        repeats: Round trips of each, taken in turns of 25.
        seed: Of the picture.

    Returns:
        `{"p50_ms", "p99_ms", "peer": {"p50_ms", "p99_ms"}, "ratio"}`; without a peer `absent` says
        so in words.

    Raises:
        ConfigError: The checkout, or what it needs, is missing.
    """
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    with ExitStack() as stack:
        calls = {"ours": stack.enter_context(_ours(image))}
        if peer is not None:
            calls["peer"] = stack.enter_context(_theirs(peer, image))
        times = _in_turns(calls, repeats)
    found = {name: _percentiles(values) for name, values in times.items()}
    results: dict[str, Any] = found.pop("ours")
    if "peer" not in found:
        return {**results, "absent": "openpi: name a checkout of it with --peer to compare"}
    ratio = results["p50_ms"] / found["peer"]["p50_ms"]
    return {**results, "peer": found["peer"], "ratio": ratio}


def _in_turns(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(_WARM_UP):
            call()
    while len(times["ours"]) < repeats:
        for name, call in calls.items():
            for _ in range(_BLOCK):
                watch = Stopwatch()
                call()
                times[name].append(watch.seconds() * 1e3)
    return times


def _percentiles(times_ms: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(times_ms, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


@contextmanager
def _ours(image: Any) -> Iterator[Callable[[], object]]:
    observation = Observation(image, np.array(NEUTRAL_RAD), 1.0, 0)
    with _served("ours", {}) as port, RemotePolicy(RemoteConfig(port=port)) as policy:
        policy.reset("open the drawer", 0)
        yield lambda: policy.act(observation)


@contextmanager
def _theirs(peer: Path, image: Any) -> Iterator[Callable[[], object]]:
    for part in (_CLIENT, _SERVER):
        if not (peer / part).exists():
            raise ConfigError(f"{peer}: holds no {part}, must be a checkout of openpi.")
    state: FloatArray = np.zeros(ACTION_DIM)
    observation = {
        "observation/image": image,
        "observation/state": state,
        "prompt": "open the drawer",
    }
    with _served("peer", {"ROBOT_AGENT_PEER": str(peer.resolve())}) as port, _path(peer):
        client = _import("openpi_client.websocket_client_policy")
        policy = client.WebsocketClientPolicy("127.0.0.1", port)
        yield lambda: policy.infer(observation)


@contextmanager
def _served(kind: str, variables: dict[str, str]) -> Iterator[int]:
    """Run this module as the server's process and return its port once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    words = [sys.executable, "-m", __spec__.name, kind, str(port)]
    child = subprocess.Popen(words, env={**os.environ, **variables}, stdin=subprocess.DEVNULL)
    try:
        _wait_for(child, port)
        yield port
    finally:
        child.terminate()
        child.wait(10.0)


def _wait_for(child: "subprocess.Popen[bytes]", port: int) -> None:
    watch, pause = Stopwatch(), threading.Event()
    while watch.seconds() < _START_S and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        pause.wait(0.05)
    raise ConfigError(
        f"the server of the benchmark did not start (status {child.poll()}); its words are above."
    )


@contextmanager
def _path(peer: Path) -> Iterator[None]:
    sys.path.insert(0, str(peer / _CLIENT))
    try:
        yield
    finally:
        sys.path.remove(str(peer / _CLIENT))


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"openpi's client needs what is not installed ({error}). Install it into a folder: "
            f"pip install --target DIR msgpack websockets, and put DIR on PYTHONPATH."
        ) from error


def _serve_peer(peer: Path, port: int) -> None:
    """Run openpi's own server on the null policy."""
    with _path(peer):
        spec = importlib.util.spec_from_file_location("peer_server", peer / _SERVER)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{peer / _SERVER}: is no module.")
        module = importlib.util.module_from_spec(spec)
        _import("openpi_client.msgpack_numpy")
        spec.loader.exec_module(module)
        module.WebsocketPolicyServer(NullPolicy(), host="127.0.0.1", port=port).serve_forever()


def main() -> int:
    """Serve the null policy until the process is ended."""
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "peer":
        _serve_peer(Path(os.environ["ROBOT_AGENT_PEER"]), port)
    else:
        PolicyServer(NullPolicy(), ServerConfig(port=port)).serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
