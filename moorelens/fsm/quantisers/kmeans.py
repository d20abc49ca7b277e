"""K-means: a vector's code is the number of the nearest of C centres (scikit-learn finds them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from moorelens.errors import InvariantError, OptionError
from moorelens.fsm.pretrain import FitReport, fit_report
from moorelens.fsm.quantisers.config import DEFAULTS, FitSettings
from moorelens.fsm.quantisers.digits import levels_for, read_index, write_index

_ROWS = 20_000  # more say nothing new about a few hundred centres
_BLOCK = 512


class KMeansSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of a k-means quantiser: C `clusters` in D = `size` dimensions."""

    size: int
    clusters: int

    def __post_init__(self) -> None:
        """Refuse a number of clusters that is none; raises `OptionError`."""
        if self.clusters < 1:
            raise OptionError(f"k-means needs 1 cluster or more, and {self.clusters} is not: pass a larger number.")


class KMeansQuantiser(nn.Module):
    """C centres, unknown until `fit` or a file gives them.

    The number of a centre is one digit up to 255 centres, else several in base 255. The gradient of `relaxed` goes
    straight to the vector, and to the centre that stands for it.
    """

    kind: ClassVar[str] = "kmeans"
    spec_type: ClassVar[type[KMeansSpec]] = KMeansSpec

    def __init__(self, spec: KMeansSpec) -> None:
        super().__init__()
        self.spec = spec
        self.centres = nn.Parameter(torch.full((spec.clusters, spec.size), float("nan")))

    @classmethod
    def shaped(
        cls, x: Tensor, *, digits: int, hidden: tuple[int, ...], levels: int, generator: torch.Generator | None
    ) -> KMeansQuantiser:
        """Return one for vectors such as `x (N, D)` with `digits` clusters; the other numbers have no meaning here."""
        return cls(KMeansSpec(size=x.shape[1], clusters=digits))

    @property
    def levels(self) -> tuple[int, ...]:
        """The number of values of each digit of a centre's number."""
        return levels_for(self.spec.clusters)

    def fit(self, x: Tensor, *, held_out: Tensor | None = None, settings: FitSettings = DEFAULTS) -> FitReport:
        """Find centres for the rows of `x (N, D)`, repeated rows counting once; judge them on `held_out (M, D)`."""
        from sklearn.cluster import KMeans

        rows = torch.unique(x.detach(), dim=0).numpy().astype(np.float64)
        random = np.random.default_rng(settings.seed)
        if len(rows) > _ROWS:
            rows = rows[np.sort(random.choice(len(rows), _ROWS, replace=False))]
        clusters = min(self.spec.clusters, len(rows))
        if clusters:
            found = KMeans(n_clusters=clusters, n_init=1, random_state=int(random.integers(2**31))).fit(rows)
            centres = torch.from_numpy(found.cluster_centers_.astype(np.float32))
            with torch.no_grad():
                # Fewer different rows than centres: those left over repeat the first, and the first is found first.
                self.centres.copy_(torch.cat([centres, centres[:1].expand(self.spec.clusters - clusters, -1)]))
        return fit_report(self, x if held_out is None else held_out)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, K) int8 of `x (B, D)`; of two centres equally near, the first."""
        return write_index(self._nearest(x), self.levels)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the centres (B, D) that `codes (B, K)` are the numbers of."""
        return self.centres[read_index(codes, self.levels)]

    def relaxed(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))` with a straight-through gradient."""
        return self.centres[self._nearest(x)] + (x - x.detach())

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the centres."""
        return {"centres": self.centres.detach()}

    def _nearest(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            if bool(self.centres.isnan().any()):
                raise InvariantError("A k-means quantiser has no centres before it is fitted: call fit first.")
            blocks = [
                (x[first : first + _BLOCK, None] - self.centres).square().sum(dim=-1).argmin(dim=1)
                for first in range(0, len(x), _BLOCK)
            ]
            return torch.cat(blocks) if blocks else torch.zeros(0, dtype=torch.int64)
