"""Evaluating a run: the same games for all, files that join the run, and rivals that say whether memory counts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from moorelens.cli.main import main
from moorelens.errors import OptionError, RunFolderError
from moorelens.pipelines import evaluate as module
from moorelens.pipelines.evaluate import run_evaluate
from moorelens.pipelines.explain import run_explain
from moorelens.pipelines.run_config import FALLBACKS, EvaluateConfig, VerifyConfig
from moorelens.pipelines.verify import run_verify
from moorelens.reports.evaluation import Condition, Evaluation, decode_evaluation
from moorelens.reports.paper_tables import latex
from moorelens.reports.schema import load_schema
from moorelens.runs.checkpoints import Checkpoint
from tests.pipelines import small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    small.published(folder / "model.p")
    run_explain(small.explaining(folder / "model.p", folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def before(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def found(run: Path, before: dict[str, bytes]) -> Evaluation:
    result = run_evaluate(EvaluateConfig(run=str(run), held_out=4))
    assert result is not None
    return result


def players(condition: Condition) -> dict[str, Any]:
    return {player.player: player for player in condition.players}


def test_everyone_plays_the_same_held_out_games(found: Evaluation) -> None:
    assert found.seeds == (3_000_000, 3_000_001, 3_000_002, 3_000_003)
    held_out = players(found.conditions[0])
    machines = {f"machine:{name}" for name in FALLBACKS if name != "nearest"}
    assert held_out.keys() == {
        "policy", "mmn", "machine", *machines, "reduced", "folded", "table", "tree", "state_tree", "replay"
    }  # fmt: skip
    for player in held_out.values():
        assert tuple(row.seed for row in player.episodes) == found.seeds
        assert player.score.mean == pytest.approx(np.mean([row.total for row in player.episodes]))
        assert player.score.n == 4
    assert [condition.key for condition in found.conditions] == ["held_out", "starts", "sticky", "noise"]


def test_losses_are_paired_with_the_policy_seed_by_seed(found: Evaluation) -> None:
    held_out = players(found.conditions[0])
    for player in held_out.values():
        if player.loss is not None:
            pairs = zip(held_out["policy"].episodes, player.episodes, strict=True)
            assert player.loss.mean == pytest.approx(np.mean([own.total - other.total for own, other in pairs]))


def test_the_network_as_fallback_plays_as_the_network(found: Evaluation) -> None:
    held_out = players(found.conditions[0])
    pairs = zip(held_out["mmn"].episodes, held_out["machine:network"].episodes, strict=True)
    assert all((a.total, a.steps, a.agrees, a.diverged) == (b.total, b.steps, b.agrees, b.diverged) for a, b in pairs)


def test_a_run_without_an_answer_stops_where_nothing_was_recorded(found: Evaluation) -> None:
    held_out = players(found.conditions[0])
    for plain, strict in zip(held_out["machine"].episodes, held_out["machine:error"].episodes, strict=True):
        assert (strict.stopped is None) == (plain.unseen + plain.undefined == 0)
        assert strict.total == (plain.total if strict.stopped is None else strict.stopped)  # one point a step


def test_first_divergence_and_agreement_fit_each_other(found: Evaluation) -> None:
    for player in players(found.conditions[0]).values():
        for row in player.episodes:
            if row.agrees is not None:
                assert (row.diverged is None) == (row.agrees == 1.0)


def test_the_files_join_the_run_and_touch_nothing(run: Path, before: dict[str, bytes], found: Evaluation) -> None:
    after = {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    new = after.keys() - before.keys()
    assert new == {"evaluation.json", "tables/evaluation.csv", "tables/evaluation.tex"}
    assert {name for name in before if after[name] != before[name]} == {"manifest.json", "run-log.json"}
    assert decode_evaluation(after["evaluation.json"]) == found
    jsonschema.validate(json.loads(after["evaluation.json"]), load_schema("evaluation"))
    rows = list(csv.DictReader(io.StringIO(after["tables/evaluation.csv"].decode())))
    assert len(rows) == sum(len(player.episodes) for condition in found.conditions for player in condition.players)
    tex = after["tables/evaluation.tex"].decode()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == len(found.conditions) + 1
    assert run_verify(VerifyConfig(run=str(run))).holds


def test_the_same_call_plays_nothing_twice_and_the_run_keeps_its_evaluation(run: Path, found: Evaluation) -> None:
    log = json.loads((run / "run-log.json").read_bytes())
    assert run_evaluate(EvaluateConfig(run=str(run), held_out=4)) == found
    ended = [event for session in json.loads((run / "run-log.json").read_bytes())["sessions"][len(log["sessions"]) :]
             for event in session["events"] if event["event"] == "stage ended"]  # fmt: skip
    assert not ended
    run_explain(small.explaining(run.parent / "model.p", run))
    assert decode_evaluation((run / "evaluation.json").read_bytes()) == found


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"held_out": 0}, "--held-out must be a whole number from 1 on"),
        ({"sticky": 1.5}, "--sticky must be a probability"),
        ({"starts": -1}, "--starts must be"),
        ({"noise": -1.0}, "--noise must be"),
        ({"noops": 3}, "--noops belongs to Atari games"),
    ],
)
def test_what_cannot_be_played_is_refused(run: Path, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(OptionError, match=rule):
        run_evaluate(EvaluateConfig(run=str(run), **options))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="A run is a folder"):
        run_evaluate(EvaluateConfig(run=str(tmp_path)))


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(run), "--held-out", "2", "--fallback", "stay", "--disturb", "none", "--quiet"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "Machine (stay)" in told and "Tree on the observation" in told
    assert max(map(len, told.splitlines()[:-3])) <= 80
    assert main([*words, "--json"]) == 0
    assert decode_evaluation(capsys.readouterr().out.encode()).seeds == (3_000_000, 3_000_001)
    assert main(["evaluate", str(run), "--fallback", "guess"]) == 2


def test_latex_shows_words_literally() -> None:
    assert latex("5 % of x_1 & {y}") == r"5 \% of x\_1 \& \{y\}"
    assert latex("\u22123\u202f000") == r"$-$3\,000"


def test_an_interrupted_evaluation_plays_no_block_twice(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []
    real = module.measured

    def until_the_fourth(unit: Any, *arguments: Any, **options: Any) -> Any:
        if len(played) == 3:
            raise KeyboardInterrupt
        played.append(unit.key)
        return real(unit, *arguments, **options)

    config = EvaluateConfig(run=str(run), held_out=3, disturb="none", rivals="none", fallback="none")
    monkeypatch.setattr(module, "measured", until_the_fourth)
    monkeypatch.setattr(Checkpoint, "due", lambda self, every_s=20.0: True)
    with pytest.raises(KeyboardInterrupt):
        run_evaluate(config)
    before = list(played)
    played.clear()
    monkeypatch.setattr(module, "measured", lambda unit, *a, **o: (played.append(unit.key), real(unit, *a, **o))[1])
    found = run_evaluate(config)
    assert found is not None and not set(before) & set(played)
    assert len(before) + len(played) == len(found.conditions[0].players)
