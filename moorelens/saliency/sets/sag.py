"""The attention graph as a record: `sag.json`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from moorelens.errors import OptionError
from moorelens.saliency.sets.records import Minimal

FORMAT: Literal["moorelens.sag/1"] = "moorelens.sag/1"


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class SAGNode(_Record, frozen=True, kw_only=True):
    """A set of patches that is shown: its value, and `relative`, that over the value of the whole input (may exceed 1).

    `root`: a minimal sufficient set. `expanded`: its smaller sets are drawn, all but `hidden_children` of them.
    """

    patches: tuple[int, ...]
    value: float
    relative: float
    root: bool
    expanded: bool
    hidden_children: int


class SAGEdge(_Record, frozen=True, kw_only=True):
    """From node `parent` to node `child` (positions in `nodes`): `patch` is hidden too, which costs `drop`.

    `drop`: relative value of the parent minus that of the child; negative where hiding helps.
    """

    parent: int
    child: int
    patch: int
    drop: float


class SAGSet(_Record, frozen=True, kw_only=True):
    """A minimal sufficient set that the search found; see `MSE`."""

    patches: tuple[int, ...]
    value: float
    relative: float
    minimal: Minimal


class SAGGrid(_Record, frozen=True, kw_only=True):
    """The patches: `size` (H, W) or (F,) of the input; `shape` rows and columns, null for other patches.

    `boxes`: top, left, bottom, right of each, ends excluded; `labels`: the patch of each pixel by run lengths (patch,
    length, ...) where the patches are no boxes; `names` of the entries of a vector.
    """

    size: tuple[int, ...]
    shape: tuple[int, int] | None = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    labels: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


class SAG(_Record, frozen=True, kw_only=True):
    """A structured attention graph (shitole2021structured): how a score falls as minimal sufficient sets lose patches.

    `count` patches; `full`, `empty`: values of all and of none; a set suffices at `p_high` of `full`, a node is
    expanded above `p_low`. `found`: every minimal set of the search, of which at most `k_roots` are roots that share at
    most `overlap` patches, the best choice where `exact_choice`. `vacuous`: nothing shown already suffices.
    `exhausted`, `unfinished`, `evaluated`: see `SetSearch`. `complete`: no node was left out for want of room. `nodes`
    from the largest set to the smallest, each set once; `edges` lead from a set to one without one of its patches.
    `subject`: what was explained, and with which settings.
    """

    format: Literal["moorelens.sag/1"] = FORMAT
    count: int
    full: float
    empty: float
    p_high: float
    p_low: float
    k_children: int
    overlap: int
    k_roots: int
    vacuous: bool
    exhausted: bool
    unfinished: int
    evaluated: int
    found: tuple[SAGSet, ...]
    exact_choice: bool
    complete: bool
    nodes: tuple[SAGNode, ...]
    edges: tuple[SAGEdge, ...]
    grid: SAGGrid | None = None
    subject: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Refuse a graph that contradicts itself; raises `OptionError`."""
        known = {node.patches for node in self.nodes}
        if len(known) < len(self.nodes) or any(patch >= self.count for patches in known for patch in patches):
            raise _wrong("each set of its patches stands in it once")
        for edge in self.edges:
            if not 0 <= min(edge.parent, edge.child) <= max(edge.parent, edge.child) < len(self.nodes):
                raise _wrong("its edges join its nodes")
            parent, child = self.nodes[edge.parent].patches, self.nodes[edge.child].patches
            if set(parent) != {*child, edge.patch} or len(parent) != len(child) + 1:
                raise _wrong("each edge hides one patch")

    @property
    def roots(self) -> tuple[int, ...]:
        """The positions of the roots among the nodes."""
        return tuple(index for index, node in enumerate(self.nodes) if node.root)


def encode_sag(sag: SAG) -> bytes:
    """Write a graph as indented JSON: the same graph gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(sag), indent=1) + b"\n"


def decode_sag(data: bytes) -> SAG:
    """Read what `encode_sag` wrote; raises `OptionError` for anything else."""
    try:
        return msgspec.json.decode(data, type=SAG)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _wrong(f"it is JSON of the format {FORMAT} ({error})") from error


def _wrong(rule: str) -> OptionError:
    return OptionError(f"Of an attention graph {rule}, and this one is damaged or of another kind: make it again.")
