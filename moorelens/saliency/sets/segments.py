"""Patches that follow the picture: superpixels, and objects whose masks are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from sklearn.cluster import KMeans
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.patches import PatchGrid

_COMPACT = 0.7  # weight of position against colour, both of unit spread: patches stay in one place
_ROUNDS = 10


def superpixel_grid(image: Tensor, count: int) -> PatchGrid:
    """Cut an image (C, H, W) into about `count` connected patches of similar colour and place (k-means from a grid).

    Deterministic. Small fragments are joined to the neighbour with the longest common border, large ones are patches
    of their own. Raises `OptionError` for a count that the image cannot hold.
    """
    if image.ndim != 3 or not 1 <= count <= image.shape[1] * image.shape[2] // 4:
        raise OptionError(
            f"An image (C, H, W) has at least 4 pixels for each superpixel and {count} were asked of one of "
            f"{tuple(image.shape)}: choose fewer."
        )
    colours = image.detach().cpu().double().numpy()
    height, width = colours.shape[1:]
    rows, columns = _split(count, height, width)
    spread = float(colours.std()) or 1.0
    cell = (height * width / count) ** 0.5
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")) * (_COMPACT / cell)
    points = np.concatenate([colours / spread / len(colours) ** 0.5, places]).reshape(len(colours) + 2, -1).T
    start = PatchGrid.regular(rows, columns, (height, width)).labels.numpy().ravel()
    centres = np.stack([points[start == label].mean(axis=0) for label in range(rows * columns)])
    found = KMeans(len(centres), init=centres, n_init=1, max_iter=_ROUNDS, random_state=0).fit_predict(points)
    labels = _connect(found.reshape(height, width).astype(np.int64), smallest=max(1, int(cell * cell / 4)))
    return PatchGrid.from_labels(torch.from_numpy(labels))


def object_grid(masks: Tensor) -> PatchGrid:
    """Make one patch of each object mask (K, H, W) bool and one of all the rest, which comes first.

    A later mask lies over an earlier one. Raises `OptionError` for masks of which nothing is to be seen.
    """
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise OptionError(
            f"Objects are given as bool masks (K, H, W) and these are {tuple(masks.shape)} {masks.dtype}: convert them."
        )
    labels = torch.zeros(masks.shape[1:], dtype=torch.int64, device=masks.device)
    for index, mask in enumerate(masks):
        labels[mask] = index + 1
    seen = set(torch.unique(labels).tolist())
    hidden = [index for index in range(len(masks)) if index + 1 not in seen]
    if hidden:
        raise OptionError(
            f"Every object is seen somewhere and masks {hidden[:8]} are empty or covered by later ones: leave them out."
        )
    return PatchGrid.from_labels(labels)


def _split(count: int, height: int, width: int) -> tuple[int, int]:
    rows = min(height, max(1, round((count * height / width) ** 0.5)))
    return rows, min(width, max(1, round(count / rows)))


def _connect(labels: npt.NDArray[np.int64], *, smallest: int) -> npt.NDArray[np.int64]:
    """Give every connected piece a label of its own, and join pieces below `smallest` pixels to a neighbour."""
    pieces = np.zeros_like(labels)
    for label in np.unique(labels):
        found, number = ndimage.label(labels == label)
        pieces[found > 0] = found[found > 0] + pieces.max()
        del number
    sizes = np.bincount(pieces.ravel())
    for piece in sorted(np.unique(pieces), key=lambda label: (sizes[label], label)):
        inside = pieces == piece
        if inside.sum() >= smallest:
            continue
        border = pieces[ndimage.binary_dilation(inside) & ~inside]
        if len(border):
            pieces[inside] = np.bincount(border).argmax()
    return pieces
