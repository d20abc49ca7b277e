"""Parts of an input that are shown or hidden as a whole: grids of cells, superpixels, objects, single features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.masks import cells


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """P patches that cover an input; a set of patches is a Python int whose bit p says that patch p is in it.

    `labels (H, W)`, or (F,) for vectors, int64: the patch of each pixel or feature, 0..P-1, each used. `shape`: rows
    and columns of a regular grid, patch number = row * columns + column; None for other shapes.
    """

    labels: Tensor
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse labels that leave a patch without pixels."""
        used = torch.unique(self.labels)
        if self.labels.numel() == 0 or not torch.equal(used.cpu(), torch.arange(len(used))):
            raise OptionError(
                f"Patches are numbered 0 to P-1 without gaps and these labels are {used.tolist()[:8]}...: use "
                "from_labels, which renumbers them."
            )

    @classmethod
    def regular(cls, rows: int, columns: int, size: tuple[int, int]) -> PatchGrid:
        """Cut (H, W) into `rows` x `columns` cells; pixel row i lies in cell row floor(i rows / H)."""
        if not (1 <= rows <= size[0] and 1 <= columns <= size[1]):
            raise OptionError(
                f"A grid on {size[0]} x {size[1]} pixels has 1 to {size[0]} rows and 1 to {size[1]} columns and "
                f"{rows} x {columns} was asked for: choose a coarser one."
            )
        labels = cells(rows, size[0])[:, None] * columns + cells(columns, size[1])[None, :]
        return cls(labels=labels, shape=(rows, columns))

    @classmethod
    def features(cls, count: int) -> PatchGrid:
        """One patch for each of `count` entries of a vector."""
        return cls(labels=torch.arange(count))

    @classmethod
    def from_labels(cls, labels: Tensor) -> PatchGrid:
        """Patches of any shape (superpixels, objects) from a segmentation (H, W) of any integers, in their order."""
        _, found = torch.unique(labels, return_inverse=True)
        return cls(labels=found.reshape(labels.shape))

    @cached_property
    def count(self) -> int:
        """The number of patches P."""
        return int(self.labels.max()) + 1

    @property
    def full(self) -> int:
        """The set of all patches."""
        return (1 << self.count) - 1

    @cached_property
    def areas(self) -> Tensor:
        """The number of pixels of each patch (P,), int64."""
        return torch.bincount(self.labels.flatten(), minlength=self.count)

    def membership(self, sets: Sequence[int]) -> Tensor:
        """Return (n, P) bool: which patches are in each set."""
        width = (self.count + 7) // 8
        for chosen in sets:
            if not 0 <= chosen <= self.full:
                raise OptionError(
                    f"A set of {self.count} patches is a number from 0 to {self.full} and {chosen} is not: it names "
                    "patches of another grid."
                )
        packed = np.frombuffer(b"".join(chosen.to_bytes(width, "little") for chosen in sets), dtype=np.uint8)
        bits = np.unpackbits(packed.reshape(len(sets), width), axis=1, bitorder="little")[:, : self.count]
        return torch.from_numpy(bits.astype(bool))

    def keep(self, sets: Sequence[int]) -> Tensor:
        """Return keep masks (n, 1, H, W), or (n, F) for vectors, float32: 1 on the patches in each set."""
        masks = self.membership(sets).to(self.labels.device, torch.float32)[:, self.labels]
        return masks if self.labels.ndim == 1 else masks[:, None]

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Return for each patch of an image the smallest box (top, left, bottom, right) around it, ends excluded."""
        if self.labels.ndim != 2:
            raise OptionError(
                "Boxes are drawn around patches of an image and these are entries of a vector: use names."
            )
        found = []
        for patch in range(self.count):
            rows, columns = torch.nonzero(self.labels == patch, as_tuple=True)
            found.append((int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1))
        return found

    def touched(self, mask: Tensor) -> int:
        """Return the set of patches that a bool mask (H, W) or (F,) touches."""
        return sum(1 << int(patch) for patch in torch.unique(self.labels[mask]))

    def means(self, values: Tensor) -> Tensor:
        """Return the mean over each patch (B, P) of `values (B, H, W)` or (B, F)."""
        flat = values.reshape(len(values), -1)
        sums = torch.zeros(len(values), self.count, dtype=flat.dtype, device=flat.device)
        labels = self.labels.flatten().to(flat.device)
        return sums.index_add_(1, labels, flat) / self.areas.to(flat)
