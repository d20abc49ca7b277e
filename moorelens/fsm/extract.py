"""Extraction: the quantised network plays, and the machine it runs through is written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from moorelens.envs.rollouts import Rollouts
from moorelens.errors import InvariantError
from moorelens.fsm.automata.build import build_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.players import NetworkPlayer


def machine_of(
    rollouts: Rollouts, *, player: NetworkPlayer, meta: Mapping[str, Any] | None = None
) -> tuple[MooreMachine, Traces]:
    """Return the machine and traces of episodes that `player` played (spec-fsm 4.1, 4.5, 4.11).

    Raises `InvariantError` where the rollouts were recorded by another kind of player.
    """
    if not {"state", "symbol"} <= rollouts.extras.keys():
        raise InvariantError(
            "A machine is read off episodes that a Moore machine network played, and these hold no codes: play them "
            "with a NetworkPlayer."
        )
    table = player.table
    return build_machine(
        start_codes=np.repeat(table.start_code[None], len(rollouts.seeds), axis=0),
        state_codes=rollouts.extras["state"],
        symbol_codes=rollouts.extras["symbol"],
        actions=rollouts.actions,
        offsets=rollouts.offsets,
        terminated=rollouts.terminated,
        truncated=rollouts.truncated,
        action_names=table.network.spec.action_names,
        meta=meta,
    )
