"""Clips whose truth is known, and clips that are made to fool a judge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.types import Episode, ImageArray
from robot_agent.sim.recordings import Recording
from robot_agent.sim.tasks import tasks_of

PLANTS = ("no motion", "frozen", "wrong task", "reversed", "undone", "artefacts")
"""Kinds of planted clips; none of them shows a success."""
_MIN_STEPS = 2


@dataclass(frozen=True, eq=False)
class Clip:
    """Pictures of one attempt, what was asked for, and whether it came true."""

    frames: ImageArray
    """(T, H, W, 3) uint8, at least two; success is judged at the last."""
    instruction: str
    truth: bool
    plant: str = ""
    """How it was made to fool; empty for one that was recorded."""


def clips_of_recording(recording: Recording, num: int, seed: int) -> list[Clip]:
    """Return at most `num` clips of simulated play per task and truth, drawn at random.

    Every clip begins with its episode, where the task is not solved yet. Truth is the
    simulator's state at the last two pictures, which agree.
    """
    rng = np.random.default_rng(seed)
    found: list[Clip] = []
    for index, task in enumerate(tasks_of(recording.cell)):
        solved = recording.successes[:, :, index] > 0
        for truth in (True, False):
            ends = [_end(solved[row], truth, rng) for row in range(len(solved))]
            rows = rng.permutation([row for row, end in enumerate(ends) if end])[:num]
            found += [
                Clip(recording.images[row, : ends[row] + 1], task.instruction, truth)
                for row in rows
            ]
    return found


def _end(solved: NDArray[np.bool_], truth: bool, rng: np.random.Generator) -> int:
    """Return the last picture of a clip with this truth; 0 when there is none."""
    alike = (solved[1:] == truth) & (solved[:-1] == truth)
    ends = np.flatnonzero(alike[_MIN_STEPS - 1 :]) + _MIN_STEPS
    if solved[0] or not len(ends):
        return 0
    return int(ends[0] if truth else rng.choice(ends))


def clips_of_episodes(episodes: Sequence[Episode]) -> list[Clip]:
    """Return recorded episodes that a person or the simulator called success or failure."""
    return [
        Clip(episode.images, episode.instruction, episode.outcome == "success")
        for episode in episodes
        if episode.outcome in ("success", "failure")
        and episode.judged_by in ("operator", "sim")
        and episode.num_steps >= _MIN_STEPS
    ]


def planted(clips: Sequence[Clip], num: int, seed: int) -> list[Clip]:
    """Return at most `num` clips of each kind and instruction that must not pass for a success.

    Args:
        clips: Recorded ones; a kind without fitting ones among them is left out.
        num: The most of a kind and instruction.
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    found: list[Clip] = []
    for instruction in dict.fromkeys(clip.instruction for clip in clips):
        own = [clip for clip in clips if clip.instruction == instruction]
        others = [clip for clip in clips if clip.instruction != instruction and clip.truth]
        for kind, sources in (
            ("no motion", own),
            ("frozen", [clip for clip in own if clip.truth]),
            ("wrong task", others),
            ("reversed", [clip for clip in own if clip.truth]),
            ("undone", [clip for clip in own if clip.truth]),
            ("artefacts", [clip for clip in own if not clip.truth]),
        ):
            for index in rng.permutation(len(sources))[:num]:
                frames = _plant(kind, sources[index].frames, rng)
                found.append(Clip(frames, instruction, truth=False, plant=kind))
    return found


def _plant(kind: str, frames: ImageArray, rng: np.random.Generator) -> ImageArray:
    still = max(1, len(frames) // 4)
    match kind:
        case "no motion":
            return np.repeat(frames[:1], len(frames), axis=0)
        case "frozen":
            return np.concatenate(
                [frames[:still], np.repeat(frames[still - 1 : still], 8, axis=0)]
            )
        case "reversed":
            return frames[::-1]
        case "undone":
            return np.concatenate([frames, frames[::-1]])
        case "artefacts":
            return np.stack(list(_smeared(frames, rng)))
        case _:
            return frames


def _smeared(frames: ImageArray, rng: np.random.Generator) -> Iterator[ImageArray]:
    """Yield frames as an unsure world model paints them: blurred, with ghosts of earlier ones."""
    yield frames[0]
    ghost = frames[0].astype(np.float64)
    strength = rng.uniform(0.2, 0.5)
    for frame in frames[1:]:
        ghost = strength * ghost + (1.0 - strength) * frame
        wide = np.pad(ghost, ((1, 1), (1, 1), (0, 0)), mode="edge")
        rows, columns = ghost.shape[:2]
        parts = [wide[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        yield np.asarray(np.mean(parts, axis=0).round(), dtype=np.uint8)
