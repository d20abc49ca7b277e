"""The frame preprocessing of the Moore-machine-network papers (koul2019mmn): crop, grey, stretch, shrink to 80 x 80."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from moorelens.envs.identity import frame_key

SIZE = 80
_UNKNOWN = 255  # rank of a colour not met yet; there are 128 colours
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
    return shorten(narrow(image))


def narrow(image: Bytes) -> Bytes:
    """Return `image (rows, columns)` resized to (rows, 80); every row by itself."""
    return _resized(image, image.shape[0])


def shorten(image: Bytes) -> Bytes:
    """Return `image (rows, 80)` resized to (80, 80)."""
    return _resized(image, SIZE)


def _resized(image: Bytes, rows: int) -> Bytes:
    whole = Image.frombuffer("L", image.shape[::-1], np.ascontiguousarray(image), "raw", "L", 0, 1)
    data = whole.resize((SIZE, rows), resample=Image.Resampling.BILINEAR).tobytes()
    return np.frombuffer(data, dtype=np.uint8).reshape(rows, SIZE)


class ScreenMemory:
    """The observations of the last `limit` distinct screens of one game, whichever episodes they were seen in."""

    def __init__(self, limit: int = 2048) -> None:
        """Remember nothing yet; an entry takes 7 kB."""
        self._limit = limit
        self._known: dict[bytes, Bytes] = {}

    def find(self, key: bytes) -> Bytes | None:
        """Return the observation of the screen with this key, if it is remembered."""
        return self._known.get(key)

    def keep(self, key: bytes, observation: Bytes) -> None:
        """Remember one more, and forget the oldest where there are too many."""
        if len(self._known) >= self._limit:
            del self._known[next(iter(self._known))]
        self._known[key] = observation


class Preprocessor:
    """`prepare` for successive screens of colour numbers, several times faster and equal to the last bit.

    A frame shows a handful of the 128 colours, so grey values are looked up and the stretch is computed per colour.
    Most rows are those of the frame before: only what changed is stretched and narrowed anew. `memory` is shared by
    the episodes of one game, of which many show the same screens.
    """

    def __init__(self, crop: Crop, *, memory: ScreenMemory | None = None) -> None:
        """Forget all colours and frames."""
        self._crop = crop
        self._memory = memory
        self._palette = _Palette()
        self._last: _Frame | None = None

    def __call__(self, screen: Bytes, colours: Callable[[], npt.NDArray[Any]]) -> Bytes:
        """Return the observation (1, 80, 80) of a `screen` of colour numbers; `colours()` is the same screen in RGB."""
        cropped = screen[self._crop]
        if self._memory is None:
            return self._prepared(cropped, colours).copy()
        key = frame_key(cropped)
        observation = self._memory.find(key)
        if observation is None:
            observation = self._prepared(cropped, colours).copy()
            self._memory.keep(key, observation)
        return observation.copy()

    def _prepared(self, cropped: Bytes, colours: Callable[[], npt.NDArray[Any]]) -> Bytes:
        if self._last is None:
            self._last = _Frame(cropped)
            changed = np.arange(len(cropped))
        else:
            changed = np.flatnonzero((self._last.numbers != cropped).any(axis=1))
        if len(changed):
            self._update(self._last, changed, cropped, colours)
        return self._last.observation

    def _update(
        self, frame: _Frame, changed: npt.NDArray[np.intp], cropped: Bytes, colours: Callable[[], npt.NDArray[Any]]
    ) -> None:
        """Bring `frame` up to date with `cropped`, of which only the rows `changed` are new."""
        rows = cropped[changed]
        ranks = _translated(rows, self._palette.ranks)
        if ranks.max() == _UNKNOWN:
            self._palette.learn(cropped, colours()[self._crop])
            # Ranks and the stretch are other ones now, so nothing that was kept holds.
            changed, rows, frame.span = np.arange(len(cropped)), cropped, None
            ranks = _translated(rows, self._palette.ranks)
        frame.numbers[changed], frame.darkest[changed], frame.brightest[changed] = rows, ranks.min(1), ranks.max(1)
        span = int(frame.darkest.min()), int(frame.brightest.max())
        if span != frame.span:
            frame.span, frame.stretch = span, self._palette.stretch(*span)
            changed, rows = np.arange(len(cropped)), cropped
        frame.narrow[changed] = narrow(_translated(rows, frame.stretch))
        frame.observation = shorten(frame.narrow)[None]


class _Palette:
    """The grey values of the colour numbers met so far, in order: `ranks` maps a number to its place."""

    def __init__(self) -> None:
        self._grey = np.full(256, np.nan)
        self.ranks = bytes([_UNKNOWN] * 256)

    def learn(self, screen: Bytes, rgb: npt.NDArray[Any]) -> None:
        numbers, first = np.unique(screen, return_index=True)
        self._grey[numbers] = rgb.reshape(-1, 3)[first].mean(axis=1)
        ranks = np.full(256, _UNKNOWN, dtype=np.uint8)
        order = self._order()
        ranks[order] = np.arange(len(order))
        self.ranks = ranks.tobytes()

    def stretch(self, darkest: int, brightest: int) -> bytes:
        """Return the table from colour number to byte for a frame that spans these ranks."""
        order = self._order()
        table = np.zeros(256, dtype=np.uint8)
        low, high = self._grey[order[darkest]], self._grey[order[brightest]]
        table[order] = stretch(self._grey[order], float(low), float(high))
        return table.tobytes()

    def _order(self) -> npt.NDArray[np.intp]:
        known = np.flatnonzero(~np.isnan(self._grey))
        return known[np.argsort(self._grey[known], kind="stable")]


class _Frame:
    """The frame before, of R rows: its colour numbers (R, C), the ranks that each row spans (R,), the table that
    stretches it, its rows at the width of the observation (R, 80), and the observation (1, 80, 80)."""

    def __init__(self, cropped: Bytes) -> None:
        rows = len(cropped)
        self.numbers = np.empty_like(cropped, order="C")
        self.darkest, self.brightest = np.empty(rows, dtype=np.uint8), np.empty(rows, dtype=np.uint8)
        self.span: tuple[int, int] | None = None
        self.stretch = bytes(256)
        self.narrow = np.empty((rows, SIZE), dtype=np.uint8)
        self.observation = np.empty((1, SIZE, SIZE), dtype=np.uint8)


def _translated(numbers: Bytes, table: bytes) -> Bytes:
    # Twice as quick as an index array, which numpy widens to eight bytes a pixel first.
    return np.frombuffer(numbers.tobytes().translate(table), dtype=np.uint8).reshape(numbers.shape)
