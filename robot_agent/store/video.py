"""Pictures to H.264 and back, for the formats that keep them as video."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.core.types import ImageArray


class VideoWriter:
    """Writes frames of one size; use it in a `with` block."""

    def __init__(self, path: Path, size_px: tuple[int, ...], fps: int, crf: int = 18) -> None:
        """Open `path` for pictures of (height, width), both even; every second is a key frame.

        Raises:
            InputError: A side is odd, which the format's halved colours do not allow.
        """
        height, width = size_px
        if height % 2 or width % 2:
            raise InputError(f"pictures of {height}x{width}: video needs even sides. Resize them.")
        self._container = av.open(str(path), "w")
        options = {"crf": str(crf), "preset": "fast", "g": "2"}
        self._stream = self._container.add_stream("libx264", rate=fps, options=options)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"

    def add(self, image: ImageArray) -> None:
        """Append a picture (H, W, 3) RGB uint8."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file."""
        if error is None:
            self._container.mux(self._stream.encode())
        self._container.close()


def write_video(path: Path, frames: ImageArray, fps: int, crf: int = 18) -> None:
    """Write pictures (T, H, W, 3) RGB uint8."""
    with VideoWriter(path, frames.shape[1:3], fps, crf) as writer:
        for image in frames:
            writer.add(image)


def read_video(path: Path) -> ImageArray:
    """Return all pictures (T, H, W, 3) of a video; EpisodeFormatError where it is cut or none."""
    return np.stack(list(iterate_video(path)))


def iterate_video(path: Path) -> Iterator[ImageArray]:
    """Yield the pictures (H, W, 3) of a video one by one.

    Raises:
        EpisodeFormatError: It is no video, or was cut.
    """
    count = expected = 0
    try:
        content = path.read_bytes()
        _require_whole_boxes(content)
        with av.open(io.BytesIO(content), "r") as container:
            expected = container.streams.video[0].frames
            for frame in container.decode(video=0):
                count += 1
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (OSError, ValueError, IndexError, av.error.FFmpegError) as error:
        raise EpisodeFormatError(
            f"{path}: no readable video ({error}). Copy it again or leave it out."
        ) from error
    if not count or (expected and count != expected):
        raise EpisodeFormatError(
            f"{path}: {count} frames can be decoded, must be {expected or 'at least 1'}. "
            f"The file was cut: copy it again or leave it out."
        )


def _require_whole_boxes(content: bytes) -> None:
    """Raise ValueError unless the top-level boxes of an MP4 fill the file exactly.

    Source: ISO/IEC 14496-12, 4.2: 32-bit size, type, 64-bit size when the first is 1, 0 = to the
    end of the file.
    """
    offset = 0
    while 0 <= offset < len(content):
        size = int.from_bytes(content[offset : offset + 4], "big")
        if size == 1:
            size = int.from_bytes(content[offset + 8 : offset + 16], "big")
        if size == 0:
            return
        if size < 8:
            raise ValueError(f"box of {size} bytes at {offset}")
        offset += size
    if offset != len(content):
        raise ValueError(f"{len(content)} bytes, must be {offset}")
