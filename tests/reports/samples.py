"""Report data to look at and to test with: a small controller played on a cart and pole, and a made-up Atari machine.

Machines, decisions, rules and examples come from simulated episodes. The returns and fidelities are MADE UP: they are
here to fill the tables and measure nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.fsm.automata.build import build_machine
from moorelens.fsm.automata.decisions import decision_counts, decision_points, dwell_lengths
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine, macro_of
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.automata.traces import Traces, previous_states
from moorelens.fsm.drawing import Drawing, draw_machine, draw_reduced
from moorelens.fsm.drawing_sources import graph_of_machine, graph_of_reduced
from moorelens.fsm.drawing_style import action_styles
from moorelens.fsm.medoids import medoid
from moorelens.fsm.predicates import StateRules, branch_rules
from moorelens.graphviz import render
from moorelens.pipelines.films import code_texts
from moorelens.pipelines.reductions import heads
from moorelens.pipelines.visits import Recording, with_visits
from moorelens.reports.build import (
    action_marks,
    decision_point,
    difference_picture,
    feature_example,
    frame_picture,
    machine_view,
    whole_view,
)
from moorelens.reports.data import (
    DecisionPoint,
    Episode,
    Example,
    Interval,
    MachineView,
    Merge,
    Named,
    Picture,
    Place,
    ReductionStep,
    ReportData,
    SeedReturns,
    Subject,
    Trace,
)
from moorelens.reports.films import film_of
from moorelens.reports.summary import (
    Decisions,
    Fidelity,
    FoldedSize,
    Loss,
    MachineScore,
    MachineSize,
    Memory,
    ReducedSize,
    Returns,
    RunSummary,
    Score,
    Seeds,
    Sizes,
)

FEATURES = ("cart position", "cart velocity", "pole angle", "pole velocity")
UNITS = ("m", "m/s", "rad", "rad/s")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Simulated episodes as a machine with its traces; `observations` (T, D) are what each step saw."""

    machine: MooreMachine
    traces: Traces
    observations: npt.NDArray[np.float32]


def cart_pole_step(state: Floats, action: int, *, noise: float) -> Floats:
    """One step of 20 ms of the cart and pole of Barto, Sutton and Anderson (1983), with a push of `noise` newtons."""
    x, speed, angle, spin = state
    force = (10.0 if action else -10.0) + noise
    sine, cosine = np.sin(angle), np.cos(angle)
    push = (force + 0.05 * spin**2 * sine) / 1.1
    turn = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    drive = push - 0.05 * turn * cosine / 1.1
    return np.array([x + 0.02 * speed, speed + 0.02 * drive, angle + 0.02 * spin, spin + 0.02 * turn])


def recorded_cart_pole(*, episodes: int = 12, steps: int = 300, seed: int = 0) -> Recorded:
    """A controller with memory: it looks, pushes three times where the pole leans far and once where it does not."""
    rng = np.random.default_rng(seed)
    codes, symbols, actions, seen, lengths = [], [], [], [], []
    for _ in range(episodes):
        state, plan, count = rng.uniform(-0.05, 0.05, size=4), (0, 0), 0
        for _ in range(steps):
            lean = 2.4 * state[2] + 0.9 * state[3] + 0.10 * state[0] + 0.22 * state[1]
            level = int(np.searchsorted([-0.25, 0.0, 0.25], lean))
            side = int(np.searchsorted([-0.25, 0.25], state[0]))
            symbols.append([level, side, int(np.searchsorted([-0.08, 0.0, 0.08], state[2]))])
            if count == 0:
                plan = (level, side)
                count = 3 if level in (0, 3) else 1
            count -= 1
            codes.append([*plan, count])
            action = int(plan[0] >= 2)
            actions.append(action)
            seen.append(state)
            state = cart_pole_step(state, action, noise=rng.normal() * 2.0)
        lengths.append(steps)
    machine, traces = build_machine(
        start_codes=np.full((episodes, 3), -1),
        state_codes=np.array(codes),
        symbol_codes=np.array(symbols),
        actions=np.array(actions),
        offsets=np.cumsum([0, *lengths]),
        terminated=np.zeros(episodes, dtype=bool),
        truncated=np.ones(episodes, dtype=bool),
        action_names=("left", "right"),
    )
    return Recorded(machine=machine, traces=traces, observations=np.array(seen, dtype=np.float32))


def cart_pole_report(
    *, name: str = "cartpole-gru32", env: str = "CartPole-v1", rename: tuple[str, str] | None = None
) -> ReportData:
    """Report data of the controller; `rename` replaces the two action names."""
    recorded = recorded_cart_pole()
    machine = recorded.machine if rename is None else _renamed(recorded.machine, rename)
    recorded = Recorded(machine=machine, traces=recorded.traces, observations=recorded.observations)
    traces = recorded.traces
    before = previous_states(traces, start=machine.start)
    rules = branch_rules(recorded.observations, before, traces.states, feature_names=FEATURES)
    reduction = reduce(machine, traces=traces)
    reduced = reduction.reduced
    styles = action_styles(machine.action_names)
    drawings = {
        "reduced": draw_reduced(reduced, rules=macro_rules(rules, reduced), styles=styles, legend=False, prefix="r-"),
        "machine": draw_machine(machine, styles=styles, legend=False, prefix="u-"),
    }
    decisions = _decisions(recorded, drawings["reduced"], rules)
    pictures: dict[str, Picture] = {}
    steps = Recording(
        before=before, states=traces.states, offsets=traces.offsets, frames=recorded.observations,
        frame_index=np.arange(traces.n_steps), values=recorded.observations[:, 0].astype(float),
        feature_names=FEATURES, feature_units=UNITS,
    )  # fmt: skip
    decided = {decision.node: decision.key for decision in decisions}
    views = tuple(
        with_visits(
            machine_view(drawings[key], render(drawings[key].dot), key=key, title=title, decisions=marked),
            steps, pictures=pictures, heads=entered,
        )
        for key, title, marked, entered in (
            ("reduced", "Reduced", decided, heads(reduced)), ("machine", "As extracted", {}, None),
        )
    )  # fmt: skip
    return ReportData(
        subject=Subject(
            policy=f"zoo:{name}",
            policy_name=name,
            identity="sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
            env=env,
            env_kind="control",
            action_names=machine.action_names,
            feature_names=FEATURES,
            feature_units=UNITS,
            algorithm="RecurrentPPO",
            cell="GRU",
            memory_units=32,
            parameters=6_947,
            max_steps=500,
            reward_threshold=475.0,
            preset="quick",
        ),
        summary=_summary(name, env, machine, reduced),
        actions=action_marks(styles),
        intervals=_intervals(),
        settings=SETTINGS,
        versions=VERSIONS,
        seed_returns=_seed_returns(),
        reductions=_reductions(reduction.history, machine),
        views=views,
        decisions=decisions,
        episodes=_episodes(recorded, views[0], decisions),
        codes=code_texts(machine.state_codes),
    )


def _renamed(machine: MooreMachine, names: tuple[str, str]) -> MooreMachine:
    return dataclasses.replace(machine, action_names=names)


def macro_rules(rules: Mapping[int, StateRules], reduced: ReducedMachine) -> dict[tuple[int, int], str]:
    """Rule texts by (macro-state, macro-state)."""
    macros = macro_of(reduced)
    place = {state: int(macros[position]) for state, position in enumerate(reduced.state_map.tolist()) if position >= 0}
    return {
        (place[state], place[rule.target]): rule.text
        for state, entry in rules.items()
        if state != int(reduced.members[reduced.offsets[reduced.start]])
        for rule in entry.rules
    }


def _decisions(recorded: Recorded, drawing: Drawing, rules: Mapping[int, StateRules]) -> tuple[DecisionPoint, ...]:
    machine, traces = recorded.machine, recorded.traces
    before = previous_states(traces, start=machine.start)
    points = [point for point in decision_points(machine) if not point.silent]
    dwells = dwell_lengths(points, traces)
    scale = recorded.observations.std(axis=0)
    found = []
    for place, point in enumerate(sorted(points, key=lambda point: (-point.bits, point.state))):
        chosen = {}
        for branch in point.branches:
            rows = np.flatnonzero((before == point.state) & (traces.states == branch.target))
            chosen[branch.target] = int(rows[medoid(recorded.observations[rows], scale=scale)])
        ranked = sorted(point.branches, key=lambda branch: (-branch.count, branch.target))
        entry = rules.get(point.state)
        examples = {
            branch.target: _example(
                recorded, chosen, branch.target, other=ranked[1 if branch is ranked[0] else 0].target, entry=entry
            )
            for branch in ranked
        }
        made = decision_point(
            point, drawing.graph, key=f"d{place}", view="reduced", steps=traces.n_steps, rules=entry, examples=examples,
            dwell=dwells.get(point.state),
        )  # fmt: skip
        if made is not None:
            found.append(made)
    return tuple(found)


def _example(
    recorded: Recorded, chosen: Mapping[int, int], target: int, *, other: int, entry: StateRules | None
) -> Example:
    step = chosen[target]
    episode = int(np.searchsorted(recorded.traces.offsets, step, side="right")) - 1
    rule = None if entry is None else entry.rule(target)
    decisive = {condition.feature for clause in rule.clauses for condition in clause} if rule is not None else set()
    return feature_example(
        recorded.observations[step],
        recorded.observations[chosen[other]],
        feature_names=FEATURES,
        units=UNITS,
        place=Place(episode=episode, step=step - int(recorded.traces.offsets[episode])),
        symbol=int(recorded.traces.symbols[step]),
        decisive=decisive,
    )


def _episodes(recorded: Recorded, view: MachineView, decisions: tuple[DecisionPoint, ...]) -> tuple[Episode, ...]:
    traces = recorded.traces
    index = {member: place for place, state in enumerate(view.states) for member in state.members}
    deciding = {state.node for state in view.states if "decision point" in state.flags}
    episodes = []
    for number in range(3):
        rows = slice(int(traces.offsets[number]), int(traces.offsets[number + 1]))
        nodes = tuple(index[state] for state in traces.states[rows].tolist())
        episodes.append(
            Episode(
                seed=number,
                protocol="fit",
                player="machine",
                total=float(len(nodes)),
                ended="truncated",
                view=view.key,
                nodes=nodes,
                symbols=tuple(f"o{symbol}" for symbol in traces.symbols[rows].tolist()),
                actions=tuple(traces.actions[rows].tolist()),
                rewards=(1.0,) * len(nodes),
                decisions=tuple(step for step, node in enumerate(nodes) if view.states[node].node in deciding),
                number=number,
                states=tuple(traces.states[rows].tolist()),
                values=tuple(recorded.observations[rows, 0].tolist()),
                traces=tuple(
                    Trace(name=name, unit=UNITS[place], values=tuple(recorded.observations[rows, place].tolist()))
                    for place, name in enumerate(FEATURES)
                ),
            )
        )
    return tuple(episodes)


SETTINGS = (
    Named(group="quantiser", name="code sizes", value="8 (observation), 8 (memory)", note="three values a digit"),
    Named(group="quantiser", name="epochs", value="120"),
    Named(group="rollouts", name="episodes to fit", value="32"),
    Named(group="rollouts", name="seed", value="0"),
)
VERSIONS = tuple(
    Named(group="", name=name, value=value)
    for name, value in (("moorelens", "0.1.0"), ("python", "3.11.7"), ("torch", "2.13.0"), ("numpy", "2.4.6"))
)


def _returns() -> dict[str, npt.NDArray[np.float64]]:
    rng = np.random.default_rng(1)
    full = np.full(20, 500.0)
    return {
        "policy": full,
        "mmn": full,
        "machine": np.where(rng.random(20) < 0.15, rng.integers(340, 499, 20), full),
        "reduced": np.where(rng.random(20) < 0.15, rng.integers(340, 499, 20), full),
        "folded": rng.integers(210, 500, 20).astype(float),
    }


def _seed_returns() -> tuple[SeedReturns, ...]:
    seeds = tuple(range(1000, 1020))
    return tuple(
        SeedReturns(protocol="held_out", player=player, seeds=seeds, values=tuple(values.tolist()))
        for player, values in _returns().items()
    )


def _score(values: npt.NDArray[np.float64], *, decided: float | None = None) -> MachineScore:
    mean, spread = float(values.mean()), float(values.std() / np.sqrt(len(values)))
    bound = 3 / len(values) if spread == 0 else None
    return MachineScore(
        mean=mean, low=mean - 2 * spread, high=mean + 2 * spread, n=len(values), bound=bound, decided=decided
    )


def _plain(values: npt.NDArray[np.float64]) -> Score:
    score = _score(values)
    return Score(mean=score.mean, low=score.low, high=score.high, n=score.n, bound=score.bound)


def _summary(name: str, env: str, machine: MooreMachine, reduced: ReducedMachine) -> RunSummary:
    returns = _returns()
    counts = decision_counts(decision_points(machine))
    return RunSummary(
        policy=f"zoo:{name}",
        env=env,
        seeds=Seeds(fit=tuple(range(32)), selection=tuple(range(100, 110)), held_out=tuple(range(1000, 1020))),
        returns=Returns(
            policy=_plain(returns["policy"]),
            mmn=_plain(returns["mmn"]),
            machine=_score(returns["machine"], decided=0.9934),
            reduced=_score(returns["reduced"], decided=0.9931),
            folded=_score(returns["folded"], decided=0.9642),
        ),
        loss=Loss(
            machine=_plain(returns["policy"] - returns["machine"]),
            reduced=_plain(returns["policy"] - returns["reduced"]),
            folded=_plain(returns["policy"] - returns["folded"]),
        ),
        fidelity=Fidelity(
            replay=1.0, teacher_forced_mmn=0.9987, teacher_forced_policy=0.9712, closed_loop=0.9644,
            symbol_novelty=0.0021, undefined_rate=0.0068,
        ),
        sizes=Sizes(
            machine=MachineSize(
                states=machine.n_states, symbols=machine.n_symbols, transitions=machine.n_transitions,
                conflicts=machine.n_conflicts,
            ),
            reduced=ReducedSize(states=reduced.n_states, symbols=reduced.n_symbols, edges=reduced.n_edges),
            folded=FoldedSize(states=5, symbols=21, method="fold", lower_bound=4, zero_evidence_merges=9),
        ),
        decisions=Decisions(**counts),
        memory=Memory(reactivity=0.71, memory_gain=0.083, open_loop_index=0.534, best_tree=0.912),
    )  # fmt: skip


def _intervals() -> dict[str, Interval]:
    return {
        "fidelity.teacher_forced_mmn": Interval(low=0.9979, high=0.9993, n=20),
        "fidelity.teacher_forced_policy": Interval(low=0.9655, high=0.9766, n=20),
        "fidelity.closed_loop": Interval(low=0.9561, high=0.9718, n=20),
        "fidelity.symbol_novelty": Interval(low=0.0011, high=0.0034, n=20),
        "fidelity.undefined_rate": Interval(low=0.0049, high=0.0091, n=20),
        "memory.memory_gain": Interval(low=0.071, high=0.094, n=20),
    }


_STEP_WORDS = {
    "machine": ("As extracted", "states and symbols are distinct codes"),
    "trim": ("Trim", "drops what is never reached"),
    "edges": ("Join edges", "parallel transitions become one edge"),
    "classes": ("Join symbols", "symbols that lead to the same states everywhere"),
    "chains": ("Join chains", "states always passed in turn become one with a word"),
    "loops": ("Join loops", "closed cycles become one state"),
    "tags": ("Tag", "marks what comes before the first cycle"),
}


def _reductions(history: tuple[object, ...], machine: MooreMachine) -> tuple[ReductionStep, ...]:
    decisions = len([point for point in decision_points(machine) if not point.silent])
    steps = []
    for step in history:
        title, words = _STEP_WORDS[step.step]
        steps.append(
            ReductionStep(
                key=step.step, title=title, states=step.states, symbols=step.symbols, edges=step.edges,
                decisions=decisions, merged=words, view="machine" if step.step in ("machine", "trim") else "reduced",
                merges=(Merge(into="M1", parts=("S0", "S1")),) if step.step == "chains" else (),
                merge_total=int(step.step == "chains"),
            )
        )  # fmt: skip
    steps.append(
        ReductionStep(
            key="folded", title="Folded", states=5, symbols=21, edges=19, merged="another machine: at least 4 states"
        )
    )
    return tuple(steps)


def pong_frame(ball: tuple[int, int], left: int, right: int) -> npt.NDArray[np.uint8]:
    """A frame (80, 80) of a made-up Pong."""
    frame = np.full((80, 80), 87, dtype=np.uint8)
    frame[:6] = frame[-6:] = 200
    frame[left : left + 9, 8:10] = 140
    frame[right : right + 9, 70:72] = 150
    frame[ball[0] : ball[0] + 2, ball[1] : ball[1] + 2] = 236
    return frame


def pong_report(*, states: int = 120) -> ReportData:
    """Report data of a made-up Atari machine: too large for labels, with frames as examples."""
    rng = np.random.default_rng(3)
    names = ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
    codes, symbols, actions, lengths = [], [], [], []
    jumps = {}
    for _ in range(6):
        state = 0
        for _ in range(900):
            fork = state % 6 == 5
            symbol = int(rng.integers(0, 4 if fork else 2)) + 4 * (state % 40)
            key = (state, symbol)
            jumps.setdefault(
                key, (state + 1) % states if not fork or rng.random() < 0.45 else int(rng.integers(0, states))
            )
            state = jumps[key]
            codes.append([state // 100, state % 100])
            symbols.append([symbol // 100, symbol % 100])
            actions.append((2, 3, 0, 3, 2, 4)[(state // 7) % 6])
        lengths.append(900)
    machine, traces = build_machine(
        start_codes=np.full((6, 2), -1), state_codes=np.array(codes), symbol_codes=np.array(symbols),
        actions=np.array(actions), offsets=np.cumsum([0, *lengths]), terminated=np.ones(6, dtype=bool),
        truncated=np.zeros(6, dtype=bool), action_names=names,
    )  # fmt: skip
    reduction = reduce(machine, traces=traces)
    styles = action_styles(names, used=sorted(set(actions)))
    drawings = {
        "reduced": draw_reduced(reduction.reduced, styles=styles, legend=False, prefix="r-"),
        "machine": draw_machine(machine, styles=styles, legend=False, prefix="u-"),
    }
    points = sorted((p for p in decision_points(machine) if not p.silent), key=lambda p: (-p.bits, p.state))
    pictures: dict[str, Picture] = {}
    decisions = []
    for place, point in enumerate(points[:20]):
        examples = {}
        frames = [pong_frame((20 + 7 * i, 30 + 5 * i), 20 + place, 30 + 9 * i) for i in range(len(point.branches))]
        for number, branch in enumerate(point.branches):
            key = f"frame-{place}-{number}"
            other = frames[1 if number == 0 else 0]
            pictures[key] = frame_picture(frames[number], alt="The network's input, 80 by 80")
            pictures[f"{key}-difference"] = difference_picture(
                frames[number], other, alt="Difference to the other branch"
            )
            examples[branch.target] = Example(
                place=Place(episode=0, step=40 + place), symbol="o7", picture=key, difference=f"{key}-difference"
            )
        made = decision_point(
            point, drawings["reduced"].graph, key=f"d{place}", view="reduced", steps=traces.n_steps, examples=examples
        )
        if made is not None:
            decisions.append(made)
    graphs = {
        "reduced": graph_of_reduced(reduction.reduced, prefix="reduced-whole-")[0],
        "machine": graph_of_machine(machine, prefix="machine-whole-")[0],
    }
    views = tuple(
        view
        for key, title in (("reduced", "Reduced"), ("machine", "As extracted"))
        for view in (
            machine_view(drawings[key], render(drawings[key].dot), key=key, title=title),
            *((whole_view(graphs[key], of=key, title=title),) if drawings[key].detail == "top" else ()),
        )
    )
    index = {member: place for place, state in enumerate(views[0].states) for member in state.members}
    states = traces.states[:300].tolist()
    film, shown = film_of(
        [pong_frame((10 + step % 60, 12 + step % 50), 20 + step % 40, 30 + step % 20) for step in range(300)],
        alt="A made-up Pong",
    )
    assert film is not None
    base = cart_pole_report(name="mmn_pong_gru32", env="ALE/Pong-v5")
    policy = Score(mean=21.0, low=None, high=None, n=1)
    summary = msgspec.structs.replace(
        base.summary,
        returns_published=Returns(
            policy=policy,
            machine=MachineScore(mean=21.0, low=None, high=None, n=1, decided=1.0),
            reduced=MachineScore(mean=20.0, low=None, high=None, n=1, decided=0.998),
        ),
        sizes=Sizes(
            machine=MachineSize(
                states=machine.n_states,
                symbols=machine.n_symbols,
                transitions=machine.n_transitions,
                conflicts=machine.n_conflicts,
            ),
            reduced=ReducedSize(
                states=reduction.reduced.n_states, symbols=reduction.reduced.n_symbols, edges=reduction.reduced.n_edges
            ),
        ),
        decisions=Decisions(**decision_counts(decision_points(machine))),
    )
    return msgspec.structs.replace(
        base,
        subject=msgspec.structs.replace(
            base.subject, env_kind="atari", action_names=names, feature_names=None, feature_units=None,
            policy="mmn:mmn_pong_gru32.p",
            max_steps=None, reward_threshold=None,
        ),
        summary=summary,
        actions=action_marks(styles),
        reductions=_reductions(reduction.history, machine),
        views=views,
        decisions=tuple(decisions),
        pictures=pictures,
        films={"episode-0": film},
        codes=code_texts(machine.state_codes),
        episodes=(
            msgspec.structs.replace(
                base.episodes[0], nodes=tuple(index[state] for state in states), states=tuple(states),
                symbols=tuple(f"o{symbol}" for symbol in traces.symbols[:300].tolist()),
                actions=tuple(traces.actions[:300].tolist()), film="episode-0", shown=shown, traces=(),
                decisions=tuple(range(5, 300, 6)),
            ),
        ),
    )  # fmt: skip
