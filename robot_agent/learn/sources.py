"""Where training episodes come from: recordings, folders of clips and episode stores, weighed."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from safetensors import SafetensorError

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.learn.clip_data import measured_lag, read_clips, training_episodes
from robot_agent.learn.data import Episodes, episodes_from_store, load_recording
from robot_agent.learn.mixture import Mixture, shares_of
from robot_agent.learn.split import Split, SplitConfig, split
from robot_agent.store.episode_store import EpisodeStore

Kind = Literal["recording", "clips", "store"]
_WORDS = re.compile(r"(?:(recording|clips|store):)?(.*?[^:])(?:=([0-9.eE+-]+))?")


@dataclass(frozen=True)
class Source:
    """One source of episodes."""

    kind: Kind
    path: Path
    weight: float = 1.0
    """Its share of each batch, relative to the others."""

    def __str__(self) -> str:
        """Return it as `parse_source` reads it."""
        return f"{self.kind}:{self.path}={self.weight:g}"


def parse_source(text: str) -> Source:
    """Return the source of `[recording:|clips:|store:]PATH[=WEIGHT]`; a recording by default.

    Raises:
        ConfigError: There is no path, or the weight is no number over 0.
    """
    found = _WORDS.fullmatch(text)
    try:
        kind, path, weight = found.groups() if found else ("", "", "")
        number = float(weight) if weight else 1.0
    except ValueError:
        number = 0.0
    if not found or not 0.0 < number < float("inf"):
        raise ConfigError(
            f"data '{text}': must be PATH, clips:PATH or store:PATH, and may end with =WEIGHT, a "
            f"number over 0. For example kitchen.safetensors=0.7."
        )
    return Source(cast("Kind", kind or "recording"), Path(path), number)


def read_source(source: Source, seen_share: float) -> Episodes:
    """Return the episodes of a source as the tiny networks take them.

    The lag of clips is measured on the first `seen_share` of each.

    Raises:
        InputError: It is missing, or holds none of its kind.
        EpisodeFormatError: An episode or a clip is damaged.
    """
    readers: dict[Kind, Callable[[], Episodes]] = {
        "recording": lambda: _recording(source.path),
        "clips": lambda: _clips(source.path, seen_share),
        "store": lambda: _store(source.path),
    }
    return readers[source.kind]()


def read_mixture(sources: Sequence[Source], config: SplitConfig) -> tuple[Mixture, list[Split]]:
    """Return the sources in their shares, and how each was split.

    Raises:
        InputError: A source cannot be read or split.
    """
    splits = [split(read_source(s, 1.0 - config.time), config, str(s.path)) for s in sources]
    held = [part for each in splits for part in (each.others, each.later) if part is not None]
    shares = shares_of([source.weight for source in sources])
    return Mixture(tuple(each.seen for each in splits), shares, tuple(held)), splits


def read_recording(path: Path) -> Episodes:
    """Return the whole episodes of a recording; InputError when the file is none."""
    with recordings([path]):
        return load_recording(path, use_valid=False)


@contextmanager
def recordings(paths: Sequence[Path]) -> Iterator[None]:
    """Say what to do when a file of `paths` is no recording."""
    try:
        yield
    except (SafetensorError, KeyError) as error:
        raise InputError(
            f"{', '.join(map(str, paths))}: is no recording ({error}). "
            f"Make one with: robot-agent demos collect"
        ) from error


def _recording(path: Path) -> Episodes:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, must be a recording. Make one with: robot-agent demos collect"
        )
    return read_recording(path)


def _clips(folder: Path, seen_share: float) -> Episodes:
    clips = read_clips(folder, seen_share)
    lag = measured_lag(clips)
    whole = [dataclasses.replace(clip, cut=len(clip.frames)) for clip in clips]
    return training_episodes(whole, lag)


def _store(folder: Path) -> Episodes:
    store = open_store(folder)
    return episodes_from_store([store.load(episode_id) for episode_id in store.list()])


def open_store(folder: Path) -> EpisodeStore:
    """Return the episode store of a folder; InputError where there is none."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, must be an episode store. Record some: robot-agent run"
        )
    return EpisodeStore(folder)
