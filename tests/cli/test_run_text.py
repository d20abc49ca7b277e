"""What `prune` says: which way a pruned decision goes from then on, and when its price may be too high."""

from __future__ import annotations

import msgspec

from moorelens.cli.run_text import WIDTH, pruning_lines
from moorelens.reports.pruning import EffectRow, HeldOut, Pruning, TrialRow
from moorelens.reports.summary import MachineScore, Score


def score(mean: float, low: float | None = None, high: float | None = None, *, n: int = 20) -> Score:
    return Score(mean=mean, low=low, high=high, n=n)


def pruning(cost: Score) -> Pruning:
    worth = score(1.0, 0.5, 1.5)
    effects = [(4, 5, True), (4, 6, True), (7, 8, False), (7, 9, False), (11, 12, False)]
    return Pruning(
        policy="zoo:x", env="Task-v0", mode="branch", fallback="nearest", tolerance=5.0, seeds=(1, 2),
        machine=score(500), pruned=score(499), cost=score(1.0),
        held_out=HeldOut(
            seeds=(3, 4), policy=score(500), machine=score(500),
            pruned=MachineScore(mean=500 - cost.mean, low=None, high=None, n=20, decided=1.0), loss=cost, cost=cost,
            returns=(), decided=(), steps=(),
        ),
        states=(9, 8), decisions=(3, 1), survivors=(4,), open_loop=(),
        trials=(
            TrialRow(state=7, source=8, target=9, cost=score(0.0), accepted=True),
            TrialRow(state=4, source=5, target=6, cost=score(99.0), accepted=False),
        ),
        effects=tuple(EffectRow(state=s, target=t, share=0.5, cost=worth, kept=k) for s, t, k in effects),
    )  # fmt: skip


def test_each_branch_says_what_became_of_it() -> None:
    lines = pruning_lines(pruning(score(1.0, 0.0, 2.0)))
    rows = [line.split() for line in lines if line.startswith("S")]
    fates = {(row[0], row[1]): " ".join(row[-2:]) for row in rows}
    assert fates["S4", "S5"] == fates["S4", "S6"] == "decides still"
    assert fates["S7", "S9"] == "always this"
    assert fates["S7", "S8"] == "always S9"
    assert fates["S11", "S12"] == "no more"
    assert max(map(len, lines)) <= WIDTH


def test_a_price_that_may_exceed_what_was_allowed_is_said() -> None:
    fine, doubtful, bad, single = (
        " ".join(pruning_lines(pruning(cost)))
        for cost in (score(1.0, 0.0, 5.0), score(1.0, -2.0, 6.5), score(7.0, 6.0, 8.0), score(9.0))
    )
    assert "Careful" not in fine
    assert "up to 6.5 of return may be lost, more than the 5 allowed" in doubtful
    assert "up to 7 of return was lost, more than the 5 allowed" in bad
    assert "up to 9 of return was lost" in single


def test_a_symbol_that_is_read_as_another_is_at_no_state() -> None:
    found = msgspec.structs.replace(
        pruning(score(0.0)), mode="symbol", trials=(TrialRow(source=1, target=2, cost=score(0.0), accepted=True),)
    )
    assert "decides no more" in " ".join(pruning_lines(found))
