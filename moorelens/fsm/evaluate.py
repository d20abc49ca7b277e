"""Playing a machine with a chosen answer to what was never recorded, and under disturbed conditions (spec-fsm 4.10)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from moorelens.envs.playing import Player, RecordingPlayer
from moorelens.errors import OptionError
from moorelens.fsm.automata.codes import as_codes, code_keys, nearest
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.reading import FeatureReader, SymbolReader
from moorelens.fsm.tables import NetworkTable

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
Ids = npt.NDArray[np.int64]
Unseen = Literal["nearest", "stay", "network", "error"]
Undefined = Literal["nearest", "nearest_state", "stay", "default_action", "network", "error"]


@dataclass(kw_only=True)
class Runs:
    """Where each of n runs stands: a machine state, or -1 - i for the i-th state of the network off the machine.

    `stopped (n,)`: a run that met something without an answer; what it does from then on counts nowhere.
    """

    at: Ids
    stopped: npt.NDArray[np.bool_]
    last: dict[str, Array] = field(default_factory=dict)


class FallbackPlayer:
    """Plays a machine; `unseen` and `undefined` say what it does where nothing was recorded.

    `unseen`, an unknown symbol: `nearest` reads the nearest known one (Hamming on codes; ties to the symbol read more
    often, then to the smaller id), `stay` stays in the state.
    `undefined`, a known symbol without a transition: `nearest` takes the nearest symbol that has one there (ties
    alike), `nearest_state` what the nearest state that has one does, `stay` stays, `default_action` stays and takes
    the action that was recorded most often.
    Both: `network` asks the quantised core at the state's code until a code of the machine is reached again; `error`
    ends the run there (`stopped`).
    `open_loop`: states that take their only transition whatever is seen (spec-fsm 6.5).
    Where staying is the answer at the silent start, which has no action, the most frequent action is taken.
    Raises `OptionError` where a network is to help with a machine that is not its own.
    """

    def __init__(
        self,
        machine: MooreMachine,
        network: MooreMachineNetwork,
        *,
        unseen: Unseen = "nearest",
        undefined: Undefined = "nearest",
        open_loop: Collection[int] = (),
        features: FeatureReader | None = None,
    ) -> None:
        self._machine, self._stepper = machine, compile_machine(machine)
        self._unseen, self._undefined = unseen, undefined
        self._reader = SymbolReader(network, features=features)
        self._table = NetworkTable(network) if "network" in (unseen, undefined) else None
        self._only = {state: int(machine.targets[machine.sources == state][0]) for state in sorted(open_loop)}
        counted = machine.actions != BOT
        self._default = int(np.bincount(machine.actions[counted], weights=machine.visits[counted]).argmax())
        self._known: dict[tuple[int, bytes], tuple[int, int, bool]] = {}
        self._by_code = {
            key: state for state, key in enumerate(code_keys(machine.state_codes)) if state != machine.start
        }
        if self._table is not None and machine.state_codes.shape[1] != len(self._table.start_code):
            raise OptionError(
                f"A network helps a machine out that was extracted from it, and this one's states have "
                f"{machine.state_codes.shape[1]} digits where the network's have {len(self._table.start_code)}: use "
                "another fallback."
            )

    def start(self, n: int) -> Runs:
        """Return `n` runs before their first symbol."""
        return Runs(at=np.full(n, self._machine.start, dtype=np.int64), stopped=np.zeros(n, dtype=np.bool_))

    def act(self, state: Runs, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`."""
        codes = as_codes(self._reader.codes(observations))
        symbols, known = self._stepper.recognise(codes)
        at = state.at[rows]
        reached, actions, decided = self._recorded(at, symbols)
        decided &= known
        for i in np.flatnonzero(~decided):
            reached[i], actions[i], stops = self._answer(int(at[i]), codes[i], int(symbols[i]), bool(known[i]))
            decided[i] = int(at[i]) in self._only
            state.stopped[rows[i]] |= stops
        state.at[rows] = reached
        state.last = {"decided": decided, "known": known, "position": reached, "symbol": symbols}
        state.last["stopped"] = state.stopped[rows].copy()
        return actions.astype(np.intp)

    def recorded(self, state: Runs) -> Mapping[str, Array]:
        """Return `decided`, `known`, `position`, `symbol` and `stopped`, each (b,), of the last `act`."""
        return state.last

    def _recorded(self, at: Ids, symbols: Array) -> tuple[Ids, Ids, npt.NDArray[np.bool_]]:
        on = at >= 0
        reached, actions, decided = self._stepper.step(np.where(on, at, 0).astype(np.int32), symbols)
        return reached.astype(np.int64), actions.astype(np.int64), decided & on

    def _answer(self, at: int, code: Array, symbol: int, known: bool) -> tuple[int, int, bool]:
        """Return the state reached, the action taken, and whether the run stops, where nothing was recorded."""
        key = (at, code.tobytes())
        if key not in self._known:
            self._known[key] = self._work_out(at, code, symbol, known)
        return self._known[key]

    def _work_out(self, at: int, code: Array, symbol: int, known: bool) -> tuple[int, int, bool]:
        if at in self._only:
            return self._at(self._only[at])
        if at < 0 or (not known and self._unseen == "network"):
            return self._ask(at, code)
        if not known and self._unseen == "stay":
            return self._at(at)
        stops = not known and self._unseen == "error"
        reached, _, decided = self._recorded(np.array([at]), np.array([symbol]))
        if bool(decided[0]) or stops or self._undefined == "nearest":
            return *self._at(int(reached[0]))[:2], stops
        return self._undefined_at(at, code, symbol, int(reached[0]))

    def _undefined_at(self, at: int, code: Array, symbol: int, closest: int) -> tuple[int, int, bool]:
        if self._undefined == "network":
            return self._ask(at, self._machine.symbol_codes[symbol])
        if self._undefined == "nearest_state":
            return self._at(self._through_nearest_state(at, symbol))
        if self._undefined == "default_action":
            return at, self._default, False
        if self._undefined == "stay":
            return self._at(at)
        return *self._at(closest)[:2], True

    def _at(self, state: int) -> tuple[int, int, bool]:
        action = int(self._machine.actions[state])
        return state, self._default if action == BOT else action, False

    def _through_nearest_state(self, at: int, symbol: int) -> int:
        machine = self._machine
        edges = np.flatnonzero(machine.symbols == symbol)
        sources = machine.sources[edges]
        weights = machine.visits[sources] * (len(machine.actions) + 1) - sources  # ties: visits, then the smaller id
        code = machine.state_codes[at : at + 1]
        found = edges[int(nearest(code, among=machine.state_codes[sources], weights=weights)[0])]
        source = int(machine.sources[found])
        return int(self._stepper.step(np.array([source], np.int32), np.array([symbol], np.int32))[0][0])

    def _ask(self, at: int, code: Array) -> tuple[int, int, bool]:
        table = self._table
        assert table is not None
        own = np.array([-1 - at]) if at < 0 else table.states(self._machine.state_codes[at : at + 1])
        reached = table.step(own, table.symbols(code[None]))
        state = self._by_code.get(table.codes(reached)[0].tobytes())
        if state is not None:
            return self._at(state)
        return -1 - int(reached[0]), int(table.actions(reached)[0]), False


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """What makes an episode harder; every draw comes from the episode's seed.

    `starts`: so many random actions at most, uniformly drawn, before the player decides (it watches meanwhile).
    `sticky`: chance that the last action is taken again instead of the chosen one. `noise`: standard deviation of
    what is added to each feature that the player sees, in units of `scale (obs)`.
    """

    starts: int = 0
    sticky: float = 0.0
    noise: float = 0.0
    scale: Array | None = None


class DisturbedPlayer:
    """A player under a disturbance; what is recorded are the actions that were taken."""

    def __init__(self, player: Player, seeds: Sequence[int], disturbance: Disturbance, *, n_actions: int) -> None:
        self._player, self._seeds, self._what, self._n = player, tuple(seeds), disturbance, n_actions
        self._extras: Mapping[str, Array] = {}

    def start(self, n: int) -> _Disturbed:
        """Return `n` runs, one for each seed."""
        rngs = [np.random.default_rng([seed, 0x5EED]) for seed in self._seeds[:n]]
        left = np.array([rng.integers(0, self._what.starts + 1) for rng in rngs])
        return _Disturbed(inner=self._player.start(n), rngs=rngs, left=left, last=np.full(n, -1))

    def act(self, state: _Disturbed, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`, and replace some of them."""
        seen = observations if not self._what.noise else self._blurred(state, rows, observations)
        chosen = self._player.act(state.inner, rows, seen).copy()
        for i, row in enumerate(rows.tolist()):
            if state.left[row] > 0:
                chosen[i] = state.rngs[row].integers(self._n)
                state.left[row] -= 1
            elif self._what.sticky and state.last[row] >= 0 and state.rngs[row].random() < self._what.sticky:
                chosen[i] = state.last[row]
        state.last[rows] = chosen
        self._extras = self._player.recorded(state.inner) if isinstance(self._player, RecordingPlayer) else {}
        return chosen

    def recorded(self, state: _Disturbed) -> Mapping[str, Array]:
        """Return what the player recorded in the last `act`."""
        return self._extras

    def _blurred(self, state: _Disturbed, rows: Rows, observations: Array) -> Array:
        scale = 1.0 if self._what.scale is None else self._what.scale
        draws = np.stack([state.rngs[row].standard_normal(observations.shape[1:]) for row in rows.tolist()])
        blurred = observations + self._what.noise * scale * draws
        if observations.dtype == np.uint8:
            return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)
        return np.asarray(blurred, dtype=observations.dtype)


@dataclass(kw_only=True)
class _Disturbed:
    inner: Any
    rngs: list[np.random.Generator]
    left: Array
    last: Array
