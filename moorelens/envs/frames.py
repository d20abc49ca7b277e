"""The frame preprocessing of the Moore-machine-network papers (koul2019mmn): crop, grey, stretch, shrink to 80 x 80."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = 80
Bytes = npt.NDArray[np.uint8]
Crop = tuple[slice, slice]


def prepare(grey: npt.NDArray[np.float64]) -> Bytes:
    """Return grey values (rows, columns) of a cropped frame as bytes (80, 80).

    The values are stretched so that the darkest is 0 and the brightest 255 *in this frame*, as SciPy's `imresize` did
    to float input until SciPy 1.3 dropped it; a frame of one value becomes 0. PIL's bilinear filter then shrinks it.
    """
    return shrink(stretch(grey, float(grey.min()), float(grey.max())))


def stretch(grey: npt.NDArray[np.float64], darkest: float, brightest: float) -> Bytes:
    """Return `grey` as bytes, `darkest` at 0 and `brightest` at 255."""
    scale = 255.0 / ((brightest - darkest) or 1.0)
    return (((grey - darkest) * scale).clip(0.0, 255.0) + 0.5).astype(np.uint8)


def shrink(image: Bytes) -> Bytes:
    """Return `image` resized to (80, 80) with PIL's antialiased bilinear filter, columns first and then rows."""
    # PIL rounds to bytes between the two passes. It always began with the columns when the policies were trained; today
    # it begins with whichever is cheaper (the rows, for Boxing), so the two passes are asked for one by one.
    narrow = Image.fromarray(image).resize((SIZE, image.shape[0]), resample=Image.Resampling.BILINEAR)
    return np.asarray(narrow.resize((SIZE, SIZE), resample=Image.Resampling.BILINEAR), dtype=np.uint8)


class Preprocessor:
    """`prepare` for screens of colour numbers, several times faster and equal to the last bit.

    A frame shows a handful of the 128 colours, so grey values are looked up and the stretch is computed per colour.
    """

    def __init__(self, crop: Crop) -> None:
        """Forget all colours."""
        self._crop = crop
        self._grey = np.full(256, np.nan)

    def __call__(self, screen: Bytes, colours: Callable[[], npt.NDArray[Any]]) -> Bytes:
        """Return the observation (1, 80, 80) of a `screen` of colour numbers; `colours()` is the same screen in RGB."""
        cropped = screen[self._crop]
        shown = np.flatnonzero(np.bincount(cropped.ravel(), minlength=256))
        grey = self._grey[shown]
        if np.isnan(grey).any():
            self._learn(cropped, colours()[self._crop])
            grey = self._grey[shown]
        table = np.zeros(256, dtype=np.uint8)
        table[shown] = stretch(grey, grey.min(), grey.max())
        return shrink(table[cropped])[None]

    def _learn(self, screen: Bytes, rgb: npt.NDArray[Any]) -> None:
        numbers, first = np.unique(screen, return_index=True)
        self._grey[numbers] = rgb.reshape(-1, 3)[first].mean(axis=1)
