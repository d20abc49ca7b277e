"""Clusters of a taught policy's features and memory, and quantisers that begin with one code for each of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor
from torch.nn import functional

from moorelens.envs.memory.lessons import Batch
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.base import Quantiser
from moorelens.fsm.quantisers.kmeans import KMeansQuantiser, KMeansSpec
from moorelens.fsm.quantisers.qbn import TernaryQBN
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.training.supervised import Accuracy, judge

ROWS, MOST = 1000, 40
PLATEAU, ENCODER_RATE = 1.6, 1e-2  # 1.6 lies well inside the outer plateaus of the unit


def find_centres(
    policy: RecurrentPolicy, features: Tensor, states: Tensor, batch: Batch, *, digits: tuple[int, int]
) -> dict[str, KMeansQuantiser]:
    """Return centres of `features (M, F)` and `states (M', H)`: the fewest with which `policy` answers as before.

    Rows are merged bottom up by their farthest members, so that a rare state is not swallowed by a frequent one, and
    the first cut with which no answer in `batch` is wrong is taken, else the best: first the features, with the memory
    as it is, then the memory. `digits` of state and observation bound the number of centres, since each needs a code of
    its own.
    """
    found: dict[str, KMeansQuantiser] = {}
    if digits[1]:
        found["observation"] = _fewest(features, 3 ** digits[1], lambda one: _judged(policy, batch, observation=one))
    seen = found.get("observation")
    found["state"] = _fewest(states, 3 ** digits[0], lambda one: _judged(policy, batch, observation=seen, state=one))
    return found


class _AsIs:
    """The quantiser that changes nothing."""

    levels: tuple[int, ...] = ()

    def relaxed(self, x: Tensor) -> Tensor:
        return x


def _judged(
    policy: RecurrentPolicy, batch: Batch, *, observation: Quantiser | None, state: Quantiser | None = None
) -> Accuracy:
    kept: Quantiser = _AsIs() if state is None else state  # type: ignore[assignment]
    return judge(MooreMachineNetwork(policy, observation=observation, state=kept), batch)


def _fewest(x: Tensor, most: int, judged: Callable[[KMeansQuantiser], Accuracy]) -> KMeansQuantiser:
    """Return the fewest centres of `x (M, D)` that `judged` finds no mistake with, else those with the fewest."""
    rows = torch.unique(x, dim=0)
    rows = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).round().astype(np.int64)]
    best: tuple[Accuracy, KMeansQuantiser] | None = None
    for labels in _cuts(rows, most=min(most, MOST, len(rows))):
        centres = torch.stack([rows[labels == label].mean(dim=0) for label in range(int(labels.max()) + 1)])
        one = KMeansQuantiser(KMeansSpec(size=x.shape[1], clusters=len(centres)))
        with torch.no_grad():
            one.centres.copy_(centres)
        accuracy = judged(one)
        if best is None or accuracy.steps > best[0].steps:
            best = accuracy, one
        if accuracy.sequences == 1.0:
            break
    assert best is not None
    return best[1]


def _cuts(rows: Tensor, *, most: int) -> list[np.ndarray]:
    """Return for 1 to `most` clusters the cluster (M,) of each of `rows (M, D)`."""
    children = _tree(rows)
    members: dict[int, list[int]] = {i: [i] for i in range(len(rows))}
    cuts = []
    live = dict(members)
    for number, (left, right) in enumerate(children.tolist()):
        if len(live) <= most:
            cuts.append(_labels(live, len(rows)))
        live[len(rows) + number] = live.pop(left) + live.pop(right)
    return [*cuts, _labels(live, len(rows))][::-1]


def _tree(rows: Tensor) -> np.ndarray:
    if len(rows) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    found = AgglomerativeClustering(n_clusters=1, linkage="complete", compute_full_tree=True).fit(rows.numpy())
    return np.asarray(found.children_)


def _labels(live: dict[int, list[int]], n: int) -> np.ndarray:
    labels = np.empty(n, dtype=np.int64)
    for label, rows in enumerate(live.values()):
        labels[rows] = label
    return labels


def imitate_centres(
    qbn: TernaryQBN, centres: KMeansQuantiser, x: Tensor, *, updates: int, noise: float, generator: torch.Generator
) -> None:
    """Teach `qbn` one code for each centre: vectors near it are encoded as that code, and the code is decoded to it.

    Near is what nearest centres make of the rows of `x (M, D)` with `noise` added. The codes are the first products of
    digits. The encoder learns them by gradient; the decoder's last layer is solved for, exactly if it is wide enough.
    """
    middle = centres.centres.detach()
    products = itertools.product((0.0, 1.0, -1.0), repeat=qbn.spec.digits)
    codes = torch.tensor(list(itertools.islice(products, len(middle))))
    _solve_decoder(qbn, codes, middle)
    rows = torch.unique(x, dim=0)
    nearest = torch.cdist(rows, middle).argmin(dim=1)
    groups = [rows[nearest == one] for one in range(len(middle))]
    groups = [group if len(group) else middle[one : one + 1] for one, group in enumerate(groups)]
    optimiser = torch.optim.Adam(qbn.encoder.parameters(), lr=ENCODER_RATE)
    for update in range(updates):
        for group in optimiser.param_groups:
            group["lr"] = ENCODER_RATE * (1.0 - 0.95 * update / updates)
        chosen = torch.cat([one[torch.randint(len(one), (12,), generator=generator)] for one in groups])
        blurred = chosen + noise * torch.randn(chosen.shape, generator=generator)
        both = torch.cat([chosen, blurred])
        wanted = PLATEAU * codes[torch.cdist(both, middle).argmin(dim=1)]
        loss = functional.mse_loss(qbn.preactivation(both), wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def reached_states(policy: RecurrentPolicy, found: dict[str, KMeansQuantiser], features: Tensor) -> Tensor:
    """Return what the memory can become in one step from any centre: (n, H), with the start.

    A network that decodes its codes to the centres meets no other states than these. `features (M, F)` stand for the
    symbols where observations are not quantised.
    """
    with torch.no_grad():
        middle = found["state"].centres
        symbols = found["observation"].centres if "observation" in found else torch.unique(features, dim=0)[:64]
        pairs = torch.cartesian_prod(torch.arange(len(middle)), torch.arange(len(symbols)))
        return torch.cat([policy.initial_state(1), policy.core(symbols[pairs[:, 1]], middle[pairs[:, 0]])])


def _solve_decoder(qbn: TernaryQBN, codes: Tensor, middle: Tensor) -> None:
    """Set the decoder's last layer so that `codes (k, K)` are decoded to `middle (k, D)`, by least squares."""
    with torch.no_grad():
        wanted = middle
        if qbn.spec.output == "tanh":
            wanted = torch.atanh(middle.clamp(-0.9999, 0.9999))
        for layer in list(qbn.decoder)[:-1]:
            layer.weight.mul_(2.0)  # type: ignore[operator]
        hidden = codes
        for position, layer in enumerate(list(qbn.decoder)[:-1]):
            hidden = layer(torch.tanh(hidden) if position else hidden)
        inputs = torch.cat([torch.tanh(hidden), torch.ones(len(codes), 1)], dim=1)
        solved = torch.linalg.lstsq(inputs.double(), wanted.double(), driver="gelsd").solution.float()
        last = qbn.decoder[-1]
        last.weight.copy_(solved[:-1].T)  # type: ignore[operator]
        last.bias.copy_(solved[-1])  # type: ignore[operator]
