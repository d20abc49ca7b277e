"""The card of a trained policy: what it is, how it was made, and what it scores on seeds it was not chosen by."""

from __future__ import annotations

from typing import Any

import msgspec

from moorelens.envs.config import EnvironmentRequest
from moorelens.stats import Estimate

FORMAT = "moorelens.card/1"


class Scores(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Greedy games: the environment as it was built, one return a seed, and their mean with its interval."""

    request: EnvironmentRequest
    seeds: list[int]
    returns: list[float]
    score: Estimate


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a reader of the zoo is told about an entry.

    `held_out`: games of the held-out protocol. `published`: the one greedy game of the deterministic environment, or
    None where the seed matters. `teacher`: what was imitated, or None. `words`: honest sentences about strengths and
    flaws.
    """

    format: str = FORMAT
    name: str
    env: str
    preprocessing: str
    algorithm: str
    cell: str
    units: int
    teacher: str | None
    steps: int
    seconds: float
    seed: int
    command: str
    identity: str
    held_out: Scores
    published: Scores | None
    target: float | None
    settings: dict[str, Any]
    curve: list[dict[str, float]]
    words: list[str]


def encode_card(card: Card) -> bytes:
    """Return the card as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def decode_card(data: bytes) -> Card:
    """Read a card."""
    return msgspec.json.decode(data, type=Card)
