"""The loop that `bench swap` measures, in its own process, with weights that tell on tears."""

import gc
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import SystemClock
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import ACTION_DIM, Chunk, FloatArray, Observation, Proposal
from robot_agent.ros import realtime
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.ticker import Ticker

BENCH_TOPIC = "bench_swap"
_MODULE = "robot_agent.ros.bench_swap_loop"
_TENSORS = ACTION_DIM


class TaggedPolicy:
    """Weights that are their own version, in every tensor: an action that mixes two is torn."""

    def __init__(self, tag: int, tensors: list[FloatArray]) -> None:
        """Hold `tensors`, each full of `tag`."""
        self.tag, self.tensors = tag, tensors

    @property
    def version(self) -> str:
        """The tag as text."""
        return str(self.tag)

    @property
    def needs(self) -> PolicyNeeds:
        """Nothing but one action at a time."""
        return PolicyNeeds(chunk=1)

    def reset(self, instruction: str, seed: int) -> None:
        """Nothing to reset."""

    def act(self, observation: Observation | None) -> Chunk:
        """Return one action whose numbers come from one tensor each, first and last entry."""
        del observation
        low = [float(tensor[0]) for tensor in self.tensors]
        high = [float(tensor[-1]) for tensor in self.tensors]
        # A tensor that is half written holds two tags; their mean is neither.
        action = (np.array(low) + np.array(high)) / 2.0
        return Chunk(action[None, :], self.version, self.tag, 0)


def write_weights(path: Path, tag: int, size_mb: float) -> str:
    """Write `size_mb` of tensors full of `tag`; return the hash of the file."""
    entries = max(int(size_mb * 1e6 / 8 / _TENSORS), 2)
    content = np.full((_TENSORS, entries), float(tag)).tobytes()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def map_weights(path: Path) -> list[FloatArray]:
    """Return the tensors of a checked file without reading it: pages come when they are used."""
    mapped = np.memmap(path, np.float64, "r")
    return list(mapped.reshape(_TENSORS, -1))


class Loader:
    """Reads and hashes in a process of its own, into shared memory.

    In the loop's process this would hold the interpreter's lock now and then, at ordinary
    priority, and a busy machine would let the loop wait for it.
    """

    def __init__(self, folder: Path) -> None:
        """Start the helper; checked files appear in `folder`."""
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def load(self, path: Path, sha256: str) -> Path:
        """Return a checked copy of `path` in shared memory; ValueError for another hash."""
        self._count += 1
        target = self._folder / f"loaded-{self._count}"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\t{sha256}\t{target}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline().strip() != "ok":
            raise ValueError(f"{path.name}: the hash is not the one of the manifest")
        return target

    def close(self) -> None:
        """End the helper."""
        self._process.kill()
        self._process.communicate()


def serve_loads() -> None:
    """Be the helper: check each file that a line names, and copy it."""
    for line in sys.stdin:
        path, sha256, target = line.rstrip("\n").split("\t")
        content = Path(path).read_bytes()
        is_sound = hashlib.sha256(content).hexdigest() == sha256
        if is_sound:
            Path(target).write_bytes(content)
        sys.stdout.write("ok\n" if is_sound else "bad\n")
        sys.stdout.flush()


class _Loop:
    """The control loop of the sender and the thread that offers weights."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], publish: Callable[[Any], None]
    ) -> None:
        self._clock, self._publish, self._settings = SystemClock(), publish, settings
        self._files = []
        for tag in (1, 2):
            path = folder / f"{tag}.weights"
            self._files.append((tag, path, write_weights(path, tag, settings["size_mb"])))
        tag, path, sha256 = self._files[0]
        self._loader = Loader(folder)
        tensors = map_weights(self._loader.load(path, sha256))
        if settings["in_place"]:
            tensors = [tensor.copy() for tensor in tensors]
        self._slot = PolicySlot(TaggedPolicy(tag, tensors))
        self._late_ns: list[int] = []
        self._offered_ns = 0
        self._swap_ns: list[int] = []
        self._boundary = threading.Event()
        self._is_done = threading.Event()

    def tick(self, due_ns: int, late_ns: int) -> None:
        """Take the policy, act, publish."""
        if len(self._late_ns) >= self._settings["ticks"]:
            self._is_done.set()
            return
        self._late_ns.append(late_ns)
        before = self._slot.status().swapped
        policy = self._slot.swap_at_boundary()
        chunk = policy.act(None)  # type: ignore[arg-type]  # a tagged policy looks at nothing
        self._publish(
            Proposal(
                action=chunk.actions[0],
                weights_version=chunk.weights_version,
                chunk_id=chunk.chunk_id,
                index=0,
                sequence=len(self._late_ns),
                stamp_ns=due_ns,
                deadline_ns=due_ns,
            )
        )
        if self._slot.status().swapped > before:
            self._swap_ns.append(self._clock.now_ns() - self._offered_ns)
            self._boundary.set()

    def offer(self) -> None:
        """Load and offer weights again and again, spread over the run."""
        realtime.enter(realtime.CONTROL_NICE)
        count = self._settings["swaps"]
        for index in range(count):
            wanted = len(self._late_ns) >= (index + 1) * self._settings["ticks"] // (count + 1)
            while not wanted and not self._is_done.wait(0.005):
                wanted = len(self._late_ns) >= (index + 1) * self._settings["ticks"] // (count + 1)
            if self._is_done.is_set():
                return
            self._offered_ns = self._clock.now_ns()
            self._offer_one(*self._files[(index + 1) % 2])

    def _offer_one(self, tag: int, path: Path, sha256: str) -> None:
        loaded = self._loader.load(path, sha256)
        tensors = map_weights(loaded)
        loaded.unlink()  # the mapping keeps the content
        if self._settings["in_place"]:
            active = self._slot.active
            assert isinstance(active, TaggedPolicy)
            active.tag = tag
            for old, new in zip(active.tensors, tensors, strict=True):
                old[:] = new
            return
        self._boundary.clear()
        self._slot.offer(TaggedPolicy(tag, tensors))
        self._boundary.wait(1.0)

    def run(self) -> dict[str, Any]:
        """Run both and return the counts of this side."""
        period_ns = round(1e9 / self._settings["rate_hz"])
        errors: list[BaseException] = []
        ticker = Ticker(
            ScaledClock(),
            period_ns,
            self.tick,
            on_error=errors.append,
            name="bench",
            nice=realtime.CONTROL_NICE,
        )
        loader = threading.Thread(target=self.offer, daemon=True)
        ticker.start()
        loader.start()
        self._is_done.wait()
        ticker.stop()
        loader.join(5.0)
        self._loader.close()
        if errors:
            raise errors[0]
        late_ms = np.array(self._late_ns) * 1e-6
        p50, p99, p999 = (float(p) for p in np.percentile(late_ms, [50, 99, 99.9]))
        swap_ms = np.array(self._swap_ns or [0]) * 1e-6
        return {
            "swaps": self._slot.status().swapped,
            "ticks": len(late_ms),
            "missed": int((late_ms * 1e6 >= period_ns).sum()) + ticker.skipped,
            "late_ms": {"p50": p50, "p99": p99, "p999": p999, "max": float(late_ms.max())},
            "seen_to_active_ms": {
                "p50": float(np.percentile(swap_ms, 50)),
                "p99": float(np.percentile(swap_ms, 99)),
            },
        }


def _main(folder: Path, settings: dict[str, Any]) -> None:
    from robot_agent.ros import environment

    environment.prepare()
    import rclpy
    from robot_agent_interfaces.msg import ActionProposal

    from robot_agent.ros import convert, topics

    sys.setswitchinterval(0.0005)
    gc.freeze()
    rclpy.init()
    node = rclpy.create_node("bench_sender", namespace="bench_swap")
    publisher = node.create_publisher(ActionProposal, BENCH_TOPIC, topics.EVENTS)
    clock = SystemClock()
    while publisher.get_subscription_count() == 0:
        clock.sleep_until(clock.now_ns() + 10_000_000)
    loop = _Loop(folder, settings, lambda p: publisher.publish(convert.to_proposal(p)))
    results = loop.run()
    clock.sleep_until(clock.now_ns() + 300_000_000)
    node.destroy_node()
    rclpy.try_shutdown()
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        serve_loads()
    else:
        _main(Path(sys.argv[1]), json.loads(sys.argv[2]))
