"""What real episodes say: outcomes by the held-out judge, start frames, closed-loop gaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_agent.core.protocols import Judge
from robot_agent.core.types import Episode, ImageArray, Observation
from robot_agent.learn.corrections import by_operator, is_corrected, observation_at
from robot_agent.learn.imagine import Start
from robot_agent.models.scaling import resize_squashed
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_vla import instruction_id
from robot_agent.models.tiny_world import SIZE_PX
from robot_agent.store.start_frames import StartFrame


@dataclass(frozen=True)
class Gap:
    """Imagined against real success of the same weights on one task."""

    instruction: str
    imagined: float
    real: float
    num_real: int
    stopped: bool
    """The task is no longer practised: imagination promises what reality does not keep."""

    def __str__(self) -> str:
        """Say it in one line."""
        verdict = "too large" if self.stopped else "within the limit"
        return (
            f"{self.instruction}: imagined {self.imagined:.2f}, real {self.real:.2f} "
            f"of {self.num_real}: {verdict}"
        )


def judged_outcomes(
    judge: Judge, episodes: Sequence[Episode], threshold: float
) -> list[bool | None]:
    """Return success of the weights in each real episode by its first and last two pictures.

    None is unknown: the judge cannot say.

    A takeover says that the weights failed, however the operator ended the episode. An outcome
    that a person gave stands; the judge decides the rest at `threshold`.
    """
    outcomes: list[bool | None] = []
    for episode in episodes:
        if is_corrected(episode):
            outcomes.append(False)
            continue
        if episode.judged_by == "operator" and episode.outcome in ("success", "failure"):
            outcomes.append(episode.outcome == "success")
            continue
        frames = [resize_squashed(episode.images[i], SIZE_PX) for i in (0, -2, -1)]
        (score,) = judge.score(np.stack(frames)[None], [episode.instruction])
        outcomes.append(None if np.isnan(score) else bool(score > threshold))
    return outcomes


def outcome_of(judge: Judge, episode: Episode, threshold: float) -> str:
    """Return success, failure or unknown of the weights in one, as `judged_outcomes` sees it."""
    names = {True: "success", False: "failure", None: "unknown"}
    return names[judged_outcomes(judge, [episode], threshold)[0]]


def run_by(
    version: str, episodes: Sequence[Episode], outcomes: Sequence[bool | None]
) -> tuple[list[Episode], list[bool | None]]:
    """Return the episodes that one version ran from start to end, and their outcomes.

    While weights are on probation every second episode is run by the ones before. What an
    operator did in between is nobody's.
    """
    own = [
        (episode, outcome)
        for episode, outcome in zip(episodes, outcomes, strict=True)
        if _versions_of(episode) == {version}
    ]
    return [episode for episode, _ in own], [outcome for _, outcome in own]


def _versions_of(episode: Episode) -> set[str]:
    held = by_operator(episode)
    return {name for name, other in zip(episode.weights_versions, held, strict=True) if not other}


def start_frames(
    episodes: Sequence[Episode], instructions: Sequence[str], known: Sequence[str]
) -> list[Start]:
    """Return the first observation of every episode with every instruction to be practised."""
    starts = []
    for episode in episodes:
        observation = observation_at(episode, 0)
        starts += [Start(observation, instruction_id(name, known)) for name in instructions]
    return starts


def failure_starts(
    episodes: Sequence[Episode],
    outcomes: Sequence[bool | None],
    known: Sequence[str],
    tasks: Sequence[str],
) -> list[Start]:
    """Return the picture half-way through every episode that the weights alone failed.

    What was seen there no first picture shows: an arm that is where the policy took it, a drawer
    that was pushed the wrong way. Corrected episodes say better where it went wrong.
    """
    return [
        Start(observation_at(e, e.num_steps // 2), instruction_id(e.instruction, known))
        for e, outcome in zip(episodes, outcomes, strict=True)
        if outcome is False and not is_corrected(e) and e.instruction in tasks
    ]


def captured_starts(
    frames: Sequence[StartFrame], instructions: Sequence[str], known: Sequence[str]
) -> list[Start]:
    """Return the captured views of the scene, each with the task it was captured for."""
    return [
        Start(
            Observation(
                image_hwc=resize_squashed(frame.image_hwc, SIZE_PX),
                joints_rad=frame.joints_rad,
                gripper=frame.gripper,
                stamp_ns=0,
            ),
            instruction_id(frame.instruction, known),
        )
        for frame in frames
        if frame.instruction in instructions
    ]


def replay(world: TinyImagination, episode: Episode) -> ImageArray:
    """Return frames (T + 1, 64, 128, 3): left the real episode, right imagined from its actions.

    Only the first picture is given to the world model. For the eye: open-loop replay says how
    good pictures are, not whether practice may trust them.
    """
    real = np.stack([resize_squashed(image, SIZE_PX) for image in episode.images])
    first = Observation(
        image_hwc=episode.images[0],
        joints_rad=episode.joints_rad[0],
        gripper=float(episode.gripper[0]),
        stamp_ns=0,
    )
    imagined = [world.reset([first])[0]]
    imagined += [world.step(action[None])[0] for action in episode.actions]
    return np.concatenate([real, np.stack(imagined)], axis=2)


def closed_loop_gaps(
    imagined: Mapping[str, float],
    episodes: Sequence[Episode],
    outcomes: Sequence[bool | None],
    limit: float,
) -> list[Gap]:
    """Compare per task; a task whose imagined success exceeds the real by `limit` stops.

    Open-loop replay does not reveal an exploited world model; this does (tiny tier, see
    DECISIONS.md). Few real episodes are noisy, so one standard error is granted. Episodes of
    unknown outcome count for nothing.
    """
    gaps = []
    for instruction, promised in imagined.items():
        real = [
            ok
            for ok, e in zip(outcomes, episodes, strict=True)
            if e.instruction == instruction and ok is not None
        ]
        if not real:
            continue
        rate = float(np.mean(real))
        error = float(np.sqrt(0.25 / len(real)))
        gaps.append(Gap(instruction, promised, rate, len(real), promised - rate > limit + error))
    return gaps
