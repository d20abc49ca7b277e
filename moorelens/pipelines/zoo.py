"""The bundled policies: a table of them, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from moorelens.errors import OptionError
from moorelens.pipelines.config import DemoConfig
from moorelens.policies.training.card import Card, decode_card
from moorelens.policies.zoo.files import card_file, zoo_names

_DEMO = "ALE/Pong-v5"
# Of the bundled Pong policies the one whose machine keeps its return in minutes: docs/quantising.md.
_SHOWN = {"ALE/Pong-v5": "pong-conv"}


def list_zoo() -> list[dict[str, Any]]:
    """Return one row an entry: name, env, algorithm, cell, steps, and score (mean, low, high, n) on held-out seeds."""
    return [zoo_row(show(name)) for name in zoo_names()]


def show(name: str) -> Card:
    """Return the card of an entry; raises `PolicyError` for a name that is not bundled."""
    return decode_card(card_file(name).read_bytes())


def demonstrated(config: DemoConfig) -> DemoConfig:
    """Return `config` with the policy that the demo explains: the named one, that of `--env`, or that of Pong.

    Raises `OptionError` for an environment that no bundled policy plays.
    """
    if config.policy:
        return config
    playing = {show(name).env: name for name in reversed(zoo_names())} | _SHOWN
    env = config.env or _DEMO
    if env not in playing:
        raise OptionError(
            f"The demo explains a bundled policy and --env {env} has none: choose one of {', '.join(sorted(playing))}, "
            "or explain a policy of your own with `moorelens explain`."
        )
    return msgspec.structs.replace(config, policy=f"zoo:{playing[env]}")


def zoo_row(card: Card) -> dict[str, Any]:
    """Return what `zoo list --json` says of an entry."""
    score: Mapping[str, Any] = msgspec.to_builtins(card.held_out.score)
    return {
        "name": card.name,
        "env": card.env,
        "algorithm": card.algorithm,
        "cell": card.cell,
        "steps": card.steps,
        "score": {key: score[key] for key in ("mean", "low", "high", "n")},
    }


def zoo_table() -> str:
    """Return the bundled policies as a Markdown table, all from their cards: what the README shows."""
    head = ("name", "environment", "algorithm", "steps", "return (95 % interval)", "target")
    lines = [" | ".join(head), "|".join(["---"] * len(head)), *(" | ".join(_cells(show(name))) for name in zoo_names())]
    return "".join(f"|{line}|\n" if line.startswith("---") else f"| {line} |\n" for line in lines)


def _cells(card: Card) -> list[str]:
    score = card.held_out.score
    interval = "" if score.low is None else f" ({score.low:,.1f} to {score.high:,.1f})"
    target = "" if card.target is None else f"{card.target:,.0f}"
    return [card.name, card.env, card.algorithm, f"{card.steps:,}", f"{score.mean:,.1f}{interval}", target]
