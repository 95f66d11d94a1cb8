"""The loop that `bench swap` measures, in its own process, with weights that tell on tears."""

import gc
import json
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import SystemClock
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import Chunk, FloatArray, Observation, Proposal
from robot_agent.ros import realtime
from robot_agent.ros.bench_swap_loader import Loader, make_bundles, tagged_tensors
from robot_agent.ros.bench_swap_stream import Stream, load_in_place
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.ticker import Ticker

BENCH_TOPIC = "bench_swap"
Road = Literal["none", "slot", "in_place", "lerobot_style"]
"""How new weights come: not at all, ours, ours but copied over those in use, LeRobot's way."""
_TAGS = (1, 2)
_PATIENCE_S = 60.0
_ROLL_BACKS = 10
"""Returns to the previous weights, from memory, at the end of a run."""


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


class _Loop:
    """The control loop of the sender and the thread that brings weights."""

    def __init__(
        self, folder: Path, shared: Path, settings: dict[str, Any], publish: Callable[[Any], None]
    ) -> None:
        self._clock, self._publish, self._settings = SystemClock(), publish, settings
        self._road: Road = settings["road"]
        self._loader: Loader | None = None
        self._stream: Stream | None = None
        tensors = self._open_road(folder, shared)
        self._slot = PolicySlot(TaggedPolicy(_TAGS[0], tensors))
        self._streamed: queue.SimpleQueue[tuple[int, bytes, int]] = queue.SimpleQueue()
        self._late_ns: list[int] = []
        self._swap_ns: list[int] = []
        self._work_ns: list[int] = []
        self._back_ns: list[int] = []
        self._taken_ns = self._swap_ns
        self._seen_ns = 0
        self._wanted_tag = _TAGS[0]
        self._acted = threading.Event()
        self._acted.set()
        self._all_brought, self._is_done = threading.Event(), threading.Event()
        self._nice, self._is_fifo = 0, False

    def _open_road(self, folder: Path, shared: Path) -> list[FloatArray]:
        """Start what brings weights; return the tensors of the first version."""
        size_mb, fifo = self._settings["size_mb"], self._settings["fifo"]
        tensors = list(tagged_tensors(_TAGS[0], size_mb).values())
        if self._road == "lerobot_style":
            self._stream = Stream(size_mb, fifo=fifo)
        elif self._road != "none":
            self._bundles = dict(zip(_TAGS, make_bundles(folder, _TAGS, size_mb), strict=True))
            self._loader = Loader(shared, folder, size_mb, fifo=fifo)
            loaded = self._loader.load(self._bundles[_TAGS[0]])
            tensors = loaded if self._road == "slot" else tensors
        return tensors

    def tick(self, due_ns: int, late_ns: int) -> None:
        """Take the policy, act, publish."""
        if len(self._late_ns) >= self._settings["ticks"] and self._all_brought.is_set():
            self._is_done.set()
            return
        if self._settings["fifo"] and not self._late_ns:
            self._is_fifo = realtime.enter_fifo(realtime.CONTROL_PRIORITY)
        self._late_ns.append(late_ns)
        if not self._streamed.empty():
            self._load_streamed()
        chunk = self._slot.swap_at_boundary().act(None)  # type: ignore[arg-type]  # looks at nothing
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
        if not self._acted.is_set() and chunk.weights_version == str(self._wanted_tag):
            self._taken_ns.append(self._clock.now_ns() - self._seen_ns)
            self._acted.set()

    def _load_streamed(self) -> None:
        tag, content, fetched_ns = self._streamed.get()
        policy = self._slot.active
        assert isinstance(policy, TaggedPolicy)
        start_ns = self._clock.now_ns()
        load_in_place(content, policy.tensors)
        policy.tag = tag
        self._work_ns.append(fetched_ns + self._clock.now_ns() - start_ns)

    def bring(self) -> None:
        """Bring weights again and again, spread over the run."""
        self._nice = realtime.CONTROL_NICE if realtime.enter(realtime.CONTROL_NICE) else 0
        if self._settings["fifo"]:
            realtime.enter_fifo(realtime.LOADER_PRIORITY)
        swaps, ticks = self._settings["swaps"], self._settings["ticks"]
        for index in range(swaps):
            while len(self._late_ns) < (index + 1) * ticks // (swaps + 1):
                if self._is_done.wait(0.002):
                    return
            self._bring_one(_TAGS[(index + 1) % 2])
        for _ in range(_ROLL_BACKS if self._road == "slot" and swaps else 0):
            self._go_back()
        self._all_brought.set()

    def _bring_one(self, tag: int) -> None:
        """From the moment a new version is seen to the first action of it."""
        self._begin(tag, self._swap_ns)
        if self._stream is not None:
            content = self._stream.fetch(tag)
            self._streamed.put((tag, content, self._clock.now_ns() - self._seen_ns))
        elif self._loader is not None:
            tensors = self._loader.load(self._bundles[tag])
            self._work_ns.append(self._clock.now_ns() - self._seen_ns)
            if self._road == "slot":
                self._slot.offer(TaggedPolicy(tag, tensors))
            else:
                self._overwrite(tag, tensors)
        self._await(tag)

    def _go_back(self) -> None:
        """Roll back to the previous weights, then offer again those that were left."""
        left = self._slot.active
        tag = int(self._slot.status().previous)
        self._begin(tag, self._back_ns)
        self._slot.roll_back()
        self._await(tag)
        self._begin(int(left.version), [])
        self._slot.offer(left)
        self._await(int(left.version))

    def _begin(self, tag: int, into: list[int]) -> None:
        self._wanted_tag, self._seen_ns, self._taken_ns = tag, self._clock.now_ns(), into
        self._acted.clear()

    def _await(self, tag: int) -> None:
        if not self._acted.wait(_PATIENCE_S):
            raise TimeoutError(f"no action of version {tag} within {_PATIENCE_S:g} s")

    def _overwrite(self, tag: int, tensors: list[FloatArray]) -> None:
        """Change weights under the loop, a tensor a tick: what the tear detector must see."""
        policy = self._slot.active
        assert isinstance(policy, TaggedPolicy)
        policy.tag = tag
        for old, new in zip(policy.tensors, tensors, strict=True):
            old[:] = new
            self._is_done.wait(1.0 / self._settings["rate_hz"])

    def run(self) -> dict[str, Any]:
        """Run both; return how late each tick was, and how long each swap took."""
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
        bringer = threading.Thread(target=self._guarded, args=(errors,), daemon=True)
        ticker.start()
        bringer.start()
        self._is_done.wait()
        ticker.stop()
        bringer.join(5.0)
        for road in (self._loader, self._stream):
            if road is not None:
                road.close()
        if errors:
            raise errors[0]
        return {
            "late_ns": self._late_ns,
            "skipped": ticker.skipped,
            "swaps": len(self._swap_ns),
            "swap_ns": self._swap_ns,
            "work_ns": self._work_ns,
            "back_ns": self._back_ns,
            "nice": self._nice,
            "fifo": self._is_fifo,
        }

    def _guarded(self, errors: list[BaseException]) -> None:
        try:
            self.bring()
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            errors.append(error)
            self._is_done.set()


def _main(folder: Path, shared: Path, settings: dict[str, Any]) -> None:
    from robot_agent.ros import environment

    environment.prepare()
    import rclpy
    from robot_agent_interfaces.msg import ActionProposal

    from robot_agent.ros import convert, topics

    sys.setswitchinterval(0.0005)
    rclpy.init()
    node = rclpy.create_node("bench_sender", namespace="bench_swap")
    publisher = node.create_publisher(ActionProposal, BENCH_TOPIC, topics.EVENTS)
    clock = SystemClock()
    while publisher.get_subscription_count() == 0:
        clock.sleep_until(clock.now_ns() + 10_000_000)
    loop = _Loop(folder, shared, settings, lambda p: publisher.publish(convert.to_proposal(p)))
    gc.collect()
    gc.freeze()
    results = loop.run()
    clock.sleep_until(clock.now_ns() + 300_000_000)
    node.destroy_node()
    rclpy.try_shutdown()
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
