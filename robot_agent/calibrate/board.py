"""The ChArUco board: drawn for printing and found in pictures, by old and new OpenCV."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray, ImageArray

MIN_CORNERS = 6
"""Fewer corners fix a pose too loosely."""
_DICTIONARY = "DICT_4X4_50"
"""Few bits, so that a marker is read at 20 pixels; 50 are more than a board needs."""
_SUBPIXEL_WINDOW = 3
"""Half a window that stays between a corner and the nearest marker."""
_QUIET_ZONE_M = 0.01
"""White around the board, without which outer markers are not found."""


@dataclass(frozen=True, kw_only=True)
class BoardConfig:
    """A board that fits a sheet of A4 and a gripper; measure it after printing."""

    columns: int = 7
    """Squares along the longer side."""
    rows: int = 5
    """Odd: for even numbers the pattern changed between versions of OpenCV."""
    square_m: float = 0.024
    """Edge of a square, as measured on the print."""
    marker_m: float = 0.018
    """Edge of a marker."""

    def __post_init__(self) -> None:
        """Check sizes."""
        require_range("columns", self.columns, 3, 20, "squares")
        require_range("rows", self.rows, 3, 20, "squares")
        require_range("square_m", self.square_m, 0.005, 0.2, "m")
        require_range("marker_m", self.marker_m, 0.4 * self.square_m, 0.9 * self.square_m, "m")
        if self.rows % 2 == 0:
            raise ValueError(f"rows={self.rows} is even, must be odd: OpenCV changed that pattern")
        if self.columns * self.rows // 2 > 50:
            raise ValueError(f"{self.columns}x{self.rows} squares need more than 50 markers")

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the pattern."""
        return self.columns * self.square_m, self.rows * self.square_m

    @property
    def sheet_m(self) -> tuple[float, float]:
        """Width and height with the white rim that belongs to it."""
        width, height = self.size_m
        return width + 2 * _QUIET_ZONE_M, height + 2 * _QUIET_ZONE_M


@dataclass(frozen=True, eq=False)
class Corners:
    """Corners of the board in one picture."""

    points_m: FloatArray
    """On the board (N, 3), z = 0."""
    pixels: FloatArray
    """In the picture (N, 2); whole numbers are centres of pixels."""

    @property
    def count(self) -> int:
        """How many were found."""
        return len(self.pixels)

    @property
    def is_enough(self) -> bool:
        """Whether they fix a pose: enough of them, not all on one line."""
        if self.count < MIN_CORNERS:
            return False
        centred = self.points_m[:, :2] - self.points_m[:, :2].mean(axis=0)
        return bool(np.linalg.matrix_rank(centred, tol=1e-6) == 2)


class Api(Protocol):
    """What differs between versions of OpenCV."""

    def draw(self, size_px: tuple[int, int], margin_px: int) -> ImageArray:
        """Return the board as grey levels (H, W)."""

    def detect(self, gray: ImageArray) -> tuple[Any, Any]:
        """Return corners (N, 1, 2) and their ids (N, 1), or None and None."""

    def corners_m(self) -> FloatArray:
        """Return every inner corner on the board (M, 3)."""


class NewApi:
    """OpenCV 4.7 and later: `CharucoDetector`."""

    def __init__(self, config: BoardConfig, aruco: Any = cv2.aruco) -> None:
        """Make board and detector."""
        dictionary = aruco.getPredefinedDictionary(getattr(aruco, _DICTIONARY))
        size = (config.columns, config.rows)
        self._board = aruco.CharucoBoard(size, config.square_m, config.marker_m, dictionary)
        self._detector = aruco.CharucoDetector(self._board)

    def draw(self, size_px: tuple[int, int], margin_px: int) -> ImageArray:
        """Return the board as grey levels (H, W)."""
        picture: ImageArray = self._board.generateImage(size_px, marginSize=margin_px)
        return picture

    def detect(self, gray: ImageArray) -> tuple[Any, Any]:
        """Return corners and ids."""
        corners, ids, _, _ = self._detector.detectBoard(gray)
        return corners, ids

    def corners_m(self) -> FloatArray:
        """Return every inner corner."""
        return np.asarray(self._board.getChessboardCorners(), np.float64)


class LegacyApi:
    """OpenCV 4.6 and earlier, such as Ubuntu Noble's: `interpolateCornersCharuco`."""

    def __init__(self, config: BoardConfig, aruco: Any = cv2.aruco) -> None:
        """Make the board."""
        self._aruco = aruco
        self._dictionary = aruco.getPredefinedDictionary(getattr(aruco, _DICTIONARY))
        self._board = aruco.CharucoBoard_create(
            config.columns, config.rows, config.square_m, config.marker_m, self._dictionary
        )

    def draw(self, size_px: tuple[int, int], margin_px: int) -> ImageArray:
        """Return the board as grey levels (H, W)."""
        picture: ImageArray = self._board.draw(size_px, marginSize=margin_px)
        return picture

    def detect(self, gray: ImageArray) -> tuple[Any, Any]:
        """Return corners and ids."""
        markers, ids, _ = self._aruco.detectMarkers(gray, self._dictionary)
        if ids is None or not len(ids):
            return None, None
        found = self._aruco.interpolateCornersCharuco(markers, ids, gray, self._board)
        _, corners, corner_ids = found
        if corners is None or not len(corners):
            return None, None
        # This version answers half a pixel to the right and below of what it found.
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
        window = (_SUBPIXEL_WINDOW, _SUBPIXEL_WINDOW)
        return cv2.cornerSubPix(gray, corners, window, (-1, -1), criteria), corner_ids

    def corners_m(self) -> FloatArray:
        """Return every inner corner."""
        return np.asarray(self._board.chessboardCorners, np.float64)


def api_for(config: BoardConfig, aruco: Any = cv2.aruco) -> Api:
    """Return the interface that this OpenCV has."""
    if hasattr(aruco, "CharucoDetector"):
        return NewApi(config, aruco)
    return LegacyApi(config, aruco)


class Board:
    """A board of one size; not thread-safe, as OpenCV's detector is not."""

    def __init__(self, config: BoardConfig | None = None, api: Api | None = None) -> None:
        """Take the sizes; `api` stands in for the one that this OpenCV has."""
        self.config = config or BoardConfig()
        self._api = api or api_for(self.config)

    @cached_property
    def corners_m(self) -> FloatArray:
        """Every inner corner on the board (M, 3)."""
        return self._api.corners_m()

    def draw(self, px_per_m: float) -> ImageArray:
        """Return the board with its white rim, grey levels (H, W)."""
        width, height = (round(side * px_per_m) for side in self.config.sheet_m)
        return self._api.draw((width, height), round(_QUIET_ZONE_M * px_per_m))

    def find(self, image_hwc: ImageArray) -> Corners:
        """Return the corners in an RGB picture (H, W, 3); none when there is no board."""
        gray: Any = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY)
        pixels, ids = self._api.detect(gray)
        if ids is None or not len(ids):
            return Corners(np.zeros((0, 3)), np.zeros((0, 2)))
        known = self.corners_m[np.asarray(ids).reshape(-1)]
        return Corners(known, np.asarray(pixels, np.float64).reshape(-1, 2))
