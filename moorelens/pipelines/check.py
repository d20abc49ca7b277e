"""`check`: whether the recorded episodes of a run have a temporal property, and the shortest one that does not."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.config import is_code
from moorelens.envs.description import describe
from moorelens.errors import MooreLensError
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.formulas import Names, parse_property, write_formula
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.properties import Counterexample, judge
from moorelens.fsm.automata.traces import Traces, previous_states
from moorelens.pipelines.machines import MACHINE, TRACES, decode_traces
from moorelens.pipelines.opened_run import OpenedRun, open_run
from moorelens.pipelines.run_config import CheckConfig

Array = npt.NDArray[Any]


class CheckedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a counterexample."""

    t: int
    symbol: str
    state: str
    action: str
    reward: float


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded episode that breaks the property: its number, its seed, how many of its first steps are enough, and
    `since` which step on; `shown` are the steps from there to the last of them."""

    episode: int
    seed: int
    steps: int
    since: int
    shown: tuple[CheckedStep, ...]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` found; `meaning` is the property with every bracket and every definition filled in.

    `cut_off`: episodes that a time limit ended before what was asked for could happen; they break nothing.
    """

    format: Literal["moorelens.check/1"] = "moorelens.check/1"
    property: str
    meaning: str
    holds: bool
    episodes: int
    fails: int
    cut_off: int
    counterexample: Breach | None = None


def run_check(config: CheckConfig) -> Checked:
    """Check a property on the recorded episodes of a run; nothing is written.

    Raises `RunFolderError` where `config.run` is no run, `OptionError` where the property cannot be read.
    """
    run = open_run(config.run)
    machine = decode_machine(run.read(MACHINE))
    played, traces = decode_traces(run.read(TRACES))
    features = _features(run, played.frames)
    flags = flags_of(machine, traces)
    numbers = {"reward": played.rewards, "value": played.extras["value"], "t": _clock(traces.offsets)}
    shown = played.frames.reshape(len(played.frames), -1)[played.frame_index] if features else np.zeros((0, 0))
    numbers = {name: shown[:, place] for place, name in enumerate(features)} | numbers
    names = Names(flags=tuple(flags), numbers=tuple(numbers))
    formula = parse_property(config.property, names, definitions=config.define)
    columns = flags | numbers
    spans = list(zip(traces.offsets[:-1].tolist(), traces.offsets[1:].tolist(), strict=True))
    episodes = [{name: column[a:b] for name, column in columns.items()} for a, b in spans]
    found = judge(formula, episodes, terminated=traces.terminated.tolist())
    breach = found.counterexample
    return Checked(
        property=config.property,
        meaning=write_formula(formula),
        holds=found.holds,
        episodes=len(spans),
        fails=found.verdicts.count("fails"),
        cut_off=found.verdicts.count("cut off"),
        counterexample=None if breach is None else _breach(breach, machine, traces, played.rewards, played.seeds),
    )


def flags_of(machine: MooreMachine, traces: Traces) -> dict[str, Array]:
    """Return what is true or false in each recorded step (T,), by name.

    Actions by their names, `S1` the state after the step, `o1` the symbol read in it, `decision` where it began at a
    decision point, `first` and `last` of its episode, and `terminated` or `truncated` at a last step that ended so.
    """
    deciding = [point.state for point in decision_points(machine) if not point.silent]
    first, last = np.zeros(traces.n_steps, dtype=np.bool_), np.zeros(traces.n_steps, dtype=np.bool_)
    begun = np.diff(traces.offsets) > 0
    first[traces.offsets[:-1][begun]] = True
    last[traces.offsets[1:][begun] - 1] = True
    terminated, truncated = last.copy(), last.copy()
    terminated[last], truncated[last] = traces.terminated[begun], traces.truncated[begun]
    before = previous_states(traces, start=machine.start)
    flags: dict[str, Array] = {
        "decision": np.isin(before, deciding),
        "first": first,
        "last": last,
        "terminated": terminated,
        "truncated": truncated,
    }
    flags |= {f"S{state}": traces.states == state for state in range(len(machine.actions)) if state != machine.start}
    flags |= {f"o{symbol}": traces.symbols == symbol for symbol in range(machine.n_symbols)}
    actions = {name: traces.actions == place for place, name in enumerate(machine.action_names)}
    # First in order, because errors list names from the front; last in rank, should one be called like another flag.
    return actions | flags | actions


def _features(run: OpenedRun, frames: Array) -> tuple[str, ...]:
    """Return the names of the features, none where observations are images or the environment is not there."""
    if frames.ndim != 2:
        return ()
    if run.request.feature_names is not None:
        return run.request.feature_names
    if is_code(run.request.id):
        return ()  # asking for its names would run code of the folder's choice; `--names` at the run writes them down
    try:
        return describe(run.request).feature_names or ()
    except MooreLensError:
        return ()


def _clock(offsets: Array) -> Array:
    return np.concatenate([np.arange(length) for length in np.diff(offsets)]) if len(offsets) > 1 else np.zeros(0)


def _breach(found: Counterexample, machine: MooreMachine, traces: Traces, rewards: Array, seeds: Array) -> Breach:
    begin = int(traces.offsets[found.episode])
    rows = range(begin + found.since, begin + found.steps)
    return Breach(
        episode=found.episode,
        seed=int(seeds[found.episode]),
        steps=found.steps,
        since=found.since,
        shown=tuple(
            CheckedStep(
                t=row - begin,
                symbol=f"o{int(traces.symbols[row])}",
                state=f"S{int(traces.states[row])}",
                action=machine.action_names[int(traces.actions[row])],
                reward=float(rewards[row]),
            )
            for row in rows
        ),
    )
