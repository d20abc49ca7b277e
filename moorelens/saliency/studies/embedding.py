"""A map of models: points whose distances follow how well the heat maps of one serve the other."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.errors import InvariantError, OptionError

Floats = npt.NDArray[np.float64]
_ZERO = 1e-9  # of the largest eigenvalue: below it a direction is rounding


class Landscape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points (M, 2) of M models; `shown`: share of all squared distances that the two directions show.

    `negative`: weight of the directions that no plane can show (a similarity need not be a kernel), as a share of all.
    """

    points: tuple[tuple[float, float], ...]
    shown: float
    negative: float


def relative(matrix: npt.ArrayLike) -> Floats:
    """Return K[A, B] / K[B, B] (R, M) of `matrix (R, M)`, whose first M rows are the M judges' own maps in order.

    Raises: OptionError where a model gets nothing from its own map.
    """
    values = np.asarray(matrix, dtype=np.float64)
    own: Floats = np.diagonal(values[: values.shape[1]])
    if not np.all(own > 0):
        raise OptionError(
            "A relative score divides by what a model's own map gives it, and for one model that is nothing: leave "
            "that model out."
        )
    return values / own[None, :]


def similarity(matrix: npt.ArrayLike) -> Floats:
    """Return the symmetric similarity (M, M): `matrix (M, M)` relative to its diagonal, the mean of both directions."""
    shares = relative(matrix)
    if shares.shape[0] != shares.shape[1]:
        raise InvariantError(f"A similarity is that of models to each other, and {shares.shape} is not square.")
    return (shares + shares.T) / 2


def landscape(similar: npt.ArrayLike) -> Landscape:
    """Embed `similar (M, M)`, symmetric, in the plane: kernel PCA, which is classical scaling (torgerson1952scaling).

    The squared distance of two models is `S[a, a] + S[b, b] - 2 S[a, b]`. The same similarity gives the same points;
    in each direction the point that lies farthest out, the first of several, is on the positive side.
    """
    kernel = np.asarray(similar, dtype=np.float64)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not np.allclose(kernel, kernel.T, atol=1e-12):
        raise InvariantError("Models are embedded by a symmetric similarity, and this one is not.")
    centred = kernel - kernel.mean(axis=0)[None, :] - kernel.mean(axis=1)[:, None] + kernel.mean()
    weights, vectors = np.linalg.eigh((centred + centred.T) / 2)
    weights, vectors = weights[::-1], vectors[:, ::-1]
    total = float(np.abs(weights).sum())
    if total <= _ZERO * max(1.0, float(np.abs(kernel).max())):
        return Landscape(points=((0.0, 0.0),) * len(kernel), shown=1.0, negative=0.0)
    points = np.zeros((len(kernel), 2))
    for place in range(min(2, len(kernel))):
        if weights[place] > _ZERO * total:
            points[:, place] = _turned(vectors[:, place]) * np.sqrt(weights[place])
    positive = weights[weights > 0]
    return Landscape(
        points=tuple((float(first), float(second)) for first, second in points),
        shown=float(positive[:2].sum() / positive.sum()),
        negative=float(-weights[weights < 0].sum() / total),
    )


def _turned(direction: Floats) -> Floats:
    """Return an eigenvector with a sign that does not depend on the library."""
    far = np.abs(direction)
    first = int(np.argmax(far >= far.max() - 1e-9))
    return direction if direction[first] > 0 else -direction
