"""Where the objects of a game are, as its memory says: the truth that a map of what matters can be held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.games import game_name, game_of

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
# Top, left, height and width in pixels of the screen (210, 160).
Box = tuple[int, int, int, int]
_SIDE = 80


def objects_of(env_id: str, ram: Bytes) -> dict[str, Box] | None:
    """Return the objects of a game by name, from its memory `ram (128,)`; None for a game whose memory is not known."""
    reader = _READERS.get(game_name(env_id))
    return None if reader is None else reader(ram)


def truth_mask(env_id: str, ram: Bytes) -> Flags | None:
    """Return (80, 80) bool: the pixels of an observation that show an object in part; None where that is not known."""
    found = objects_of(env_id, ram)
    if found is None:
        return None
    rows, columns = game_of(env_id).crop
    screen = np.zeros((210, 160), dtype=np.bool_)
    for top, left, height, width in found.values():
        screen[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    seen = screen[rows, columns]
    down, across = (np.arange(length) * _SIDE // length for length in seen.shape)
    mask = np.zeros((_SIDE, _SIDE), dtype=np.bool_)
    np.logical_or.at(mask, (down[:, None], across[None]), seen)
    return mask


def _pong(ram: Bytes) -> dict[str, Box]:
    """Bytes 49 and 54 are the ball's place, 50 and 51 the heights of the opponent's and the player's paddle.

    A ball that is out of play, and a paddle before it enters, are nowhere. Found by comparing bytes with the screen.
    """
    value: Callable[[int], Any] = lambda place: int(ram[place])  # noqa: E731
    found: dict[str, Box] = {"player": (value(51) - 13, 140, 16, 4), "opponent": (value(50) - 15, 16, 16, 4)}
    if value(54) and value(49) > 49:
        found["ball"] = (value(54) - 14, value(49) - 49, 4, 2)
    return found


_READERS: dict[str, Callable[[Bytes], dict[str, Box]]] = {"Pong": _pong}
