"""The attention graph as text: one line of logic, and DOT for Graphviz."""

from __future__ import annotations

from moorelens.saliency.sets.sag import SAG, SAGGrid
from moorelens.text import one_line


def patch_name(patch: int, grid: SAGGrid | None = None) -> str:
    """Return what a patch is called: its name where there is one, else P and its number."""
    return grid.names[patch] if grid is not None and grid.names else f"P{patch}"


def set_name(patches: tuple[int, ...], grid: SAGGrid | None = None, *, join: str | None = None) -> str:
    """Return the names of the patches of a set; names of several words are joined so that none runs into the next."""
    if join is None:
        join = " & " if grid is not None and any(" " in name for name in grid.names) else " "
    return join.join(patch_name(patch, grid) for patch in patches)


def sag_dnf(sag: SAG) -> str:
    """Return the roots as a formula, such as `P23 & P29 | P9 & P10`; `true` where nothing is needed, else `false`."""
    if sag.vacuous:
        return "true"
    roots = [sag.nodes[index].patches for index in sag.roots]
    return " | ".join(set_name(patches, sag.grid, join=" & ") for patches in roots) or "false"


def sag_dot(sag: SAG) -> str:
    """Return the graph in the DOT language: nodes with their share of the whole input's value, edges with the drop."""
    lines = ["digraph attention {", '  node [shape=box, fontname="Helvetica"];', '  edge [fontname="Helvetica"];']
    for index, node in enumerate(sag.nodes):
        label = [set_name(node.patches, sag.grid), f"{node.relative:.0%}"]
        label += [f"{node.hidden_children} more removals"] if node.hidden_children else []
        lines.append(f"  n{index} [label={_quoted(*label)}{', penwidth=2' if node.root else ''}];")
    for edge in sag.edges:
        label = [f"without {patch_name(edge.patch, sag.grid)}: {-100 * edge.drop:+.0f}"]
        lines.append(f"  n{edge.parent} -> n{edge.child} [label={_quoted(*label)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(*lines: str) -> str:
    """Return lines as a quoted DOT string in which nothing is an escape, an entity or a control character."""
    safe = (one_line(line).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(safe) + '"'
