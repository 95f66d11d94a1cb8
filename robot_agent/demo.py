"""The whole loop in simulation: fail in a new scene, adapt, swap, show the difference."""

import itertools
import json
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_agent.compose import ensure_releases, ensure_replay, load_policy
from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import ArmFaultError
from robot_agent.evaluate.comparison import compare
from robot_agent.evaluate.outcomes import Comparison
from robot_agent.evaluate.suites import suite_named
from robot_agent.evaluate.trial_workers import SimRunner
from robot_agent.sim.household import scene_named
from robot_agent.sim.scenes import HOME
from robot_agent.sim.tasks import TABLE

if TYPE_CHECKING:
    from robot_agent.ros.client import AgentClient
    from robot_agent.ros.up import Agent

Say = Callable[[str], None]
_MAX_PROOFS = 10
"""Episodes that may still be missing to a probation: shadow, three pairs, and some to spare."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What the demo shows."""

    scene: str = "kitchen"
    """The new scene, one with a drawer on the table: kitchen, study or nursery."""
    seed: int = 0
    """Of the adaptation; the trials' seeds are fixed and never used in training."""
    trials: int = 40
    """Paired trials per scene and instruction; two instructions make twice as many."""
    budget_minutes: float = 14.0
    max_real_episodes: int = 40
    time_factor: float = 1.0
    """Speed of the simulated robot; 1 is real time. Faster costs the learner its cores."""
    camera_hz: float = 15.0
    workers: int = 2

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("trials", self.trials, 1, 500)
        require_range("budget_minutes", self.budget_minutes, 0.5, 600.0, "minutes")
        require_range("max_real_episodes", self.max_real_episodes, 4, 1000)
        require_range("time_factor", self.time_factor, 0.2, 4.0)
        require_range("camera_hz", self.camera_hz, 5.0, 60.0, "Hz")
        scene_named(self.scene)


def run_demo(out: Path, config: DemoConfig, say: Say) -> dict[str, Any]:
    """Run the demo into `out` and return its results, also in `out/demo.json` and a report.

    Args:
        out: Folder of the run; trials that are in it already are not repeated.
        config: Scene, seed, budgets.
        say: Hears progress in words.
    """
    from robot_agent.evaluate.report import write_report

    watch = Stopwatch()
    releases = out / "releases"
    first = ensure_releases(releases)
    ensure_replay(out / "replay.safetensors")
    say(f"trials of the shipped policy {first}: home and {config.scene}")
    _trials(out, config, {"before": first}, say)  # kept in the journal: not run again below
    adapted = _adapt(out, config, say)
    last = ensure_releases(releases)  # whatever acts now, however the adaptation ended
    say(f"trials of {last} on the same start states")
    both = _trials(out, config, {"before": first, "after": last}, say)
    results = {**_numbers(both, config), **adapted}
    results["minutes"] = watch.seconds() / 60.0
    results["peak_memory_mb"] = max(_peak_memory_mb(), float(adapted["agent_peak_memory_mb"]))
    (out / "demo.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    write_report(out / "report.html", results, _clips(out, adapted["rounds"]))
    return results


def _trials(out: Path, config: DemoConfig, policies: dict[str, str], say: Say) -> Comparison:
    paths = {name: out / "releases" / "bundles" / label for name, label in policies.items()}
    every = max(1, config.trials // 2)

    def on_trial(done: int, total: int, _: object) -> None:
        if done % every == 0 or done == total:
            say(f"  trial {done} of {total}")

    return compare(
        paths,
        SimRunner(paths, load_policy, workers=config.workers),
        suite_named(f"{HOME.name},{config.scene}", trials=config.trials),
        journal=out / "trials.jsonl",
        on_trial=on_trial,
    )


def _adapt(out: Path, config: DemoConfig, say: Say) -> dict[str, Any]:
    """Bring the agent up over ROS 2, adapt, and swap back and forth while the arm moves."""
    from robot_agent.ros.description import AgentOptions
    from robot_agent.ros.up import Agent

    options = AgentOptions(
        folder=out,
        scene=config.scene,
        seed=config.seed,
        time_factor=config.time_factor,
        camera_hz=config.camera_hz,
        releases=out / "releases",
    )
    say("bringing the agent up on the simulated arm")
    with Agent(options, say=say) as agent:
        client = agent.client
        if client is None:
            raise ArmFaultError("the agent has no client after its start; see its logs")
        shown = client.run_task("open the drawer", seed=6_999_999, scene=config.scene)
        if shown.outcome == "abort" and client.episodes.revive_simulation():
            shown = client.run_task("open the drawer", seed=6_999_999, scene=config.scene)
        say(f"one episode over ROS with {shown.weights_version}: {shown.outcome}")
        found = _adapt_scene(agent, config, say)
        found |= _swap_under_control(agent, config, found["version"], say)
        found["agent_peak_memory_mb"] = _peak_children_mb(agent)
    return {**found, **_rounds(out)}


def _adapt_scene(agent: "Agent", config: DemoConfig, say: Say) -> dict[str, Any]:
    client, watch = agent.client, Stopwatch()
    assert client is not None
    last = [""]

    def on_feedback(feedback: Any) -> None:
        text = f"round {feedback.round} {feedback.stage}: {feedback.message}"
        if (
            feedback.stage not in ("practise", "finetune")
            or feedback.stage != last[0]
            or round(feedback.progress * 20) % 5 == 0
        ):
            say(f"  {watch.seconds():5.0f} s  {text}")
        last[0] = feedback.stage

    result = client.adapt(
        config.scene,
        [task.instruction for task in TABLE],
        budget_minutes=config.budget_minutes,
        max_real_episodes=config.max_real_episodes,
        on_feedback=on_feedback,
    )
    say(f"adaptation: {result.message}")
    status = client.policy_status
    return {
        "version": str(result.version) or str(status.active_version if status else ""),
        "adapt_message": str(result.message),
        "adapt_total_seconds": watch.seconds(),
        "run_folder": str(Path(result.report_path).parent) if result.report_path else "",
    }


def _swap_under_control(
    agent: "Agent", config: DemoConfig, version: str, say: Say
) -> dict[str, Any]:
    """Swap back and forth while the policy moves the arm; count late and missed guard ticks."""
    client = agent.client
    version = _proven_version(client, config, say) if client is not None and version else ""
    if client is None or not version:
        return {"swap_missed_ticks": None, "swap_note": "no new weights were released"}
    client.reset_world(6_999_998, config.scene)
    before = client.guard_state
    running = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(
            client.run_task,
            "close the drawer",
            seed=6_999_998,
            scene=config.scene,
            is_recorded=False,
            on_step=lambda _: running.set(),
        )
        running.wait(20.0)
        old = client.roll_back("demo: back to the previous weights while the arm moves")
        client.wait_until_acting(old, 5.0)
        client.promote(version)
        client.wait_until_acting(version, 5.0)
        outcome = episode.result(60.0).outcome
    after = client.guard_state
    missed = int(after.late_ticks) - (int(before.late_ticks) if before.ticks < after.ticks else 0)
    say(f"swapped to {old} and back to {version} while the arm moved: {missed} missed ticks")
    return {
        "swap_missed_ticks": missed,
        "swap_ticks": int(after.ticks),
        "swap_outcome": outcome,
    }


def _proven_version(client: "AgentClient", config: DemoConfig, say: Say) -> str:
    """Finish a probation that the rounds left open; return what acts with a way back, or ""."""
    for index in range(_MAX_PROOFS):
        repeats = client.episodes.repeats_start()  # also waits for the newest report
        if not client.policy_status.stage:
            break
        seed = 6_999_000 + index - repeats
        proof = client.run_task(_task(seed), seed=seed, scene=config.scene)
        say(f"one episode over ROS with {proof.weights_version}: {proof.outcome}; {proof.proving}")
    status = client.policy_status
    is_settled = bool(status.previous_version) and not status.stage
    return str(status.active_version) if is_settled else ""


def _task(seed: int) -> str:
    return TABLE[seed % len(TABLE)].instruction


def _rounds(out: Path) -> dict[str, Any]:
    """Return what the learner wrote about its rounds."""
    from robot_agent.learn.journal import RunFolder

    folder = out / "adapt"
    records = RunFolder(folder).load_rounds()
    gates = [record.gate for record in records if record.gate]
    return {
        "rounds": [record.__dict__ for record in records],
        "gate": gates[-1] if gates else [],
        "gate_passed": bool(records and any(record.version_after for record in records)),
        "adapt_seconds": max((record.seconds for record in records), default=0.0),
        "num_real_episodes": sum(len(r.episodes) + len(r.final_episodes) for r in records),
        "learner_folder": str(folder),
    }


def _numbers(both: Comparison, config: DemoConfig) -> dict[str, Any]:
    """Return the table: success at home and in the new scene, before and after, paired."""
    gain = both.difference("after", "before", scene=config.scene)
    loss = both.difference("after", "before", scene=HOME.name)
    cell = {
        f"{place}_{when}": both.rate(when, scene=scene).to_json()
        for place, scene in (("home", HOME.name), ("new", config.scene))
        for when in ("before", "after")
    }
    return {
        **cell,
        "scene": config.scene,
        "seed": config.seed,
        "new_gain_points": 100.0 * gain.difference,
        "new_gain_interval": [100.0 * bound for bound in gain.interval],
        "home_change_points": 100.0 * loss.difference,
        "home_change_interval": [100.0 * bound for bound in loss.interval],
        "per_task": {
            task: {when: both.rate(when, task=task).to_json() for when in ("before", "after")}
            for task in both.tasks
        },
    }


def _peak_memory_mb() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return float(max(own, children)) / 1024.0


def _peak_children_mb(agent: "Agent") -> float:
    """Return the sum of the peak resident memory of this process and the agent's."""
    total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    for node in ("sim_world", "arm_guard", "policy", "recorder", "adaptation"):
        status = Path(f"/proc/{agent.pid(node)}/status").read_text(encoding="utf-8")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        total += int(peak.split()[1]) / 1024.0
    return total + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024.0


def _clips(out: Path, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return clips, frames (T, H, W, 3), that the learner kept for the report."""
    from PIL import Image

    from robot_agent.models.tiny_world import SIZE_PX

    kinds = {
        "replay": "real (left), imagined with the same actions (right)",
        "imagined": "imagined in practice",
    }
    clips: dict[str, Any] = {}
    for record, (kind, title) in itertools.product(rounds, kinds.items()):
        path = out / "adapt" / f"{kind}_{record['index']}.png"
        if path.exists():
            tall = np.asarray(Image.open(path).convert("RGB"))
            frames = tall.reshape(-1, SIZE_PX, tall.shape[1], 3)
            clips[f"{title}, round {record['index']}"] = frames
    return clips
