"""The published tables as data: what was reported, and what we run for each row (spec-fsm 5; koul2019mmn)."""

from __future__ import annotations

from typing import Any

import msgspec

from moorelens.errors import OptionError


class PublishedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One published cell: `name` of the task, `setting` (code sizes of state and observation), what was reported.

    `published`: score before and after fine-tuning (`rnn` where the table has it), states, symbols and score before
    (`unminimised_...`) and after minimisation; what a table leaves out is absent. `digits`: of state and observation
    codes, as we run it. `policy`: which policy is explained, None where the row trains its own network.
    `true_states`: of the smallest right machine, where it is known.
    """

    table: str
    name: str
    setting: str
    published: dict[str, Any]
    digits: tuple[int, int]
    policy: str | None = None
    true_states: int | None = None

    @property
    def key(self) -> str:
        """The name of the row's folder."""
        return f"{self.name}-{self.setting.replace(',', '-')}"


def select_rows(table: str, words: str | None) -> list[PublishedRow]:
    """Return the rows of `table` whose key contains one of the comma-separated `words` (None: all of them).

    Raises `OptionError` where none does.
    """
    rows = ROWS[table]
    if words is None:
        return rows
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    chosen = [row for row in rows if any(word in row.key for word in wanted)]
    if not chosen:
        raise OptionError(
            f"--rows must name rows of the table {table!r} ({', '.join(row.key for row in rows)}), and {words!r} fits "
            "none of them: mend the words."
        )
    return chosen


def _mce(name: str, true_states: int, cells: dict[str, tuple[Any, ...]]) -> list[PublishedRow]:
    rows = []
    for setting, (before, after, full, folded) in cells.items():
        state, observation = (int(word) for word in setting.split(","))
        rows.append(
            PublishedRow(
                table="mce",
                name=name,
                setting=setting,
                published={"before": before, "after": after, **_sizes(full, folded)},
                digits=(state, observation),
                true_states=true_states,
            )
        )
    return rows


def _sizes(full: tuple[Any, ...], small: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "unminimised_states": full[0], "unminimised_symbols": full[1], "unminimised_score": full[2],
        "states": small[0], "symbols": small[1], "score": small[2],
    }  # fmt: skip


# name, true states, word accuracy of the RNN, then for code sizes 8 and 16: before, after, |H| before and after.
_TOMITA: list[tuple[int, int, int, dict[int, tuple[int, int | None, int, int]]]] = [
    (1, 2, 100, {8: (100, None, 13, 2), 16: (100, None, 28, 2)}),
    (2, 3, 100, {8: (100, None, 13, 3), 16: (100, None, 14, 3)}),
    (3, 5, 100, {8: (100, None, 34, 5), 16: (100, None, 39, 5)}),
    (4, 4, 100, {8: (100, None, 17, 4), 16: (100, None, 18, 4)}),
    (5, 4, 100, {8: (95, 96, 192, 115), 16: (100, None, 316, 4)}),
    (6, 3, 99, {8: (98, 98, 100, 12), 16: (99, 99, 518, 11)}),
    (7, 5, 100, {8: (100, None, 25, 5), 16: (100, None, 107, 5)}),
]
# The published Tomita networks read their features as they are; ours have two digits for them, so that a run is like
# any other.
TOMITA_OBSERVATION_DIGITS = 2


def _tomita() -> list[PublishedRow]:
    return [
        PublishedRow(
            table="tomita",
            name=f"tomita{number}",
            setting=str(digits),
            published={
                "rnn": rnn, "before": before, "after": after,
                "unminimised_states": full, "states": small, "score": before if after is None else after,
            },
            digits=(digits, TOMITA_OBSERVATION_DIGITS),
            true_states=true,
        )
        for number, true, rnn, cells in _TOMITA
        for digits, (before, after, full, small) in cells.items()
    ]  # fmt: skip


def _played(
    table: str, name: str, policy: str, cells: dict[str, tuple[Any, Any]], rnn: int | None = None
) -> list[PublishedRow]:
    rows = []
    for setting, (full, small) in cells.items():
        state, observation = (int(word) for word in setting.split(","))
        reported = _sizes(full, small)
        rows.append(
            PublishedRow(
                table=table, name=name, setting=setting, digits=(state, observation), policy=policy,
                published=reported if rnn is None else {"rnn": rnn, **reported},
            )
        )  # fmt: skip
    return rows


_FOUR = ("64,100", "64,400", "128,100", "128,400")


# Of two policies of a game, the one that plays the plain game as published.
_PLAIN = {"pong": "pong-conv"}


def _game(name: str, rnn: int, *cells: tuple[Any, Any]) -> list[PublishedRow]:
    return _played("atari", name, f"zoo:{_PLAIN.get(name, name)}", dict(zip(_FOUR, cells, strict=False)), rnn)


ROWS: dict[str, list[PublishedRow]] = {
    "mce": [
        *_mce("amnesia", 4, {
            "4,4": (98, 100, (7, 5, 100), (4, 4, 100)), "4,8": (99, 100, (7, 7, 100), (4, 4, 100)),
            "8,4": (100, None, (6, 5, 100), (4, 4, 100)), "8,8": (99, 100, (7, 7, 100), (4, 4, 100)),
        }),
        *_mce("blind", 10, {
            "4,4": (100, None, (12, 6, 100), (10, 1, 100)), "4,8": (100, None, (12, 8, 100), (10, 1, 100)),
            "8,4": (100, None, (15, 6, 100), (10, 1, 100)), "8,8": (78, 100, (13, 8, 100), (10, 1, 100)),
        }),
        *_mce("tracker", 10, {
            "4,4": (98, 98, (58, 5, 98), (50, 4, 98)), "4,8": (99, 100, (23, 5, 100), (10, 4, 100)),
            "8,4": (98, 100, (91, 5, 100), (10, 4, 100)), "8,8": (99, 100, (85, 5, 100), (10, 4, 100)),
        }),
    ],
    "tomita": _tomita(),
    "control": [
        *_played("control", "cartpole", "zoo:cartpole", {
            "64,64": ((27, 859, 500), (4, 32, 500)), "8,8": ((10, 27, 500), (5, 25, 500)),
        }),
        *_played("control", "lunarlander", "zoo:lunarlander", {
            "128,64": ((1502, 1165, 198), (52, 89, 115)), "128,100": ((2550, 2197, 172), (75, 77, 134)),
            "128,400": ((2194, 1996, 201), (27, 37, 205)),
        }),
        *_played("control", "acrobot", "zoo:acrobot", {
            "64,64": ((769, 649, -73.95), (11, 23, -89.4)), "32,16": ((807, 306, -82), (36, 62, -146)),
        }),
    ],
    "atari": [
        *_game("pong", 21, ((380, 374, 21), (4, 12, 21)), ((373, 372, 21), (3, 10, 21)),
               ((383, 373, 21), (3, 12, 21)), ((379, 371, 21), (3, 11, 21))),
        *_game("freeway", 21, *[((1, 1, 21), (1, 1, 21))] * 4),
        *_game("breakout", 773, ((1898, 1874, 423), (8, 30, 423)), ((1888, 1871, 415), (8, 30, 415)),
               ((1583, 1514, 377), (11, 27, 377)), ((1729, 1769, 379), (8, 30, 379))),
        *_game("spaceinvaders", 1820, ((1495, 1502, 1335), (8, 29, 1335)), ((1625, 1620, 1235), (12, 29, 1235)),
               ((1563, 1457, 1040), (12, 35, 1040)), ((1931, 1921, 1430), (6, 27, 1430))),
        *_game("bowling", 60, ((49, 1, 60), (33, 1, 60)), ((49, 1, 60), (33, 1, 60)),
               ((26, 1, 60), (24, 1, 60)), ((26, 1, 60), (24, 1, 60))),
        *_game("boxing", 100, ((1173, 1167, 100), (13, 79, 100)), ((2621, 2605, 100), (14, 119, 100)),
               ((2499, 2482, 97), (14, 106, 97)), ((1173, 1169, 100), (14, 88, 100))),
        *_game("choppercommand", 5300, ((3710, 3731, 4000), (38, 182, 1890))),
    ],
}  # fmt: skip
