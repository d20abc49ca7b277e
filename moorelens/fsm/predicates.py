"""Rules on named features that say when each branch of a state is taken: shallow decision trees read out as text.

Letters: N recorded steps, D features, B branches of one state. The rules describe the machine; they are no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.tree import DecisionTreeClassifier

from moorelens.errors import InvariantError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# A tree deeper than three is no longer a sentence; five folds are scikit-learn's default.
MAX_DEPTH = 3
FOLDS = 5
# A branch taken less often than this gives no rule: a threshold between so few points is chance.
MIN_VISITS = 5
# A rule that is wrong more often than right where it holds would mislead: its branch is left without one.
MIN_PRECISION = 0.5
# A threshold is rounded as far as at most this share of the records changes sides.
ROUNDING = 0.005
# States with more records than this are thinned evenly: rules do not change, time does.
MAX_RECORDS = 5_000
_MINUS = "\u2212"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """`low < feature <= high` for the feature at position `feature`; None where that side is open."""

    feature: int
    low: float | None = None
    high: float | None = None

    def holds(self, observations: Floats) -> npt.NDArray[np.bool_]:
        """Return (N,) whether each row of `observations` (N, D) meets the condition."""
        values = observations[:, self.feature]
        inside = np.ones(len(values), dtype=np.bool_)
        if self.low is not None:
            inside &= values > np.float32(self.low)
        if self.high is not None:
            inside &= values <= np.float32(self.high)
        return inside


Clause = tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class BranchRule:
    """When one branch is taken: any of `clauses` holds, each all of its conditions.

    `coverage` is the share of this branch's visits on which the rule holds, `precision` the share of the visits on
    which it holds that took this branch.
    """

    target: int
    clauses: tuple[Clause, ...]
    text: str
    coverage: float
    precision: float


@dataclass(frozen=True, kw_only=True)
class StateRules:
    """The rules of one state; `accuracy` is how often its tree names the branch, `majority` the usual branch's share.

    `accuracy` is over all visits (a branch too rare for a rule counts as missed); cross-validated where `validated`,
    else on the records that the tree was fitted to.
    """

    state: int
    records: int
    depth: int
    accuracy: float
    majority: float
    validated: bool
    rules: tuple[BranchRule, ...]

    def rule(self, target: int) -> BranchRule | None:
        """Return the rule of the branch to `target`, None where there is none."""
        return next((rule for rule in self.rules if rule.target == target), None)


def branch_rules(
    observations: npt.ArrayLike,
    sources: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    feature_names: Sequence[str],
    units: Sequence[str] | None = None,
    max_depth: int = MAX_DEPTH,
    min_visits: int = MIN_VISITS,
    seed: int = 0,
) -> dict[int, StateRules]:
    """Return the rules of every state with two or more branches, by state.

    `observations` (N, D) are the features seen in each recorded step, `sources` (N,) the state the step began in,
    `targets` (N,) the state it led to. Branches count by the root of their frequency, so a rare one is heard without
    drowning the usual one, and the depth is chosen by balanced accuracy. Deterministic for a `seed`.

    Raises InvariantError where shapes disagree or a feature is not finite.
    """
    x, origin, ends = _checked(observations, sources, targets, feature_names)
    found: dict[int, StateRules] = {}
    for state in np.unique(origin).tolist():
        rows = np.flatnonzero(origin == state)
        if len(np.unique(ends[rows])) < 2:
            continue
        rules = state_rules(
            x[rows], ends[rows], state=state, feature_names=feature_names, units=units, max_depth=max_depth,
            min_visits=min_visits, seed=seed,
        )  # fmt: skip
        if rules is not None:
            found[state] = rules
    return found


def state_rules(
    observations: Floats,
    targets: Ints,
    *,
    state: int,
    feature_names: Sequence[str],
    units: Sequence[str] | None = None,
    max_depth: int = MAX_DEPTH,
    min_visits: int = MIN_VISITS,
    seed: int = 0,
) -> StateRules | None:
    """Return the rules of one state from its records (N, D), (N,); None where fewer than two branches can have one."""
    names, counts = np.unique(targets, return_counts=True)
    frequent = names[counts >= min_visits]
    if len(frequent) < 2:
        return None
    thinned = _thinned(len(targets))
    kept = thinned[np.isin(targets[thinned], frequent)]
    x, y = observations[kept], targets[kept]
    depth, accuracy, validated = _choose_depth(x, y, max_depth=max_depth, seed=seed)
    tree = _tree(depth, y, seed=seed).fit(x, y)
    if accuracy is None:
        accuracy = float(np.mean(tree.predict(x) == y))
    accuracy *= float(counts[counts >= min_visits].sum() / counts.sum())
    clauses = _clauses_by_target(tree, x)
    rules = tuple(
        rule
        for target in frequent.tolist()
        if (rule := _rule(target, clauses.get(target, []), x, y, feature_names, units)) is not None
    )
    return StateRules(
        state=state,
        records=len(targets),
        depth=depth,
        accuracy=accuracy,
        majority=float(counts.max() / counts.sum()),
        validated=validated,
        rules=rules,
    )


def rule_texts(rules: Mapping[int, StateRules]) -> dict[tuple[int, int], str]:
    """Return the rule texts by (source, target), as drawings take them."""
    return {(state, rule.target): rule.text for state, entry in rules.items() for rule in entry.rules}


def _checked(
    observations: npt.ArrayLike, sources: npt.ArrayLike, targets: npt.ArrayLike, feature_names: Sequence[str]
) -> tuple[Floats, Ints, Ints]:
    x = np.asarray(observations, dtype=np.float32)
    origin, ends = np.asarray(sources, dtype=np.int64), np.asarray(targets, dtype=np.int64)
    if x.ndim != 2 or origin.shape != ends.shape != x.shape[:1] or x.shape[:1] != origin.shape:
        raise InvariantError(
            f"Rules need one observation, source and target a step, but got {x.shape}, {origin.shape} and {ends.shape}."
        )
    if x.shape[1] != len(feature_names):
        raise InvariantError(f"Rules need a name for each feature, but {x.shape[1]} have {len(feature_names)} names.")
    if not np.all(np.isfinite(x)):
        raise InvariantError("Rules need finite observations; this recording holds NaN or infinity.")
    return x, origin, ends


def _thinned(records: int) -> npt.NDArray[np.int64]:
    if records <= MAX_RECORDS:
        return np.arange(records)
    return np.linspace(0, records - 1, MAX_RECORDS).astype(np.int64)


def _tree(depth: int, y: Ints, *, seed: int) -> DecisionTreeClassifier:
    # One percent of the records is the least a leaf may hold: smaller ones are exceptions, not rules.
    names, counts = np.unique(y, return_counts=True)
    weights = dict(zip(names.tolist(), np.sqrt(len(y) / counts).tolist(), strict=True))
    return DecisionTreeClassifier(
        max_depth=depth, class_weight=weights, min_samples_leaf=max(1, len(y) // 100), random_state=seed
    )


def _choose_depth(x: Floats, y: Ints, *, max_depth: int, seed: int) -> tuple[int, float | None, bool]:
    """Return the least depth whose balanced score is within one standard error of the best, and its accuracy."""
    folds = min(FOLDS, int(np.unique(y, return_counts=True)[1].min()))
    if folds < 2:
        return 1, None, False
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    scores = [
        cross_val_score(_tree(depth, y, seed=seed), x, y, cv=splitter, scoring="balanced_accuracy")
        for depth in range(1, max_depth + 1)
    ]
    best = max(scores, key=np.mean)
    enough = np.mean(best) - np.std(best) / math.sqrt(folds)
    depth = next(place for place, score in enumerate(scores, start=1) if np.mean(score) >= enough - 1e-12)
    plain = cross_val_score(_tree(depth, y, seed=seed), x, y, cv=splitter, scoring="accuracy")
    return depth, float(np.mean(plain)), True


def _clauses_by_target(tree: DecisionTreeClassifier, x: Floats) -> dict[int, list[Clause]]:
    """Return the leaves as clauses by predicted target, siblings that predict the same joined into their parent."""
    found: dict[int, list[Clause]] = {}
    for target, conditions in _leaves(tree, x, node=0, path=()):
        found.setdefault(target, []).append(conditions)
    return found


def _leaves(tree: DecisionTreeClassifier, x: Floats, *, node: int, path: Clause) -> Iterator[tuple[int, Clause]]:
    inner = tree.tree_
    predictions = set(_predictions(tree, node))
    if len(predictions) == 1:
        yield predictions.pop(), path
        return
    feature = int(inner.feature[node])
    threshold = round_between(float(inner.threshold[node]), x[:, feature])
    yield from _leaves(tree, x, node=int(inner.children_left[node]), path=_narrowed(path, feature, high=threshold))
    yield from _leaves(tree, x, node=int(inner.children_right[node]), path=_narrowed(path, feature, low=threshold))


def _predictions(tree: DecisionTreeClassifier, node: int) -> Iterator[int]:
    inner = tree.tree_
    if inner.children_left[node] < 0:
        yield int(tree.classes_[int(np.argmax(inner.value[node][0]))])
        return
    yield from _predictions(tree, int(inner.children_left[node]))
    yield from _predictions(tree, int(inner.children_right[node]))


def _narrowed(path: Clause, feature: int, *, low: float | None = None, high: float | None = None) -> Clause:
    """Return the path with one more bound; a second bound on a feature narrows the first."""
    joined = []
    merged = False
    for condition in path:
        if condition.feature == feature:
            merged = True
            lows = [value for value in (condition.low, low) if value is not None]
            highs = [value for value in (condition.high, high) if value is not None]
            condition = replace(condition, low=max(lows, default=None), high=min(highs, default=None))
        joined.append(condition)
    return tuple(joined) if merged else (*path, Condition(feature=feature, low=low, high=high))


def round_between(threshold: float, values: Floats) -> float:
    """Return the shortest decimal that parts `values` (N,) as `threshold` does, but for 0.5 % of them at most."""
    below = values <= threshold
    for digits in range(-6, 12):
        rounded = round(threshold, digits)
        other = values <= np.float32(rounded)
        if np.mean(other != below) <= ROUNDING and other.any() == below.any() and other.all() == below.all():
            return rounded + 0.0
    return threshold


def _rule(
    target: int,
    clauses: Sequence[Clause],
    x: Floats,
    y: Ints,
    feature_names: Sequence[str],
    units: Sequence[str] | None,
) -> BranchRule | None:
    """Return the rule of a branch: all its clauses if they are two plain ones, else the one that covers most of it."""
    # A tree that never splits has one empty clause, which tells nothing from nothing.
    if not all(clauses) or not clauses:
        return None
    mine = y == target
    covered = [np.all([condition.holds(x) for condition in clause], axis=0) for clause in clauses]
    order = sorted(range(len(clauses)), key=lambda place: (-int(np.sum(covered[place] & mine)), place))
    short = len(clauses) == 2 and all(len(clause) == 1 for clause in clauses)
    chosen = order if short else order[:1]
    holds = np.any([covered[place] for place in chosen], axis=0)
    precision = float(np.mean(mine[holds])) if holds.any() else 0.0
    if precision < MIN_PRECISION:
        return None
    kept = tuple(clauses[place] for place in chosen)
    binary = {place for place in range(x.shape[1]) if set(np.unique(x[:, place]).tolist()) <= {0.0, 1.0}}
    return BranchRule(
        target=target,
        clauses=kept,
        text=" or ".join(clause_text(clause, feature_names, units=units, binary=binary) for clause in kept),
        coverage=float(np.mean(holds[mine])),
        precision=precision,
    )


def clause_text(
    clause: Clause, feature_names: Sequence[str], *, units: Sequence[str] | None = None, binary: set[int] | None = None
) -> str:
    """Return a clause as words: `pole angle > 0.03 and cart speed <= 1`; a feature in `binary` is 0 or 1."""
    return " and ".join(_condition_text(item, feature_names, units, binary or set()) for item in clause)


def _condition_text(
    condition: Condition, feature_names: Sequence[str], units: Sequence[str] | None, binary: set[int]
) -> str:
    name = feature_names[condition.feature]
    unit = f" {units[condition.feature]}" if units is not None and units[condition.feature] else ""
    if condition.feature in binary:
        return f"{name} = {0 if condition.low is None else 1}"
    if condition.low is not None and condition.high is not None:
        return f"{_decimal(condition.low)} < {name} \u2264 {_decimal(condition.high)}{unit}"
    if condition.low is not None:
        return f"{name} > {_decimal(condition.low)}{unit}"
    return f"{name} \u2264 {_decimal(condition.high if condition.high is not None else math.inf)}{unit}"


def _decimal(value: float) -> str:
    return f"{value:.12g}".replace("-", _MINUS)
