"""The compositional network on latents: large pictures at the cost of small ones.

It goes on from the shipped network: whatever fits is taken over, which is all but the first and
the last layer.

Axis letters: N episodes, T time, C H W latents.
"""

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from robot_agent.core.config import require_range
from robot_agent.core.protocols import Autoencoder
from robot_agent.learn.clip_data import measured_lag, read_clips, training_episodes
from robot_agent.learn.clips import shipped_world
from robot_agent.learn.data import Episodes
from robot_agent.learn.early_stop import EarlyStopConfig
from robot_agent.learn.fit import FitConfig, Report
from robot_agent.learn.latents import encode
from robot_agent.learn.mixture import Mixture
from robot_agent.learn.split import SplitConfig, split
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.learn.world_training import WorldTrainingConfig, train_world
from robot_agent.models.scaling import resize_squashed
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from robot_agent.store.clips import load_clip
from robot_agent.store.durable import replace_file, storage_errors

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
LATENT_PICTURE_PX = 256
"""Side of the pictures whose latents it takes, unless told otherwise."""
_GRID = 16
"""The network's first layer has 16 x 16 places, whatever the picture."""


def _default_training() -> WorldTrainingConfig:
    return WorldTrainingConfig(
        fit=FitConfig(steps=1200, learning_rate=8e-4, warmup_steps=20),
        frames=24,
        unroll=(1, 3, 5),
        stages=(0.3, 0.7, 1.0),
        early_stop=EarlyStopConfig(every=100, patience=5, windows=16, steps=5),
    )


@dataclass(frozen=True, kw_only=True)
class LatentWorldConfig:
    """How the network learns from clips."""

    training: WorldTrainingConfig = field(default_factory=_default_training)
    picture_px: int = LATENT_PICTURE_PX
    start: Path = _ASSETS
    """Folder of the shipped weights, with their manifest."""
    max_seconds: float = 240.0
    """Training stops here, on whatever processor."""
    checkpoint_every: int = 200
    """Updates between two checkpoints."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("picture_px", self.picture_px, 32, 1024)
        require_range("max_seconds", self.max_seconds, 1.0, 1e9)
        require_range("checkpoint_every", self.checkpoint_every, 1, 10_000_000)


def latent_clips(
    folder: Path, autoencoder: Autoencoder, picture_px: int, held_out: SplitConfig
) -> Mixture:
    """Return the seen part of each clip as latents, and the rest as held out.

    Raises:
        InputError: The folder is missing or empty, or a clip is too short.
        EpisodeFormatError: A clip is damaged.
    """
    clips = read_clips(folder, 1.0 - held_out.time)
    whole = [type(clip)(clip.name, clip.frames, clip.actions, len(clip.frames)) for clip in clips]
    small = training_episodes(whole, measured_lag(clips))
    latents = [_encoded(autoencoder, folder, clip.name, picture_px) for clip in clips]
    padded = torch.nn.utils.rnn.pad_sequence(latents, batch_first=True).movedim(2, -1)
    episodes = Episodes(padded, small.states_NTP, small.actions_NTA, small.lengths_N)
    parts = split(episodes, held_out, str(folder))
    held = tuple(part for part in (parts.others, parts.later) if part is not None)
    return Mixture((parts.seen,), (1.0,), held)


def train_latent_world(
    mixture: Mixture, config: LatentWorldConfig, out: Path, seed: int, report: Report | None
) -> dict[str, Any]:
    """Train on `mixture` and write the weights into the file `out` by one rename.

    Raises:
        ConfigError: The shipped weights are missing.
        TrainingDivergedError: The loss left the finite numbers; nothing is written.
    """
    base, sha256 = shipped_world(config.start)
    images = mixture.parts[0].images_NTHWC
    patch = images.shape[3] // _GRID
    torch.manual_seed(seed)
    world, taken = from_shipped(base, seen=images.shape[4], patch=patch)
    keep = Keep(
        out.with_suffix(".training"),
        f"{sha256} {seed} {config}",
        every=config.checkpoint_every,
        log=out.with_suffix(".jsonl"),
    )
    metrics = train_world(
        world,
        mixture,
        config.training,
        seed,
        report=report,
        max_seconds=config.max_seconds,
        keep=keep,
    )
    tensors = {name: value.contiguous() for name, value in world.state_dict().items()}
    with storage_errors("writing weights", out):
        replace_file(out, save(tensors))
        keep.path.unlink(missing_ok=True)
    return {
        "file": out,
        "started_from": sha256,
        "taken_over": taken,
        "parameters": sum(math.prod(p.shape) for p in world.parameters()),
        "training": metrics,
    }


def from_shipped(base: TinyWorld, *, seen: int, patch: int) -> tuple[TinyWorld, float]:
    """Return a network on latents with the weights that fit, and the share that they make up."""
    size = base.config
    world = TinyWorld(
        TinyWorldConfig(channels=size.channels, condition=size.condition, seen=seen, patch=patch)
    )
    own = world.state_dict()
    fitting: dict[str, Tensor] = {
        name: copy.deepcopy(value)
        for name, value in base.state_dict().items()
        if value.shape == own[name].shape
    }
    world.load_state_dict(fitting, strict=False)
    count = sum(value.numel() for value in fitting.values())
    return world, count / sum(value.numel() for value in own.values())


def _encoded(autoencoder: Autoencoder, folder: Path, name: str, picture_px: int) -> Tensor:
    frames = load_clip(folder, name).frames
    small = [torch.from_numpy(resize_squashed(frame, picture_px)) for frame in frames]
    return encode(autoencoder, torch.stack(small))
