"""Judges as trials and audits ask them: classifiers, and vision-language models from a file."""

import hashlib
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_agent.core.config import load_config
from robot_agent.core.protocols import Judge
from robot_agent.core.types import ImageArray
from robot_agent.evaluate.judging import ClipJudge
from robot_agent.models.classifier_judge import READING
from robot_agent.models.vlm_judge import VlmJudge, VlmJudgeConfig
from robot_agent.models.vlm_server import VlmServer, VlmServerConfig

if TYPE_CHECKING:
    from robot_agent.models.vlm_question import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class VlmFile:
    """A vision-language judge as a YAML file describes it: weights here, or a server."""

    folder: str = ""
    """Weights for transformers, or a repository in the local cache; empty asks the server."""
    revision: str = ""
    """Commit of that repository."""
    device: str = "cpu"
    server: VlmServerConfig = field(default_factory=lambda: VlmServerConfig(model="unnamed"))
    judge: VlmJudgeConfig = field(default_factory=VlmJudgeConfig)
    threshold: float = 0.5
    """Success is a score above it; `judge audit` calibrates it."""


def classifier_clip_judge(
    judge: Judge, hashes: Sequence[str], threshold: float, size_px: int
) -> ClipJudge:
    """Return a classifier that sees pictures squashed to `size_px`.

    Its name is a hash of its weights' hashes and of how it reads a clip.
    """
    from robot_agent.models.scaling import resize_squashed

    def score(frames: ImageArray, instruction: str) -> float:
        small = np.stack([resize_squashed(frame, size_px) for frame in frames])
        return float(judge.score(small[None], [instruction])[0])

    digest = hashlib.sha256(" ".join([*hashes, READING]).encode()).hexdigest()
    return ClipJudge(digest[:16], threshold, score)


def vlm_clip_judge(path: Path, memory: MutableMapping[str, float] | None = None) -> ClipJudge:
    """Return the judge of a YAML file; ConfigError names what in it cannot be used."""
    judge, name, threshold = read_vlm_judge(path, memory)

    def score(frames: ImageArray, instruction: str) -> float:
        return float(judge.score(frames[None], [instruction])[0])

    return ClipJudge(name, threshold, score)


def read_vlm_judge(
    path: Path, memory: MutableMapping[str, float] | None = None
) -> tuple[VlmJudge, str, float]:
    """Return the judge of a YAML file, the name that its audits are of, and its threshold."""
    config = load_config(VlmFile, [path])
    model: VisionLanguageModel
    if config.folder:
        from robot_agent.models.vlm_transformers import LocalVlmConfig, load_local_vlm

        model = load_local_vlm(
            LocalVlmConfig(model=config.folder, revision=config.revision, device=config.device)
        )
    else:
        model = VlmServer(config.server)
    judge = VlmJudge(model, config.judge, memory=memory)
    digest = hashlib.sha256(f"{model.name} {config.judge}".encode()).hexdigest()[:8]
    return judge, f"{model.name} {digest}", config.threshold
