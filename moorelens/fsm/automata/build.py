"""Building machines: from recorded codes (extraction), from traces of ids, or from a plain list of transitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import InvariantError, RequestError
from moorelens.fsm.automata.codes import as_codes, code_keys, number_by_first_visit
from moorelens.fsm.automata.machine import BOT, OBSERVED, Codes, Counts, MooreMachine
from moorelens.fsm.automata.structure import merge_transitions
from moorelens.fsm.automata.traces import Traces, check_offsets, last_states, previous_states

Edge = tuple[int, int, int] | tuple[int, int, int, int]


def build_machine(
    *,
    start_codes: npt.ArrayLike,
    state_codes: npt.ArrayLike,
    symbol_codes: npt.ArrayLike,
    actions: npt.ArrayLike,
    offsets: npt.ArrayLike,
    terminated: npt.ArrayLike,
    truncated: npt.ArrayLike,
    action_names: Sequence[str],
    meta: Mapping[str, Any] | None = None,
) -> tuple[MooreMachine, Traces]:
    """Write down the machine that N recorded episodes of T steps run through (spec-fsm 4.1, 4.5, 4.11).

    Shapes: `start_codes` (N, K), the state code each episode begins in; `state_codes` (T, K), the code *after* each
    step; `symbol_codes` (T, L); `actions` (T,), what the state after the step emits; `offsets` (N + 1,), first step of
    each episode, then T; `terminated`, `truncated` (N,). Codes are identified by their bytes as int8, -0.0 being 0.

    State 0 is the silent start; other states and the symbols are numbered in the order they are first met. All observed
    successors are kept with their counts. Time O(T log T), memory O(T + transitions).

    Raises RequestError where shapes disagree or episodes begin in different codes, InvariantError where one state code
    comes with two actions.
    """
    begin, codes, inputs = as_codes(start_codes), as_codes(state_codes), as_codes(symbol_codes)
    cuts = np.asarray(offsets, dtype=np.int64)
    check_offsets(cuts, steps=len(codes))
    _check_recording(begin, codes, inputs, episodes=len(cuts) - 1)
    states, state_firsts = number_by_first_visit(code_keys(codes))
    symbols, symbol_firsts = number_by_first_visit(code_keys(inputs))
    traces = Traces(
        symbols=symbols,
        states=states + np.int32(1),
        actions=np.asarray(actions),
        offsets=cuts,
        terminated=np.asarray(terminated, dtype=np.bool_),
        truncated=np.asarray(truncated, dtype=np.bool_),
    )
    first_code = begin[:1] if len(begin) else np.zeros((1, codes.shape[1]), dtype=np.int8)
    machine = machine_from_traces(
        traces,
        state_codes=np.concatenate([first_code, codes[state_firsts]]),
        symbol_codes=inputs[symbol_firsts],
        action_names=action_names,
        meta=meta,
    )
    return machine, traces


def machine_from_traces(
    traces: Traces,
    *,
    state_codes: Codes,
    symbol_codes: Codes,
    action_names: Sequence[str],
    meta: Mapping[str, Any] | None = None,
) -> MooreMachine:
    """Count `traces` into a machine with start 0; `state_codes` (S, K) and `symbol_codes` (O, L) name its ids."""
    n_states = len(state_codes)
    actions = np.full(n_states, BOT, dtype=np.int32)
    actions[traces.states] = traces.actions
    clash = np.flatnonzero(actions[traces.states] != traces.actions)
    if clash.size:
        state = int(traces.states[clash[0]])
        raise InvariantError(
            f"A state code must come with one action, but state {state} came with {traces.actions[clash[0]]} and "
            f"{actions[state]}; the actions were not read from the quantised state."
        )
    ends = last_states(traces, start=0)
    visits = np.bincount(traces.states, minlength=n_states)
    visits[0] = traces.n_episodes
    terminated = traces.terminated
    edges = merge_transitions(
        previous_states(traces, start=0),
        traces.symbols,
        traces.states,
        np.ones(traces.n_steps, dtype=np.int64),
        np.full(traces.n_steps, OBSERVED, dtype=np.uint8),
    )
    return MooreMachine(
        state_codes=state_codes,
        symbol_codes=symbol_codes,
        actions=actions,
        visits=visits,
        terminals=np.bincount(ends[terminated], minlength=n_states),
        truncations=np.bincount(ends[traces.truncated & ~terminated], minlength=n_states),
        start=0,
        action_names=tuple(action_names),
        meta=dict(meta or {}),
        **edges,
    )


def from_edges(
    edges: Iterable[Edge],
    *,
    actions: Sequence[int],
    start: int = 0,
    n_symbols: int | None = None,
    action_names: Sequence[str] | None = None,
    terminals: Mapping[int, int] | None = None,
    truncations: Mapping[int, int] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> MooreMachine:
    """Build a machine from plain `(source, symbol, target[, count])` tuples over states 0..S-1, count 1 by default.

    The start becomes silent (spec-fsm 4.5): where nothing leads to `start` it just loses its action; else a silent copy
    of it, with its row, is appended as state S and is the start. The copied row has count 0, since its counts belong to
    the old state. Codes are the ids, written in base 128.
    """
    rows = np.asarray([(*e, 1)[:4] for e in edges], dtype=np.int64).reshape(-1, 4)
    acts = list(actions)
    if not 0 <= start < len(acts):
        raise RequestError(f"The start must be one of the {len(acts)} states, but it is {start}.")
    if np.any(rows[:, 2] == start):
        copied = rows[rows[:, 0] == start] * np.array([0, 1, 1, 0]) + np.array([len(acts), 0, 0, 0])
        rows, start = np.concatenate([rows, copied]), len(acts)
        acts.append(BOT)
    acts[start] = BOT
    names = tuple(action_names) if action_names is not None else tuple(f"a{i}" for i in range(max(acts, default=0) + 1))
    n_known = int(rows[:, 1].max(initial=-1)) + 1
    ids = rows[:, :3].astype(np.int32)
    found = merge_transitions(ids[:, 0], ids[:, 1], ids[:, 2], rows[:, 3], np.zeros(len(rows), dtype=np.uint8))
    ended, cut = (_spread(ends, length=len(acts)) for ends in (terminals, truncations))
    visits = np.bincount(found["targets"], weights=found["counts"], minlength=len(acts)).astype(np.int64)
    visits[start] = found["counts"][found["sources"] == start].sum() + ended[start] + cut[start]
    return MooreMachine(
        state_codes=id_codes(len(acts)),
        symbol_codes=id_codes(n_known if n_symbols is None else n_symbols),
        actions=np.asarray(acts),
        visits=visits,
        terminals=ended,
        truncations=cut,
        start=start,
        action_names=names,
        meta=dict(meta or {}),
        **found,
    )


def id_codes(n: int) -> Codes:
    """Return codes (n, K) for things that have ids but no codes: the id in base 128, most significant digit first."""
    width = max(1, -(-max(n - 1, 1).bit_length() // 7))
    digits = [(np.arange(n) >> (7 * place)) & 127 for place in reversed(range(width))]
    return np.stack(digits, axis=1).astype(np.int8)


def _spread(values: Mapping[int, int] | None, *, length: int) -> Counts:
    result = np.zeros(length, dtype=np.int64)
    for state, count in (values or {}).items():
        result[state] = count
    return result


def _check_recording(begin: Codes, codes: Codes, inputs: Codes, *, episodes: int) -> None:
    if len(inputs) != len(codes) or len(begin) != episodes or (len(begin) and begin.shape[1] != codes.shape[1]):
        raise RequestError(
            f"A recording needs one start code an episode ({len(begin)} for {episodes}) and one state and symbol code "
            f"a step ({len(codes)} and {len(inputs)}), all states of one width."
        )
    other = np.flatnonzero(np.any(begin != begin[:1], axis=1)) if len(begin) else np.zeros(0, dtype=np.int64)
    if other.size:
        raise RequestError(
            f"Every episode must begin in the same state code, but episode {other[0]} begins in another one than "
            "episode 0; extract one machine for each start."
        )
