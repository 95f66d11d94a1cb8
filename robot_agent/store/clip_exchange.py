"""Episodes in the clip layout of the published world model; see `clips` for the layout."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.types import Episode
from robot_agent.store.clips import Clip, columns_from_actions, list_clips, load_clip, save_clip
from robot_agent.store.exact_frames import ExactWriter, read_exact
from robot_agent.store.exchange import Exported, ExportOptions, ImportOptions, require_new

_LOST = (
    "pictures are H.264 with halved colours",
    "actions are scaled, clipped to 5 cm and 0.25 rad, and float32; the exact ones lie in "
    "robot_agent/",
    "no instruction, state, stamp or outcome; they lie in robot_agent/",
)


def export_clips(episodes: Iterable[Episode], folder: Path, options: ExportOptions) -> Exported:
    """Write one clip an episode, numbered in order; the last row of actions keeps the arm still.

    Raises:
        InputError: The folder is not empty, or pictures have odd sides.
        StorageError: The disk refused.
    """
    require_new(folder)
    exact, count, steps = ExactWriter(folder), 0, 0
    for episode in episodes:
        stay = np.zeros((1, 7))
        stay[0, 6] = episode.actions[-1, 6] if episode.num_steps else 1.0
        actions = np.concatenate([episode.actions, stay])
        clip = Clip(f"{count:09d}", episode.images, actions)
        save_clip(folder, clip, crf=options.video_crf)
        exact.add(episode)
        count, steps = count + 1, steps + episode.num_steps
    exact.close()
    return Exported(folder, count, steps, _LOST)


def import_clips(folder: Path, options: ImportOptions) -> Iterator[Episode]:
    """Yield the episodes of clips that this program exported.

    Raises:
        EpisodeFormatError: A clip is damaged, or tells nothing of the arm, as clips of others do.
    """
    del options
    names, own = list_clips(folder), read_exact(folder)
    if len(own) != len(names):
        raise EpisodeFormatError(
            f"{folder}: {len(names)} clips, the arm's states are known of {len(own)}: an episode "
            f"needs them. World models learn from clips as they are: "
            f"robot-agent world finetune --clips {folder}"
        )
    for name, exact in zip(names, own, strict=True):
        clip = load_clip(folder, name)
        episode = exact.episode(clip.frames)
        again = columns_from_actions(episode.actions)
        if not np.allclose(columns_from_actions(clip.actions)[:-1], again, atol=1e-6):
            raise EpisodeFormatError(
                f"{folder}/{name}: its actions were changed since the export. Remove the folder "
                f"robot_agent and use the clips as they are."
            )
        yield episode
