"""Episodes as latents and action slots: read from any source, encoded once, split, and drawn.

Axis letters: N episodes, B batch, T frames, C H W latents or pictures, A action (10).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Autoencoder
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.learn.clip_data import delayed_actions, measured_lag, read_clips
from robot_agent.learn.mixture import counts_of, own_choices, shares_of
from robot_agent.learn.processes import num_processes
from robot_agent.learn.sources import Source, open_store, recordings
from robot_agent.learn.split import SplitConfig, held_episodes
from robot_agent.models.scaling import resize_squashed, to_unit
from robot_agent.models.worldgym.actions import slots_of_episodes
from robot_agent.store.clips import load_clip

_AT_ONCE = 2
"""Pictures that are encoded together."""


@dataclass(frozen=True, eq=False)
class LatentEpisodes:
    """Episodes encoded once, padded to the longest."""

    latents_NTCHW: Tensor
    """Float16, (N, T + 1, C, H, W)."""
    slots_NTA: Tensor
    """(N, T + 1, 10); slot t holds the action that leads to frame t."""
    frames_N: Tensor | None = None
    """Frames of each episode that are real, when some are padded."""

    def lengths(self) -> Tensor:
        """Return the number of real frames (N,) of each episode."""
        if self.frames_N is not None:
            return self.frames_N
        count, frames = self.latents_NTCHW.shape[:2]
        return torch.full((count,), frames)


@torch.no_grad()
def encode_episodes(
    autoencoder: Autoencoder,
    images_NTHWC: Tensor,
    actions_NTA: FloatArray,
    latency_steps: int = 0,
) -> LatentEpisodes:
    """Return the latents of uint8 pictures and the slots of their Bridge actions (N, T, 7)."""
    latents = [encode(autoencoder, images_THWC) for images_THWC in images_NTHWC]
    slots = slots_of_episodes(actions_NTA, latency_steps)
    return LatentEpisodes(torch.stack(latents), slots)


@torch.no_grad()
def encode(autoencoder: Autoencoder, images_THWC: Tensor) -> Tensor:
    """Return float16 latents (T, C, H, W) of uint8 pictures."""
    parts = [autoencoder.encode(to_unit(part)).half() for part in images_THWC.split(_AT_ONCE)]
    return torch.cat(parts)


def read_latents(
    source: Source, autoencoder: Autoencoder, picture_px: int, *, most: int, seen_share: float
) -> LatentEpisodes:
    """Return at most `most` episodes of a source, encoded at `picture_px`.

    Raises:
        InputError: The source is missing or holds none of its kind.
        EpisodeFormatError: An episode or a clip is damaged.
    """
    latents, slots = [], []
    for frames, actions in _episodes(source, most, seen_share):
        small = np.stack([resize_squashed(frame, picture_px) for frame in frames])
        latents.append(encode(autoencoder, torch.from_numpy(small)))
        slots.append(slots_of_episodes(actions[None])[0])
    return pad(latents, slots)


def pad(latents: Sequence[Tensor], slots: Sequence[Tensor]) -> LatentEpisodes:
    """Return episodes of any length as one block."""
    return LatentEpisodes(
        torch.nn.utils.rnn.pad_sequence(list(latents), batch_first=True),
        torch.nn.utils.rnn.pad_sequence(list(slots), batch_first=True),
        torch.tensor([len(part) for part in latents]),
    )


def _episodes(
    source: Source, most: int, seen_share: float
) -> Iterator[tuple[ImageArray, FloatArray]]:
    """Yield pictures (T + 1, H, W, 3) and Bridge actions (T, 7)."""
    match source.kind:
        case "recording":
            with recordings([source.path]), safe_open(source.path, framework="numpy") as file:
                images, actions = file.get_slice("images"), file.get_slice("actions")
                for row in range(min(most, images.get_shape()[0])):
                    yield images[row], actions[row].astype(np.float64)
        case "clips":
            small = read_clips(source.path, seen_share)
            lag = measured_lag(small)
            for clip in small[:most]:
                yield (
                    load_clip(source.path, clip.name).frames,
                    delayed_actions(clip.actions, lag)[:-1],
                )
        case "store":
            store = open_store(source.path)
            for episode in map(store.load, list(store.list())[:most]):
                yield episode.images, episode.actions


@dataclass(frozen=True, eq=False)
class LatentMixture:
    """What is trained on, in shares, and what is only measured on."""

    parts: tuple[LatentEpisodes, ...]
    shares: tuple[float, ...] = (1.0,)
    held_out: tuple[LatentEpisodes, ...] = ()

    @property
    def num_episodes(self) -> int:
        """Number of episodes that are trained on."""
        return sum(len(part.latents_NTCHW) for part in self.parts)

    def draw(self, batch: int, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return clips (B, T, C, H, W) and slots (B, T, 10) of this process; see `draw_clips`."""
        total = batch * num_processes()
        counts = counts_of(self.shares, total, rng)
        drawn = [
            choose_clips(part, count, frames, rng)
            for part, count in zip(self.parts, counts, strict=True)
        ]
        pairs = zip(self.parts, own_choices(drawn), strict=True)
        clips = [cut_clips(part, own, frames) for part, own in pairs if len(own)]
        latents, slots = zip(*clips, strict=True)
        return torch.cat(latents), torch.cat(slots)


def read_latent_mixture(
    sources: Sequence[Source],
    autoencoder: Autoencoder,
    picture_px: int,
    *,
    most: int,
    held_out: SplitConfig,
) -> LatentMixture:
    """Return sources in their shares, each split as `split` does it; errors as there."""
    seen: list[LatentEpisodes] = []
    held: list[LatentEpisodes] = []
    for source in sources:
        whole = read_latents(
            source, autoencoder, picture_px, most=most, seen_share=1.0 - held_out.time
        )
        for part, place in zip(_split(whole, held_out, str(source.path)), (seen, held, held),
                               strict=True):  # fmt: skip
            if part is not None:
                place.append(part)
    shares = shares_of([source.weight for source in sources])
    return LatentMixture(tuple(seen), shares, tuple(held))


def _split(
    whole: LatentEpisodes, config: SplitConfig, name: str
) -> tuple[LatentEpisodes, LatentEpisodes | None, LatentEpisodes | None]:
    """Return the seen part, whole episodes held out, and what follows the seen part."""
    lengths = whole.lengths().tolist()
    rows = range(len(lengths))
    held = held_episodes(len(lengths), config, name)
    kept = len(lengths) - held

    def cut(chosen: Sequence[int], first: Sequence[int], end: Sequence[int]) -> LatentEpisodes:
        latents = [whole.latents_NTCHW[row, first[row] : end[row]] for row in chosen]
        slots = [whole.slots_NTA[row, first[row] : end[row]] for row in chosen]
        return pad(latents, slots)

    nothing = [0] * len(lengths)
    others = cut(rows[kept:], nothing, lengths) if held else None
    if not config.time:
        return cut(rows[:kept], nothing, lengths), others, None
    cuts = [max(1, int((1.0 - config.time) * length) - 1) for length in lengths]
    seen = cut(rows[:kept], nothing, [step + 1 for step in cuts])
    return seen, others, cut(rows[:kept], cuts, lengths)


def draw_clips(
    episodes: LatentEpisodes, batch: int, frames: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return random clips of latents (B, T, C, H, W) float32 and their slots (B, T, 10).

    The first slot of a clip is zero, as at the start of a rollout: what led to its first frame is
    not known there either.

    Raises:
        InputError: No episode has that many frames.
    """
    return cut_clips(episodes, choose_clips(episodes, batch, frames, rng), frames)


def choose_clips(
    episodes: LatentEpisodes, batch: int, frames: int, rng: np.random.Generator
) -> Tensor:
    """Return episode and first frame of random clips (B, 2)."""
    lengths = episodes.lengths()
    able = torch.nonzero(lengths >= frames).flatten()
    if not len(able):
        raise InputError(
            f"clips of {frames} frames, must be at most the {int(lengths.max())} of the longest "
            f"episode. Set frames lower or record longer episodes."
        )
    rows = able[torch.from_numpy(rng.integers(0, len(able), batch))]
    starts = torch.from_numpy(rng.integers(0, (lengths[rows] - frames + 1).numpy()))
    return torch.stack([rows, starts], dim=1)


def cut_clips(episodes: LatentEpisodes, choice_B2: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Return the clips that `choose_clips` chose."""
    rows, steps = choice_B2[:, :1], choice_B2[:, 1:] + torch.arange(frames)
    slots = episodes.slots_NTA[rows, steps].clone()
    slots[:, 0] = 0.0
    return episodes.latents_NTCHW[rows, steps].float(), slots
