"""Whether two small grey images show the same content, also mirrored or with its edges cut off.

One image is enlarged and shifted in many ways, as a crop would do, and each result is compared with
the other by normalised cross-correlation (Lewis, 1995), which ignores brightness and contrast.
Coarse images decide which pairs are worth a fine comparison.
"""

import math
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy import ndarray
from scipy import sparse

SIDE = 64
"""Pixels per side of the images: at 32, a crop of 5 % is told apart from another photograph of the
same kind for 83 % of crops, at 64 for 92 %."""
_COARSE = 32
_KEPT = (1.0, 0.97, 0.95, 0.92)
"""Shares of width and height that a crop may leave."""
_SHIFTS = {_COARSE: 5, SIDE: 7}
"""Positions of a crop tried in each direction, by the side of the images."""
_TINY = 8
_TINY_LEAST = 0.7
"""Least correlation of tiny images, not cropped: 99.4 % of crops of 5 % had more, and 14 % of the
nearest other photographs."""
_COARSE_LEAST = 0.9
"""Least correlation of coarse images: all crops of 5 % had more."""
FLAT = 4.0
"""Images whose grey levels differ by less, as root mean square, show nothing to compare."""


@runtime_checkable
class Images(Protocol):
    """Rows of pixels, in memory or in files."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, rows: Any, /) -> UInt8[ndarray, "m pixels"]:
        """Some images, by their numbers or by a slice."""
        ...


class Registration:
    """Small grey images, to be compared in pairs."""

    def __init__(self, images: Images) -> None:
        """`images` are `SIDE` x `SIDE`, row by row; each comparison reads its images."""
        self._images = images

    def correlations(
        self,
        image: int,
        others: Int64[ndarray, " m"],
        quarters: int = 0,
        *,
        enough: float = math.inf,
    ) -> Float32[ndarray, " m"]:
        """The highest correlation of an image with each of the others, -1 to 1.

        The image is turned by `quarters` first, as `numpy.rot90` turns it. 0 if a comparison of
        smaller images already tells them apart. If the whole images reach `enough`, no crops
        are tried, and the correlation is that of the whole images.
        """
        best = np.zeros(len(others), np.float32)
        images = self._images[np.append(others, image)].reshape(-1, SIDE, SIDE).astype(np.float32)
        images, own = images[:-1], np.rot90(images[-1], quarters)

        def level(rows: ndarray, side: int) -> _Level:
            return _Level(_reduced(own[None], side)[0], _reduced(images[rows], side))

        near = np.arange(len(others))
        near = near[level(near, _TINY).whole_correlations() >= _TINY_LEAST]
        if len(near) and enough <= 1:
            whole = level(near, SIDE).whole_correlations()
            is_enough = whole >= enough
            best[near[is_enough]] = np.minimum(whole[is_enough], 1)
            near = near[~is_enough]
        if len(near):
            near = near[level(near, _COARSE).correlations() >= _COARSE_LEAST]
        if len(near):
            best[near] = level(near, SIDE).correlations()
        return best


class _Level:
    """An image and others of the same size."""

    def __init__(self, image: ndarray, others: ndarray) -> None:
        self._side = len(image)
        self._flat, self._others_flat = image.ravel(), others.reshape(len(others), -1)
        self._others = _normalised(self._others_flat)
        self._mirrored = _normalised(others[:, :, ::-1].reshape(len(others), -1))
        both = np.stack([self._flat, image[:, ::-1].ravel()])
        self._ours = np.ascontiguousarray(_normalised(both).T)

    def whole_correlations(self) -> ndarray:
        """For each other image, the higher correlation with the image and its mirror image."""
        return (self._others @ self._ours).max(1)

    def correlations(self) -> ndarray:
        """For each other image, the highest over all crops of either image, mirrored or not."""
        crops = self._crops(self._flat)
        best = np.maximum((crops @ self._others.T).max(0), (crops @ self._mirrored.T).max(0))
        for place, other in enumerate(self._others_flat):
            best[place] = max(best[place], float((self._crops(other) @ self._ours).max()))
        return np.minimum(best, 1)

    def _crops(self, flat: ndarray) -> ndarray:
        warped = _crop_operator(self._side) @ flat
        return _normalised(warped.reshape(-1, self._side**2))


def _reduced(images: ndarray, side: int) -> ndarray:
    """Smaller images, each of whose pixels is the mean of a square."""
    step = images.shape[1] // side
    return images.reshape(-1, side, step, side, step).mean((2, 4))


def _normalised(rows: ndarray) -> ndarray:
    """Rows of mean 0 and length 1; zero if an image is flat."""
    rows = rows - rows.mean(1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    is_flat = length < FLAT * rows.shape[1] ** 0.5
    return np.where(is_flat, 0, rows / np.maximum(length, 1e-6)).astype(np.float32)


@lru_cache(maxsize=4)
def _crop_operator(side: int) -> sparse.csr_array:
    """All crops of an image at once: (crops * side², side²), by bilinear interpolation."""
    operators = []
    for kept in _KEPT:
        slack = (1 - kept) * side / 2
        shifts = [0.0] if kept == 1 else np.linspace(-slack, slack, _SHIFTS[side]).tolist()
        operators += [_crop(side, kept, x, y) for x in shifts for y in shifts]
    return sparse.csr_array(sparse.vstack(operators))


def _crop(side: int, kept: float, shift_x: float, shift_y: float) -> sparse.csr_array:
    middle = (side - 1) / 2
    y, x = np.mgrid[:side, :side]
    x, y = (
        np.clip(middle + kept * (axis - middle) + shift, 0, side - 1)
        for axis, shift in ((x, shift_x), (y, shift_y))
    )
    left, top = (np.minimum(axis.astype(int), side - 2) for axis in (x, y))
    right, down = x - left, y - top
    pixels = np.arange(side * side)
    rows, columns, weights = [], [], []
    for below, weight_y in ((0, 1 - down), (1, down)):
        for beside, weight_x in ((0, 1 - right), (1, right)):
            rows.append(pixels)
            columns.append(((top + below) * side + left + beside).ravel())
            weights.append((weight_y * weight_x).ravel())
    values = np.concatenate(weights).astype(np.float32)
    places = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_array((values, places), shape=(side * side, side * side))
