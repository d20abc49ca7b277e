"""What a preset means for the quantiser: code sizes, rounds and how long to look (design 4)."""

from __future__ import annotations

from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines.config import DemoConfig, ExplainConfig


def quantise_config(config: ExplainConfig | DemoConfig, *, atari: bool) -> QuantiseConfig:
    """Return the settings of the quantiser search for a request."""
    if atari:
        # What a demo begins with keeps the bundled Pong in two minutes; smaller codes would be tried for longer.
        sizes = {"sizes": _SHOWN} if isinstance(config, DemoConfig) else {}
        return QuantiseConfig(**_GAMES | _ATARI[config.preset] | sizes, seed=config.seed)  # type: ignore[arg-type]
    return QuantiseConfig(**_CONTROL[config.preset], seed=config.seed)  # type: ignore[arg-type]


_CONTROL = {
    # Four sizes where design 4 has one: a digit of memory (3 states at most) keeps CartPole, four LunarLander.
    "quick": {
        "sizes": ((1, 3), (2, 4), (4, 8), (8, 12)),
        "rounds": 20,
        "learning_rate": 2e-3,
        "patience": 1,
        "tolerance": 0.015,
        "selection_episodes": 100,
        "confirmation_episodes": 100,
        "restarts": 0,
    },
    "standard": {
        "sizes": ((1, 3), (2, 4), (3, 6), (4, 8), (8, 12), (16, 16)),
        "rounds": 30,
        "learning_rate": 2e-3,
        "patience": 2,
        "selection_episodes": 100,
        "confirmation_episodes": 200,
        "restarts": 1,
    },
    "thorough": {
        "sizes": ((1, 3), (2, 4), (3, 6), (4, 8), (6, 10), (8, 12), (16, 16), (32, 32)),
        "rounds": 80,
        "learning_rate": 2e-3,
        "stop_early": False,
        "search_all": True,
        "selection_episodes": 200,
        "confirmation_episodes": 300,
        "restarts": 2,
    },
}

_SHOWN = ((32, 32), (64, 100))
_GAMES = {"state_hidden": (8, 4), "updates": 200, "averaging": 0.99}  # of every preset
_ATARI = {
    "quick": {
        # The published sizes of Pong come last, for games that the smaller codes do not keep.
        "sizes": ((16, 24), (32, 32), (64, 100)),
        "restarts": 0,
        "rounds": 30,
        "tolerance": 0.05,
        "episodes": 3,
        "selection_episodes": 4,
        "patience": 1,
        "evaluate_every": 2,
    },
    "standard": {
        "sizes": ((16, 16), (32, 32), (64, 100)),
        "rounds": 120,
        "episodes": 6,
        "selection_episodes": 6,
        "patience": 3,
        "evaluate_every": 3,
    },
    "thorough": {
        "sizes": ((8, 8), (16, 16), (32, 32), (64, 100), (128, 400)),
        "rounds": 240,
        "episodes": 6,
        "selection_episodes": 10,
        "stop_early": False,
        "search_all": True,
        "evaluate_every": 4,
    },
}
