"""Building the attention graph: what is left of the score as sufficient sets lose one patch after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from moorelens.errors import OptionError
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.sets.diversity import diverse
from moorelens.saliency.sets.functions import SetFunction
from moorelens.saliency.sets.records import MSE, SetSearch, patches_of
from moorelens.saliency.sets.sag import SAG, SAGEdge, SAGGrid, SAGNode, SAGSet

ALL_CHILDREN = 6  # patches: sets up to this size lose each of them in turn


def build_sag(
    v: SetFunction,
    search: SetSearch,
    *,
    p_low: float = 0.4,
    k_children: int = 3,
    overlap: int = 1,
    k_roots: int = 3,
    max_nodes: int = 200,
) -> SAG:
    """Return the graph below at most `k_roots` of the sets that `search` found, any two sharing at most `overlap`.

    Each set is one node, whatever number of sets lead to it. A node of more than one patch is expanded while it keeps
    more than `p_low` of the value of everything: by every removal of one patch, above six patches by the `k_children`
    of the largest drop; the others are counted. At most `max_nodes` nodes; a graph that needs more says that it is not
    complete. p_low, overlap, roots and three children: shitole2021structured. Without a sufficient set the graph has no
    nodes. Raises `OptionError` for settings that cannot be used.
    """
    _refuse(p_low, k_children, max_nodes)
    roots = diverse(search.found, overlap=overlap, count=k_roots)
    growth = _Growth(v=v, p_low=p_low, k_children=k_children, max_nodes=max_nodes)
    growth.grow([mse.bits for mse in roots.chosen])
    nodes, edges = _records(growth, {mse.bits for mse in roots.chosen})
    return SAG(
        count=v.count,
        full=search.full,
        empty=search.empty,
        p_high=search.p_high,
        p_low=p_low,
        k_children=k_children,
        overlap=overlap,
        k_roots=k_roots,
        vacuous=search.vacuous,
        exhausted=search.exhausted,
        unfinished=search.unfinished,
        evaluated=search.n_evaluated,
        found=tuple(_set(mse) for mse in search.found),
        exact_choice=roots.exact,
        complete=growth.complete,
        nodes=nodes,
        edges=edges,
    )


def sag_grid(grid: PatchGrid, *, names: Sequence[str] = ()) -> SAGGrid:
    """Return what a graph says of its patches, so that it can be drawn without them; `names`: of a vector's entries."""
    size = tuple(grid.labels.shape)
    if grid.labels.ndim == 1:
        return SAGGrid(size=size, names=tuple(names))
    return SAGGrid(
        size=size,
        shape=grid.shape,
        boxes=tuple(grid.boxes()),
        labels=() if grid.shape is not None else _runs(grid.labels.flatten().tolist()),
    )


@dataclass
class _Growth:
    """The nodes so far: for each expanded set the removals that are drawn, None for one that is not expanded."""

    v: SetFunction
    p_low: float
    k_children: int
    max_nodes: int
    ways: dict[int, list[int] | None] = field(default_factory=dict)
    complete: bool = True

    def grow(self, roots: Sequence[int]) -> None:
        """Expand the sets by falling size, so that a set is met once all that lead to it are known."""
        self.ways = dict.fromkeys(roots)
        for size in range(max((bits.bit_count() for bits in roots), default=0), 1, -1):
            level = [bits for bits in self.ways if bits.bit_count() == size]
            chosen = [bits for bits in level if self._value(bits) > self.p_low * self.v.full]
            # One call for the whole level: values are then made in few large batches.
            self.v([bits ^ (1 << patch) for bits in chosen for patch in patches_of(bits)])
            for bits in chosen:
                self._expand(bits)

    def _value(self, bits: int) -> float:
        return float(self.v([bits])[0])

    def _expand(self, bits: int) -> None:
        patches = list(patches_of(bits))
        if len(patches) > ALL_CHILDREN:
            patches = sorted(sorted(patches, key=lambda patch: self._value(bits ^ (1 << patch)))[: self.k_children])
        new = [bits ^ (1 << patch) for patch in patches if bits ^ (1 << patch) not in self.ways]
        if len(self.ways) + len(new) > self.max_nodes:
            self.complete = False
            self.ways[bits] = []
            return
        self.ways[bits] = patches
        self.ways.update(dict.fromkeys(new))


def _records(growth: _Growth, roots: set[int]) -> tuple[tuple[SAGNode, ...], tuple[SAGEdge, ...]]:
    order = sorted(growth.ways, key=lambda bits: (-bits.bit_count(), -growth.v([bits])[0].item(), bits))
    values = dict(zip(order, growth.v(order).tolist(), strict=True))
    place = {bits: index for index, bits in enumerate(order)}
    full = growth.v.full if order else 1.0
    nodes, edges = [], []
    for bits in order:
        ways = growth.ways[bits]
        nodes.append(
            SAGNode(
                patches=patches_of(bits),
                value=values[bits],
                relative=values[bits] / full,
                root=bits in roots,
                expanded=bool(ways),
                hidden_children=0 if ways is None else bits.bit_count() - len(ways),
            )
        )
        for patch in ways or ():
            child = bits ^ (1 << patch)
            drop = (values[bits] - values[child]) / full
            edges.append(SAGEdge(parent=place[bits], child=place[child], patch=patch, drop=drop))
    return tuple(nodes), tuple(edges)


def _set(mse: MSE) -> SAGSet:
    return SAGSet(patches=mse.patches, value=mse.value, relative=mse.relative, minimal=mse.minimal)


def _runs(labels: Sequence[int]) -> tuple[int, ...]:
    """Return labels as (label, length, label, length, ...)."""
    found: list[int] = []
    for label in labels:
        if found and found[-2] == label:
            found[-1] += 1
        else:
            found += [label, 1]
    return tuple(found)


def _refuse(p_low: float, k_children: int, max_nodes: int) -> None:
    if not 0 <= p_low <= 1:
        raise OptionError(f"p_low is a share from 0 to 1 and {p_low} is not: pass such as 0.4.")
    for name, value in (("k_children", k_children), ("max_nodes", max_nodes)):
        if value < 1:
            raise OptionError(f"{name} is at least 1 and {value} was given: pass a larger number.")
