"""Episodes as Rerun recordings (`.rrd`), where `rerun-sdk` is installed; nothing is sent."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robot_agent.core.errors import ConfigError
from robot_agent.core.types import CONTROL_HZ, Episode
from robot_agent.core.wx250s import JOINT_NAMES, forward
from robot_agent.store.durable import storage_errors
from robot_agent.store.exchange import AXES, Exported, ExportOptions, require_new
from robot_agent.store.images import encode_image

_LOST = ("exact pictures, where JPEG; what the guard changed, in words",)


def export_rerun(episodes: Iterable[Episode], folder: Path, options: ExportOptions) -> Exported:
    """Write one `.rrd` an episode: pictures, joints, tool, proposed and sent actions, control.

    Raises:
        ConfigError: `rerun-sdk` is not installed.
        InputError: The folder is not empty.
        StorageError: The disk refused.
    """
    rerun = _rerun()
    require_new(folder)
    count = steps = 0
    with storage_errors("writing Rerun recordings", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for episode in episodes:
            _write(rerun, episode, folder / f"{episode.episode_id}.rrd", options)
            count, steps = count + 1, steps + episode.num_steps
    return Exported(folder, count, steps, _LOST)


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise ConfigError(
            f"--format rerun needs rerun-sdk, which is not installed ({error}; 280 MB). "
            f"Install it with: pip install rerun-sdk==0.41.0"
        ) from error
    return rerun


def _write(rerun: Any, episode: Episode, path: Path, options: ExportOptions) -> None:
    stream = rerun.RecordingStream("robot_agent", recording_id=episode.episode_id)
    stream.save(path)
    about = f"{episode.instruction}\n\noutcome: {episode.outcome}, said {episode.judged_by}"
    stream.log("episode", rerun.TextDocument(about), static=True)
    for name, labels in (("joints_rad", JOINT_NAMES), ("sent", AXES), ("proposed", AXES)):
        stream.log(name, rerun.SeriesLines(names=list(labels)), static=True)
    for index in range(episode.num_steps + 1):
        stream.set_time("step", sequence=index)
        stream.set_time("time", duration=_seconds(episode, index))
        _log_moment(rerun, stream, episode, index, options)
    stream.flush()
    stream.disconnect()


def _log_moment(
    rerun: Any, stream: Any, episode: Episode, index: int, options: ExportOptions
) -> None:
    content = encode_image(episode.images[index], options.codec, options.jpeg_quality)
    stream.log("camera", rerun.EncodedImage(contents=content, media_type=f"image/{options.codec}"))
    stream.log("joints_rad", rerun.Scalars(episode.joints_rad[index]))
    stream.log("gripper", rerun.Scalars(float(episode.gripper[index])))
    stream.log("tool", rerun.Points3D([forward(episode.joints_rad[index])[:3, 3]], radii=0.01))
    if index == episode.num_steps:
        return
    stream.log("sent", rerun.Scalars(episode.actions[index]))
    stream.log("proposed", rerun.Scalars(episode.proposed[index]))
    who = f"{episode.controllers[index]}, weights {episode.weights_versions[index] or 'none'}"
    stream.log("control", rerun.TextLog(who))


def _seconds(episode: Episode, index: int) -> float:
    if not len(episode.stamps_ns):
        return index / CONTROL_HZ
    return float(episode.stamps_ns[index] - episode.stamps_ns[0]) * 1e-9
