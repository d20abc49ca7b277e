"""The one summary of a run: `summary.json` is `RunSummary`, and every page only formats it (design 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import msgspec

from moorelens.errors import InvariantError, RunFolderError

SUMMARY_FORMAT: Literal["moorelens.summary/1"] = "moorelens.summary/1"


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every report record: frozen, keyword-only, unknown keys refused."""


class EstimateLike(Protocol):
    """What `moorelens.stats.Estimate` offers: a mean with its interval."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def bound(self) -> float | None: ...


class Score(Record, frozen=True, kw_only=True):
    """A mean return over `n` seeds with its 95 % interval, null for one seed; `bound` is the rule-of-three limit."""

    mean: float
    low: float | None
    high: float | None
    n: int
    bound: float | None = None


class MachineScore(Score, frozen=True, kw_only=True):
    """A score of a player without the network; `decided` is the share of steps taken by a recorded transition."""

    decided: float | None = None


class Seeds(Record, frozen=True, kw_only=True):
    """The seeds of a run, three disjoint lists."""

    fit: tuple[int, ...] = ()
    selection: tuple[int, ...] = ()
    held_out: tuple[int, ...] = ()


class Returns(Record, frozen=True, kw_only=True):
    """Returns of every player under one protocol; null where not played."""

    policy: Score | None = None
    policy_stochastic: Score | None = None
    mmn: Score | None = None
    machine: MachineScore | None = None
    reduced: MachineScore | None = None
    folded: MachineScore | None = None
    pruned: MachineScore | None = None


class Loss(Record, frozen=True, kw_only=True):
    """Paired difference policy minus player on equal seeds, in units of return."""

    machine: Score | None = None
    reduced: Score | None = None
    folded: Score | None = None
    pruned: Score | None = None


class Fidelity(Record, frozen=True, kw_only=True):
    """Shares of equal decisions, each in 0..1; `replay` is the machine on its own traces and must be 1."""

    replay: float | None = None
    teacher_forced_mmn: float | None = None
    teacher_forced_policy: float | None = None
    closed_loop: float | None = None
    symbol_novelty: float | None = None
    undefined_rate: float | None = None


class MachineSize(Record, frozen=True, kw_only=True):
    """Size of the machine as extracted; the silent start is not a state."""

    states: int
    symbols: int
    transitions: int
    conflicts: int


class ReducedSize(Record, frozen=True, kw_only=True):
    """Size of the reduced machine in macro-states, symbols and macro-edges."""

    states: int
    symbols: int
    edges: int


class FoldedSize(Record, frozen=True, kw_only=True):
    """Size of the folded machine, how it was found, and what is proven of it."""

    states: int
    symbols: int
    method: str
    lower_bound: int | None = None
    proven: bool = False
    zero_evidence_merges: int | None = None


class Sizes(Record, frozen=True, kw_only=True):
    """Sizes after extraction, reduction and folding."""

    machine: MachineSize | None = None
    reduced: ReducedSize | None = None
    folded: FoldedSize | None = None


class Decisions(Record, frozen=True, kw_only=True):
    """How many decision points of each kind (spec-fsm 6.2), and how many survive pruning."""

    structural: int | None = None
    action: int | None = None
    semantic: int | None = None
    dwell: int | None = None
    after_pruning: int | None = None


class Memory(Record, frozen=True, kw_only=True):
    """Whether memory is used (spec-fsm 4.8), each in 0..1 except `memory_gain`, a difference of two shares."""

    reactivity: float | None = None
    memory_gain: float | None = None
    open_loop_index: float | None = None
    best_tree: float | None = None


class Stability(Record, frozen=True, kw_only=True):
    """How much repeated extractions agree; `recurring` is the share of the machine's decision points that 80 % find."""

    repeats: int | None = None
    states: float | None = None
    decisions: float | None = None
    agreement: float | None = None
    recurring: float | None = None


class SaliencyTotals(Record, frozen=True, kw_only=True):
    """The intervention test over all decision points: shares of branches that flip.

    `flip_other` is null where an observation has one feature only: there is no other part to replace.
    """

    decision_points: int | None = None
    flip_salient: float | None = None
    flip_other: float | None = None
    pairs: int | None = None


class RunSummary(Record, frozen=True, kw_only=True):
    """Everything a run measured, in one record; null where not measured, never 0."""

    format: Literal["moorelens.summary/1"] = SUMMARY_FORMAT
    policy: str
    env: str
    seeds: Seeds = Seeds()
    returns: Returns = Returns()
    returns_published: Returns = Returns()
    returns_assisted: Returns = Returns()
    loss: Loss = Loss()
    fidelity: Fidelity = Fidelity()
    sizes: Sizes = Sizes()
    decisions: Decisions = Decisions()
    memory: Memory = Memory()
    stability: Stability = Stability()
    saliency: SaliencyTotals = SaliencyTotals()


def score_of(estimate: EstimateLike) -> Score:
    """Return the estimate as a `Score`."""
    return Score(mean=estimate.mean, low=estimate.low, high=estimate.high, n=estimate.n, bound=estimate.bound)


def machine_score_of(estimate: EstimateLike, *, decided: float | None) -> MachineScore:
    """Return the estimate as a `MachineScore` with the share of steps taken by recorded transitions."""
    fields = msgspec.structs.asdict(score_of(estimate))
    return MachineScore(**fields, decided=decided)


def encode_record(record: Record) -> bytes:
    """Return `record` as indented JSON, keys in declared order, one newline at the end.

    Raises `InvariantError` for NaN or infinity, which msgspec would write as null: "not measured".
    """
    for path, number in walk_numbers(record):
        if not math.isfinite(number):
            raise InvariantError(
                f"Every number of a report is finite, but {path or 'the record'} is {number}; "
                "the step that measured it must hand over None for what it could not measure."
            )
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def encode_summary(summary: RunSummary) -> bytes:
    """Return the bytes of `summary.json`; raises `InvariantError` for NaN or infinity."""
    return encode_record(summary)


def decode_summary(data: bytes) -> RunSummary:
    """Return the summary in `data`, validated; raises `RunFolderError` where it is not one."""
    try:
        return msgspec.json.decode(data, type=RunSummary)
    except msgspec.MsgspecError as error:
        raise RunFolderError(
            f"A summary must follow moorelens.summary/1, but this one does not ({error}); "
            "it was changed by hand or written by another version, so run the job again with --force."
        ) from error


def walk_numbers(record: Record, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield `(dotted path, number)` for every number in `record`, in declared order; flags are not numbers."""
    for name in record.__struct_fields__:
        yield from _walk_value(getattr(record, name), f"{prefix}{name}")


def _walk_value(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Record):
        yield from walk_numbers(value, f"{path}.")
    elif isinstance(value, tuple):
        for position, item in enumerate(value):
            yield from _walk_value(item, f"{path}.{position}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk_value(item, f"{path}.{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
