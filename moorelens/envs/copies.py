"""Shifted copies: games of a deterministic emulator that only replay another one, some steps earlier or later."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moorelens.envs.rollouts import Rollouts

# Two games that end in the same frames over nine tenths of the shorter one are one game.
SHARED = 0.9


def shifted_copies(games: Rollouts, *, of: Rollouts) -> npt.NDArray[np.bool_]:
    """Say of each of the N `games` whether it is a shifted copy of a game in `of`.

    With no-op starts alone, Pong and Bowling replay the same game a little later, and a score on such a game says
    nothing about new ones. Games are compared frame by frame from their ends backwards.
    """
    known = _frame_keys(of)
    return np.array([any(_is_copy(game, other) for other in known) for game in _frame_keys(games)], dtype=np.bool_)


def _frame_keys(rollouts: Rollouts) -> list[list[bytes]]:
    keys = [hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in rollouts.frames]
    spans = zip(rollouts.offsets[:-1], rollouts.offsets[1:], strict=True)
    return [[keys[i] for i in rollouts.frame_index[start:end].tolist()] for start, end in spans]


def _is_copy(game: Sequence[bytes], other: Sequence[bytes]) -> bool:
    shorter = min(len(game), len(other))
    shared = 0
    while shared < shorter and game[-1 - shared] == other[-1 - shared]:
        shared += 1
    return shorter > 0 and shared >= SHARED * shorter
