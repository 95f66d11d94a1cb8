"""Pictures to JPEG or PNG and back, and to the size that a model reads."""

from typing import Literal

import cv2
import numpy as np

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.core.types import ImageArray, require_array

Codec = Literal["jpeg", "png"]

_JPEG_420 = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
_JPEG_444 = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def encode_image(
    image_hwc: ImageArray, codec: Codec, jpeg_quality: int, *, is_stream: bool = False
) -> bytes:
    """Return an RGB picture as JPEG (full chroma; of a stream half) or lossless PNG."""
    bgr = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality, *(_JPEG_420 if is_stream else _JPEG_444)]
    if codec == "png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    encoded, content = cv2.imencode(f".{codec}", bgr, options)
    if not encoded:
        raise InputError(f"image {image_hwc.shape}: cannot be encoded as {codec}. Check its size.")
    return content.tobytes()


def decode_image(content: bytes) -> ImageArray:
    """Return the RGB picture (H, W, 3) that JPEG or PNG bytes hold."""
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise EpisodeFormatError(f"picture of {len(content)} bytes: {error}") from error
    if bgr is None:
        raise EpisodeFormatError(
            f"picture of {len(content)} bytes: is neither JPEG nor PNG. Quarantine its episode."
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def resize_images(images_thwc: ImageArray, size_px: tuple[int, int]) -> ImageArray:
    """Return pictures (T, H, W, 3) squashed to (height, width) by area averaging, as Bridge."""
    require_array("images", images_thwc, (None, None, None, 3), np.uint8)
    height, width = size_px
    if images_thwc.shape[1:3] == (height, width):
        return images_thwc
    resized = np.empty((len(images_thwc), height, width, 3), np.uint8)
    for index, image in enumerate(images_thwc):
        resized[index] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return resized
