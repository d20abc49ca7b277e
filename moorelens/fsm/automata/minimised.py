"""What every way of minimising returns: the smaller machine, where each state went, and how small it could be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from moorelens.fsm.automata.machine import Ids, MooreMachine

Method = Literal["strict", "fold", "exact"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimised:
    """A smaller machine with the words of the given one.

    Fields:
        machine: the result; `machine.n_states` does not count the silent start, which is never merged.
        method: how it was made. Only `proven` says that it is minimal.
        state_map: (S,) the state of the result that stands for each given state, -1 where that was unreachable. After
            `exact` a state may belong to several; then this is the first one.
        cover: the given states that each state of the result stands for.
        symbol_classes: (O,) classes of symbols with equal columns in the result.
        lower_bound: no machine with the words of the given one has fewer states.
        proven: the result has `lower_bound` states.
        merges: how many states were merged away. zero_evidence_merges: how many pairs were merged although no symbol
            was tested in both (spec-fsm 4.8).
        gave_up: why the search for a smaller machine ended early, or None.
    """

    machine: MooreMachine
    method: Method
    state_map: Ids
    cover: tuple[tuple[int, ...], ...]
    symbol_classes: Ids
    lower_bound: int
    proven: bool
    merges: int
    zero_evidence_merges: int
    gave_up: str | None = None

    @property
    def gap(self) -> int:
        """How many states more than the lower bound the result has."""
        return self.machine.n_states - self.lower_bound

    @property
    def sizes(self) -> dict[str, Any]:
        """The block `sizes.folded` of `summary.json`."""
        return {
            "states": self.machine.n_states,
            "symbols": int(self.symbol_classes.max(initial=-1)) + 1,
            "method": self.method,
            "lower_bound": self.lower_bound,
            "proven": self.proven,
            "zero_evidence_merges": self.zero_evidence_merges,
        }
