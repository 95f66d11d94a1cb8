"""Compares the live picture with a reference: has the camera moved, are red and blue swapped."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from robot_agent.core.errors import CalibrationError
from robot_agent.core.types import FloatArray, ImageArray

_WORK_WIDTH_PX = 320
_SMOOTHING_PX = 1.5
_EDGE = 8.0
"""Gradient [grey levels/px] at which an edge counts half; noise after smoothing has about 1."""
_ROTATIONS_DEG = (0.0, -0.5, 0.5, -1.0, 1.0, -2.0, 2.0, -3.0, 3.0)
_TURN_MARGIN = 0.01
_SEARCH = 0.15
"""Shifts are looked for up to this share of the width."""
_MIN_LIKENESS = 0.3
"""Share of the reference's edges that must be found again."""


@dataclass(frozen=True)
class ViewShift:
    """How the view differs from the reference."""

    moved_px: float
    """Mean distance by which points of the reference have moved [px of the picture]."""
    likeness: float
    """Share of the reference's edges that were found again there, 0 to 1."""
    colour_agreement: float
    """Correlation of red minus blue with the reference's, -1 to 1; negative when swapped."""


def load_reference(path: Path) -> ImageArray:
    """Return the reference picture, RGB (H, W, 3) uint8.

    Raises:
        CalibrationError: No such file, or no picture.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        raise CalibrationError(
            f"reference {path}: no picture can be read there. Take one with the calibration, or "
            f"leave the parameter empty to do without the check."
        )
    return np.ascontiguousarray(picture[:, :, ::-1])


def measure_shift(image_hwc: ImageArray, reference_hwc: ImageArray) -> ViewShift:
    """Return how far the view has moved against a reference picture of the same size.

    The directions of edges are correlated over all shifts and a few rotations. Directions do not
    depend on the light, and the shift that explains most edges is the camera's: what stands still
    outvotes the arm and what was put elsewhere.

    Raises:
        CalibrationError: The sizes differ.

    Cost: 60 ms for 640x480; at the start and now and then, not for every picture.
    Source: Fitch, Kadyrov, Christmas, Kittler, Orientation Correlation, BMVC 2002.
    """
    if image_hwc.shape != reference_hwc.shape:
        raise CalibrationError(
            f"the picture is {image_hwc.shape[1]}x{image_hwc.shape[0]}, its reference "
            f"{reference_hwc.shape[1]}x{reference_hwc.shape[0]}. Use the profile of the "
            f"calibration, or calibrate anew."
        )
    scale = _WORK_WIDTH_PX / image_hwc.shape[1]
    grey, reference = (_small_grey(picture, scale) for picture in (image_hwc, reference_hwc))
    spectrum = np.fft.fft2(_edge_directions(grey))
    rows, columns = grey.shape
    best, likeness = np.eye(2, 3), -1.0
    for rotation_deg in _ROTATIONS_DEG:
        turn = np.asarray(
            cv2.getRotationMatrix2D((columns / 2, rows / 2), rotation_deg, 1.0), float
        )
        turned = np.asarray(
            cv2.warpAffine(reference, turn, (columns, rows), borderMode=cv2.BORDER_REPLICATE),
            float,
        )
        shift_px, share = _correlate(_edge_directions(turned), spectrum)
        # A turn must explain clearly more than the straight view, which is tried first.
        if share > likeness + (_TURN_MARGIN if rotation_deg else 0.0):
            best, likeness = turn + np.column_stack([np.zeros((2, 2)), shift_px]), share
    moved_px = _mean_motion_px(best, grey.shape) / scale
    return ViewShift(moved_px, likeness, _colour_agreement(image_hwc, reference_hwc))


def problem(shift: ViewShift, max_moved_px: float) -> str:
    """Return why the view must not be used, with the remedy, or an empty text."""
    if shift.colour_agreement < -0.2:
        return (
            f"camera: red and blue are swapped against the reference (agreement "
            f"{shift.colour_agreement:.2f}, must be over -0.2). Set the encoding, rgb8 or bgr8, "
            f"that the camera really sends."
        )
    if shift.likeness < _MIN_LIKENESS:
        return (
            f"camera: the view does not resemble its reference (likeness {shift.likeness:.2f}, "
            f"must be {_MIN_LIKENESS} at least). Is it the right camera? Put it back, or "
            f"calibrate anew and take a new reference."
        )
    if shift.moved_px >= max_moved_px:
        return (
            f"camera: the view has moved by {shift.moved_px:.1f} px against its reference, limit "
            f"{max_moved_px:.1f} px. Put the camera back, or calibrate anew and take a new "
            f"reference."
        )
    return ""


def _small_grey(image_hwc: ImageArray, scale: float) -> FloatArray:
    grey = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small.astype(np.float64), (0, 0), _SMOOTHING_PX)
    return np.asarray(smooth, np.float64)


def _edge_directions(grey: FloatArray) -> NDArray[np.complex128]:
    """Return a complex number for each pixel: its angle is the edge's, its length at most 1."""
    gradient = np.zeros(grey.shape, np.complex128)
    gradient[1:-1, 1:-1] = (grey[1:-1, 2:] - grey[1:-1, :-2]) / 2
    gradient[1:-1, 1:-1] += 1j * (grey[2:, 1:-1] - grey[:-2, 1:-1]) / 2
    length = np.abs(gradient)
    return gradient * length / (length**2 + _EDGE**2)


def _correlate(
    reference: NDArray[np.complex128], spectrum: NDArray[np.complex128]
) -> tuple[FloatArray, float]:
    """Return the shift (2,) [px, x y] that explains most edges of the reference, and its share."""
    scores = np.fft.ifft2(spectrum * np.conj(np.fft.fft2(reference))).real
    reach = int(_SEARCH * scores.shape[1])
    near = np.roll(scores, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = (part + 1 for part in divmod(int(near[1:-1, 1:-1].argmax()), 2 * reach - 1))
    shift_px = np.array(
        [
            column - reach + _vertex(near[row, column - 1 : column + 2]),
            row - reach + _vertex(near[row - 1 : row + 2, column]),
        ]
    )
    total = float((np.abs(reference) ** 2).sum())
    return shift_px, float(near[row, column]) / total if total > 0.0 else 0.0


def _vertex(values: FloatArray) -> float:
    """Return where the parabola through three values around a maximum has its vertex."""
    bend = values[0] - 2 * values[1] + values[2]
    return float(0.5 * (values[0] - values[2]) / bend) if bend < 0.0 else 0.0


def _mean_motion_px(motion: FloatArray, shape: tuple[int, ...]) -> float:
    """Return how far `motion` takes the points of a grid over the picture, on average [px]."""
    rows, columns = np.meshgrid(
        np.linspace(0, shape[0] - 1, 5), np.linspace(0, shape[1] - 1, 5), indexing="ij"
    )
    points = np.stack([columns.reshape(-1), rows.reshape(-1)], axis=1)
    moved = points @ motion[:, :2].T + motion[:, 2]
    return float(np.linalg.norm(moved - points, axis=1).mean())


def _colour_agreement(image_hwc: ImageArray, reference_hwc: ImageArray) -> float:
    red_over_blue = [
        cv2.blur(picture[:, :, 0].astype(np.float64) - picture[:, :, 2], (15, 15))
        for picture in (image_hwc, reference_hwc)
    ]
    a, b = red_over_blue
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size > 0.0 else 0.0
