"""What is special about each Atari game in the published preprocessing: its crop and its actions."""

from __future__ import annotations

import msgspec

from moorelens.envs.frames import Crop


class Game(msgspec.Struct, frozen=True, kw_only=True):
    """Crop as (first, end) rows and columns, and the indices into the emulator's minimal action set (None: all)."""

    rows: tuple[int, int] = (5, 195)
    columns: tuple[int, int | None] = (0, None)
    actions: tuple[int, ...] | None = None

    @property
    def crop(self) -> Crop:
        """The crop as slices."""
        return slice(*self.rows), slice(*self.columns)


_GAMES: dict[str, Game] = {
    "Pong": Game(rows=(35, 195), actions=(0, 4, 5)),
    "Breakout": Game(rows=(35, 195)),
    "SpaceInvaders": Game(rows=(0, 195), actions=(0, 1, 2, 3)),
    "Freeway": Game(rows=(25, 195), columns=(10, None)),
    "Boxing": Game(rows=(15, 180), columns=(30, 130)),
    "Bowling": Game(rows=(105, 172), actions=(0, 1, 2, 3)),
    "Enduro": Game(rows=(0, 155), columns=(10, None)),
    "BeamRider": Game(rows=(30, 180), columns=(10, None)),
    "Qbert": Game(rows=(30, 190), columns=(10, 150)),
}


def game_of(env_id: str) -> Game:
    """Return what is special about the game of `ALE/Name-v5`; games without an entry have the default crop."""
    return _GAMES.get(game_name(env_id), Game())


def game_name(env_id: str) -> str:
    """Return `Name` of `ALE/Name-v5`."""
    return env_id.removeprefix("ALE/").rsplit("-v", 1)[0]


def rom_name(env_id: str) -> str:
    """Return the emulator's name of a game, such as `space_invaders` for `ALE/SpaceInvaders-v5`."""
    name = game_name(env_id)
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
