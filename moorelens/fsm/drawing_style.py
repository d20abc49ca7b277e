"""How actions look in every drawing and report: a colour-blind-safe tint, a darker outline, a shape of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Fills and outlines after the palette of Okabe and Ito (2008), tinted so that dark text has a contrast above 7:1.
_TINTS: tuple[tuple[str, str], ...] = (
    ("#a9d4f0", "#1f6f9f"),
    ("#f6cd80", "#a76a00"),
    ("#93d3bd", "#00694d"),
    ("#e9bdd7", "#8f4a75"),
    ("#f3b08a", "#a04400"),
    ("#f5ec9e", "#857b00"),
    ("#b3b9e6", "#3f4a9c"),
    ("#d4cfc4", "#6b6455"),
)
_SILENT = ("#e6e6e6", "#5c5c5c")

# Shapes that say the direction an action name says, then the shapes for all other names.
_DIRECTIONS = ("left", "right", "up", "down")
_FAMILIAR = {"noop": "ellipse", "nothing": "ellipse", "fire": "octagon"}
_SHAPES = (
    "box", "ellipse", "hexagon", "trapezium", "octagon", "invtrapezium", "egg", "pentagon", "parallelogram",
    "septagon", "component", "note", "tab", "folder",
)  # fmt: skip
_DOT_SHAPES: dict[str, tuple[str, str]] = {
    "left": ("house", "90"),
    "right": ("house", "270"),
    "up": ("house", "0"),
    "down": ("invhouse", "0"),
}


@dataclass(frozen=True, kw_only=True)
class ActionStyle:
    """Name, fill, stroke (`#rrggbb`) and shape of one action: left, right, up, down or a Graphviz shape."""

    index: int
    name: str
    fill: str
    stroke: str
    shape: str

    @property
    def dot(self) -> dict[str, str]:
        """The Graphviz attributes of a node with this action."""
        shape, orientation = _DOT_SHAPES.get(self.shape, (self.shape, "0"))
        return {"shape": shape, "orientation": orientation, "fillcolor": self.fill, "color": self.stroke}


def silent_style() -> ActionStyle:
    """Return the look of a state without an action."""
    return ActionStyle(index=-1, name="no action", fill=_SILENT[0], stroke=_SILENT[1], shape="ellipse")


def action_styles(action_names: Sequence[str], *, used: Iterable[int] | None = None) -> dict[int, ActionStyle]:
    """Return one look per action in `used` (all of `action_names` by default): equal colours never share a shape.

    Pass the same `used` for every drawing of a policy, and an action looks the same in all of them.
    """
    indices = sorted(set(range(len(action_names)) if used is None else used))
    shapes = _assign_shapes([action_names[index] for index in indices])
    return {
        index: ActionStyle(
            index=index,
            name=action_names[index],
            fill=_TINTS[place % len(_TINTS)][0],
            stroke=_TINTS[place % len(_TINTS)][1],
            shape=shape,
        )
        for place, (index, shape) in enumerate(zip(indices, shapes, strict=True))
    }


def _assign_shapes(names: Sequence[str]) -> list[str]:
    wanted = [_wanted_shape(name) for name in names]
    taken = {shape for shape in wanted if shape is not None and wanted.count(shape) == 1}
    # More names than shapes: shapes repeat, in step with neither the colours (8) nor each other.
    free = [shape for shape in _SHAPES if shape not in taken] or list(_SHAPES)
    shapes, position = [], 0
    for shape in wanted:
        if shape in taken and shape is not None:
            shapes.append(shape)
        else:
            shapes.append(free[position % len(free)])
            position += 1
    return shapes


def _wanted_shape(name: str) -> str | None:
    words = name.lower().replace("_", " ").replace("-", " ").split()
    directions = {word for word in words if word in _DIRECTIONS}
    if len(directions) == 1:
        return directions.pop()
    familiar = {_FAMILIAR[word] for word in words if word in _FAMILIAR}
    return familiar.pop() if len(familiar) == 1 and not directions else None
