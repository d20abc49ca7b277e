"""The most typical of many recorded observations, and which other branch it is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moorelens.errors import InvariantError

# All pairs of this many rows are compared; more are thinned evenly.
LIMIT = 512


def medoid(observations: npt.ArrayLike, *, scale: npt.ArrayLike | None = None, limit: int = LIMIT) -> int:
    """Return the row of `observations` (N, ...) with the least summed Euclidean distance to the others, first wins.

    `scale` (...) divides each value first, such as the spread of each feature, so that units do not decide; values with
    scale 0 count for nothing. Above `limit` rows an even selection is compared. Raises InvariantError for N = 0.
    """
    rows = np.asarray(observations)
    if not len(rows):
        raise InvariantError("A typical observation needs at least one to choose from, but none was recorded.")
    chosen = np.arange(len(rows)) if len(rows) <= limit else np.linspace(0, len(rows) - 1, limit).astype(np.int64)
    flat = rows[chosen].reshape(len(chosen), -1).astype(np.float64)
    if scale is not None:
        divisor = np.asarray(scale, dtype=np.float64).reshape(-1)
        flat = np.divide(flat, divisor, out=np.zeros_like(flat), where=divisor > 0)
    # Centred first: squared distances from inner products lose digits where all rows share a large offset.
    flat -= flat.mean(axis=0)
    squares = np.einsum("nd,nd->n", flat, flat)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * flat @ flat.T, 0.0))
    return int(chosen[int(np.argmin(np.round(distances.sum(axis=1), 9)))])
