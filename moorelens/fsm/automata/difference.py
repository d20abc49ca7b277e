"""What changed between two machines: states, symbols, transitions and decisions, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moorelens.fsm.automata.decisions import DecisionPoint, decision_points
from moorelens.fsm.automata.equivalence import Difference, distinguishing_word
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.matching import (
    Match,
    action_name,
    choose_match,
    match_states,
    match_symbols,
    rows_by_symbol,
)

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ChangedDecision:
    """A decision point that appears (`first` is None), vanishes (`second` is None) or chooses between other actions.

    `before` and `after` are the actions of its branches, by name.
    """

    change: Literal["appears", "vanishes", "changes"]
    first: int | None
    second: int | None
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Redirected:
    """A transition of matched states that leads elsewhere; ids of the first machine, targets of each machine's own."""

    source: int
    symbol: int
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MachineDifference:
    """All that differs between two machines; counts and visits are not compared.

    Fields:
        match: how states were matched (`match_states`). pairs: the matched states (first, second).
        vanished: states of the first machine without a partner. appeared: states of the second without one.
        changed: matched states (first, second) that emit different actions.
        symbols_vanished, symbols_appeared: symbols only one machine knows; both empty when matched by shape.
        redirected: transitions of matched states that lead elsewhere.
        lost, gained: (state, symbol) pairs, of matched states and symbols, defined only in the first or second machine;
            when matched by shape, (source, target) pairs instead.
        decisions: decision points that appear, vanish or change their actions.
        first_word, second_word: the shortest word of the first (second) machine with other actions, or none, in the
        other;
            None where all words agree, or where machines were matched by shape and symbols mean different things.
    """

    match: Match
    pairs: tuple[Pair, ...]
    vanished: tuple[int, ...]
    appeared: tuple[int, ...]
    changed: tuple[Pair, ...]
    symbols_vanished: tuple[int, ...]
    symbols_appeared: tuple[int, ...]
    redirected: tuple[Redirected, ...]
    lost: tuple[Pair, ...]
    gained: tuple[Pair, ...]
    decisions: tuple[ChangedDecision, ...]
    first_word: Difference | None
    second_word: Difference | None

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        found = (
            self.vanished, self.appeared, self.changed, self.symbols_vanished, self.symbols_appeared, self.redirected,
            self.lost, self.gained, self.decisions,
        )  # fmt: skip
        return not any(found) and self.first_word is None and self.second_word is None


def diff(first: MooreMachine, second: MooreMachine, *, match: Match | None = None) -> MachineDifference:
    """Return what changed from `first` to `second`; nothing for a machine and itself. `match`: see `choose_match`."""
    chosen = match or choose_match(first, second)
    states = match_states(first, second, match=chosen)
    symbols = match_symbols(first, second, match=chosen)
    partners, known = set(states.values()), set(symbols.values())
    by_shape = chosen == "shape"
    redirected, lost, gained = _edges(first, second, states) if by_shape else _moves(first, second, states, symbols)
    return MachineDifference(
        match=chosen,
        pairs=tuple(sorted(states.items())),
        vanished=tuple(s for s in range(len(first.actions)) if s not in states),
        appeared=tuple(s for s in range(len(second.actions)) if s not in partners),
        changed=tuple((s, t) for s, t in sorted(states.items()) if action_name(first, s) != action_name(second, t)),
        symbols_vanished=() if by_shape else tuple(o for o in range(first.n_symbols) if o not in symbols),
        symbols_appeared=() if by_shape else tuple(o for o in range(second.n_symbols) if o not in known),
        redirected=redirected,
        lost=lost,
        gained=gained,
        decisions=_decisions(first, second, states),
        first_word=None if by_shape else distinguishing_word(first, second),
        second_word=None if by_shape else distinguishing_word(second, first),
    )


def _moves(
    first: MooreMachine, second: MooreMachine, states: dict[int, int], symbols: dict[int, int]
) -> tuple[tuple[Redirected, ...], tuple[Pair, ...], tuple[Pair, ...]]:
    rows, others = rows_by_symbol(first), rows_by_symbol(second)
    redirected, lost, gained = [], [], []
    back = {o: s for s, o in symbols.items()}
    for state, partner in sorted(states.items()):
        for symbol, ends in rows[state].items():
            if symbol not in symbols:
                continue
            after = others[partner].get(symbols[symbol])
            if after is None:
                lost.append((state, symbol))
            elif {states.get(t) for t in ends} != set(after):
                redirected.append(Redirected(source=state, symbol=symbol, before=tuple(ends), after=tuple(after)))
        gained += [(partner, o) for o in others[partner] if o in back and back[o] not in rows[state]]
    return tuple(redirected), tuple(lost), tuple(gained)


def _edges(
    first: MooreMachine, second: MooreMachine, states: dict[int, int]
) -> tuple[tuple[Redirected, ...], tuple[Pair, ...], tuple[Pair, ...]]:
    mine, theirs = (set(zip(m.sources.tolist(), m.targets.tolist(), strict=True)) for m in (first, second))
    back = {t: s for s, t in states.items()}
    lost = {(s, t) for s, t in mine if s in states and t in states and (states[s], states[t]) not in theirs}
    gained = {(s, t) for s, t in theirs if s in back and t in back and (back[s], back[t]) not in mine}
    return (), tuple(sorted(lost)), tuple(sorted(gained))


def _decisions(first: MooreMachine, second: MooreMachine, states: dict[int, int]) -> tuple[ChangedDecision, ...]:
    before = {p.state: _branch_actions(first, p) for p in decision_points(first)}
    after = {p.state: _branch_actions(second, p) for p in decision_points(second)}
    back = {t: s for s, t in states.items()}
    found = []
    for state, actions in before.items():
        partner = states.get(state)
        if partner not in after:
            found.append(ChangedDecision(change="vanishes", first=state, second=partner, before=actions, after=()))
        elif after[partner] != actions:
            found.append(
                ChangedDecision(change="changes", first=state, second=partner, before=actions, after=after[partner])
            )
    for partner, actions in after.items():
        if back.get(partner) not in before:
            found.append(
                ChangedDecision(change="appears", first=back.get(partner), second=partner, before=(), after=actions)
            )
    return tuple(found)


def _branch_actions(machine: MooreMachine, point: DecisionPoint) -> tuple[str, ...]:
    return tuple(sorted({action_name(machine, b.target) for b in point.branches}))
