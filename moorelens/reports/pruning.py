"""`pruning.json`: which decisions of a machine were taken away, what that costs, and what each decision is worth."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.errors import RunFolderError
from moorelens.reports.summary import MachineScore, Record, Score

PRUNING_FORMAT: Literal["moorelens.pruning/1"] = "moorelens.pruning/1"


class TrialRow(Record, frozen=True, kw_only=True):
    """One candidate, in states and symbols of `machine.json`, and its loss against the original machine.

    `branch`: at `state`, what led to `source` leads to `target`. `state`: at `state`, all leads to `target`. `symbol`:
    symbol `source` is read as symbol `target`. What does not apply is null.
    """

    state: int | None = None
    source: int | None = None
    target: int | None = None
    cost: Score
    accepted: bool


class EffectRow(Record, frozen=True, kw_only=True):
    """What the original machine loses when its decision `state` is forced to `target`, all else left as it is.

    `share`: how often the branch is taken. `kept`: whether the decision is still one in the pruned machine.
    """

    state: int
    target: int
    share: float
    cost: Score
    kept: bool


class HeldOut(Record, frozen=True, kw_only=True):
    """Held-out games, which chose nothing; `returns` and `decided`, `steps` are the pruned machine's, seed by seed.

    `loss`: policy minus pruned machine. `cost`: machine minus pruned machine, on equal seeds.
    """

    seeds: tuple[int, ...]
    policy: Score
    machine: Score
    pruned: MachineScore
    loss: Score
    cost: Score
    returns: tuple[float, ...]
    decided: tuple[int, ...]
    steps: tuple[int, ...]


class Pruning(Record, frozen=True, kw_only=True):
    """`pruning.json`; `machine`, `pruned` and `cost` are on the pruning `seeds`, where the candidates were judged.

    `tolerance`: loss of return that was allowed. `decisions`: before and after. `survivors`: the decisions that stay,
    in states of `machine.json`. `open_loop`: states of `pruned.json` that go the same way whatever is seen, where the
    original looked. `fallback`: what a machine did where nothing was recorded while candidates were judged.
    """

    format: Literal["moorelens.pruning/1"] = PRUNING_FORMAT
    policy: str
    env: str
    mode: Literal["branch", "state", "symbol"]
    fallback: Literal["nearest", "network", "error"]
    tolerance: float
    seeds: tuple[int, ...]
    machine: Score
    pruned: Score
    cost: Score
    held_out: HeldOut
    states: tuple[int, int]
    decisions: tuple[int, int]
    survivors: tuple[int, ...]
    open_loop: tuple[int, ...]
    trials: tuple[TrialRow, ...]
    effects: tuple[EffectRow, ...]


def decode_pruning(data: bytes) -> Pruning:
    """Return the pruning in `data`, validated; raises `RunFolderError` where it is not one."""
    try:
        return msgspec.json.decode(data, type=Pruning)
    except msgspec.MsgspecError as error:
        raise RunFolderError(
            f"A pruning must follow {PRUNING_FORMAT}, and this one does not ({error}): run `moorelens prune` on the "
            "run again."
        ) from error
