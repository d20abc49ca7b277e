"""The rivals of a run's machine, made from its fit games: a table, two trees, and a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.playing import Player, play
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import Stepper, compile_machine
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.competitors import (
    StateTreePlayer,
    TablePlayer,
    Tree,
    TreePlayer,
    best_actions,
    best_sequence,
    episodes_of,
    grow_tree,
    states_before,
)
from moorelens.fsm.fidelity import policy_choices
from moorelens.fsm.memory import tree_inputs
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.reading import FeatureReader, symbol_codes_of
from moorelens.pipelines.job import Job
from moorelens.runs.progress import Progress

Array = npt.NDArray[Any]
_MOST_NUMBERS = 2_000_000  # of steps times inputs; a tree is grown on evenly chosen steps where there are more
_GAMES = 32  # fit games that a tree plays in each round


@dataclass(frozen=True, kw_only=True)
class RivalPlayer:
    """A rival, ready to play: what it sees, whether the machine's memory is part of it, and how it was made."""

    key: str
    title: str
    sees: str
    memory: bool
    player: Player
    detail: str


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """What rivals are made from: the run's fit games, of the policy (`own`) and of its machine (`traces`)."""

    job: Job
    network: MooreMachineNetwork
    reader: FeatureReader
    machine: MooreMachine
    own: Rollouts
    traces: Traces

    @property
    def stepper(self) -> Stepper:
        """The machine, compiled."""
        return compile_machine(self.machine)


def make_rivals(fitting: Fitting, *, progress: Progress) -> tuple[RivalPlayer, ...]:
    """Return every rival; the trees imitate the policy, and are corrected by it on games that they play themselves.

    A tree that only imitates games of the policy meets states of its own making that it never saw, and loses for want
    of practice, not of memory. So it plays fit games, is told what the policy would have done, and grows again
    (ross2011dagger, bastani2018viper); of the trees of all rounds the one with the best return on these games is kept.
    """
    stepper = fitting.stepper
    actions = best_actions(
        fitting.traces, n_symbols=fitting.machine.n_symbols, n_actions=len(fitting.machine.action_names)
    )
    with progress.task("growing trees", total=2) as task:
        tree, told = _practised(fitting, _observation_inputs, TreePlayer)
        task.advance()
        state_tree, state_told = _practised(fitting, _state_inputs, lambda one: _state_player(fitting, one))
        task.advance()
    return (
        RivalPlayer(
            key="table",
            title="Best action of each symbol",
            sees="the symbol",
            memory=False,
            player=TablePlayer(stepper, actions, fitting.network, features=fitting.reader),
            detail=f"{fitting.machine.n_symbols} symbols",
        ),
        RivalPlayer(
            key="tree", title="Tree on the observation", sees="the observation", memory=False,
            player=TreePlayer(tree), detail=told,
        ),
        RivalPlayer(
            key="state_tree", title="Tree on observation and state", sees="the observation and the machine's state",
            memory=True, player=_state_player(fitting, state_tree), detail=state_told,
        ),
        RivalPlayer(
            key="replay", title="Replay of the best fit game", sees="the time step", memory=False,
            player=best_sequence(fitting.own), detail=f"return {fitting.own.returns.max():.6g} in its own game",
        ),
    )  # fmt: skip


Inputs = Callable[[Fitting, Rollouts], Array]


def _practised(fitting: Fitting, inputs: Inputs, player: Callable[[Tree], Player]) -> tuple[Tree, str]:
    job = fitting.job
    rounds = 1 if job.atari else 2
    games = [fitting.own]
    labels = [fitting.own.actions]
    found: list[tuple[float, Tree]] = []
    for number in range(rounds + 1):
        tree = _tree([inputs(fitting, one) for one in games], labels, [one.offsets for one in games])
        played = play(job.fitting, job.seeds("fit")[:_GAMES], player(tree), workers=job.workers)
        found.append((float(played.returns.mean()), tree))
        if number < rounds:
            games.append(played)
            labels.append(policy_choices(job.loaded.policy, played, reader=fitting.reader).astype(np.int32))
    place = max(range(len(found)), key=lambda i: (found[i][0], -i))
    score, best = found[place]
    told = f"depth {best.depth}, {best.leaves} leaves, round {place} of {rounds}; return {score:.6g} on fit games"
    return best, told


def _tree(inputs: list[Array], labels: list[Array], offsets: list[Array]) -> Tree:
    episodes = [episodes_of(one) for one in offsets]
    firsts = np.cumsum([0, *(len(one) for one in offsets)])
    rows, actions = np.concatenate(inputs), np.concatenate(labels)
    groups = np.concatenate([one + first for one, first in zip(episodes, firsts, strict=False)])
    kept = slice(None, None, max(1, -(-rows.size // _MOST_NUMBERS)))
    depths = (1, 2, 3, 4, 6, 8, 10, 12) if rows.shape[1] < 100 else (3, 6, 10)
    return grow_tree(rows[kept], actions[kept], groups[kept], depths=depths)


def _observation_inputs(fitting: Fitting, games: Rollouts) -> Array:
    return tree_inputs(games.frames)[games.frame_index]


def _state_inputs(fitting: Fitting, games: Rollouts) -> Array:
    stepper = fitting.stepper
    symbols, _ = stepper.recognise(symbol_codes_of(fitting.network, games))
    before = states_before(stepper, symbols, games.offsets)
    inputs = tree_inputs(games.frames)[games.frame_index]
    return np.concatenate([inputs, fitting.machine.state_codes[before].astype(np.float32)], axis=1)


def _state_player(fitting: Fitting, tree: Tree) -> StateTreePlayer:
    return StateTreePlayer(tree, fitting.machine, fitting.stepper, fitting.network, features=fitting.reader)
