"""Pruning a run: the vital decision stays, the cosmetic one goes, and summary and report are brought up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import jsonschema
import numpy as np
import pytest

from moorelens.cli.main import main
from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.extract import machine_of
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.prune import prune
from moorelens.fsm.pruning_moves import branches
from moorelens.fsm.reading import FeatureReader
from moorelens.pipelines.explain import run_explain
from moorelens.pipelines.prune import run_prune
from moorelens.pipelines.pruning_games import PruningGames
from moorelens.pipelines.run_config import PruneConfig, VerifyConfig
from moorelens.pipelines.verify import run_verify
from moorelens.reports.data import decode_report_data
from moorelens.reports.pruning import Pruning, decode_pruning
from moorelens.reports.schema import load_schema
from moorelens.reports.summary import decode_summary
from moorelens.runs.recompute import NoCheckpoint
from tests.fsm.small_networks import table_network
from tests.pipelines import small

# 1 and 4 are hubs. The coin at 1 leads to 2 or 3, which wait alike and meet in 4; the coin at 4 asks for a or b.
SUCCESSORS = [[1, 1, 1], [1, 2, 3], [4, 4, 4], [4, 4, 4], [4, 5, 6], [1, 1, 1], [1, 1, 1]]
ACTIONS = [2, 2, 2, 2, 2, 0, 1]


class Quiz(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Shows 0, a coin that means nothing, 0, and a coin that must be answered; ten rounds, one point an answer."""

    observation_space = gymnasium.spaces.Box(0.0, 2.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._coins, self._t = self.np_random.integers(1, 3, 40), 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        asked = self._t % 4 == 3
        reward = float(asked and action == self._coins[self._t] - 1)
        self._t += 1
        return self._seen(), reward, self._t == 40, False, {}

    def _seen(self) -> Any:
        shown = self._coins[self._t] if self._t < 40 and self._t % 2 else 0
        return np.array([shown], dtype=np.float32)


def quiz() -> Quiz:
    return Quiz()


@pytest.mark.parametrize("mode", ["branch", "state"])
@pytest.mark.parametrize("helped", [False, True])
def test_exactly_the_vital_decision_survives(mode: Any, helped: bool) -> None:
    network = table_network(SUCCESSORS, ACTIONS)
    request = EnvironmentRequest(id="python:tests.pipelines.test_prune:quiz")
    player = NetworkPlayer(network)
    played = play(request, range(10), player)
    assert np.all(played.returns == 10)
    machine, _ = machine_of(played, player=player)
    deciding = {state: len(found) for state, found in branches(machine).items()}
    assert list(deciding.values()) == [2, 2]
    games = PruningGames(
        request, tuple(range(100, 120)), network, FeatureReader(network.policy), helped=helped, workers=1,
        checkpoint=NoCheckpoint(),
    )  # fmt: skip
    found = prune(machine, games, games=20, tolerance=0.1, mode=mode)
    left = branches(found.machine)
    assert len(left) == 1
    assert {int(found.machine.actions[target]) for target in next(iter(left.values()))} == {0, 1}
    assert found.cost.mean == 0.0 and np.all(found.outcome.returns == 10)
    assert found.machine.n_states == machine.n_states - 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prune")
    small.published(folder / "model.p")
    run_explain(small.explaining(folder / "model.p", folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def before(run: Path) -> dict[str, bytes]:
    return tree(run)


def tree(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def found(run: Path, before: dict[str, bytes]) -> Pruning:
    result = run_prune(PruneConfig(run=str(run), games=6))
    assert result is not None
    return result


def test_a_run_is_brought_up_to_date(run: Path, before: dict[str, bytes], found: Pruning) -> None:
    assert json.loads(before["summary.json"])["returns"]["pruned"] is None
    after = tree(run)
    assert decode_pruning(after["pruning.json"]) == found
    jsonschema.validate(json.loads(after["pruning.json"]), load_schema("pruning"))
    machine = decode_machine(after["pruned.json"])
    assert (machine.n_states, len(branches(machine))) == (found.states[1], found.decisions[1])
    summary = decode_summary(after["summary.json"])
    assert summary.returns.pruned == found.held_out.pruned
    assert summary.loss.pruned == found.held_out.loss
    assert summary.decisions.after_pruning == found.decisions[1]
    report = decode_report_data(after["report-data.json"])
    assert report.summary == summary
    assert [entry.seeds for entry in report.seed_returns if entry.player == "pruned"] == [found.held_out.seeds]
    effects = {round(row.cost.mean, 9) for row in found.effects}
    shown = [branch.forced_loss for point in report.decisions for branch in point.branches]
    assert shown and {round(cost, 9) for cost in shown if cost is not None} <= effects
    for name in ("machine.json", "reduced.json", "traces.npz", "evaluation.npz", "quantiser.safetensors"):
        assert after[name] == before[name]


def test_what_is_said_is_what_was_judged(found: Pruning) -> None:
    assert found.decisions[1] <= found.decisions[0]
    assert found.cost.mean == pytest.approx(found.machine.mean - found.pruned.mean)
    assert (found.cost.mean if found.cost.high is None else found.cost.high) <= found.tolerance
    for trial in found.trials:
        bound = trial.cost.mean if trial.cost.high is None else trial.cost.high
        assert trial.accepted == (bound <= found.tolerance)
    assert not set(found.seeds) & set(found.held_out.seeds)
    assert len(found.survivors) == found.decisions[1]


def test_the_pruned_run_verifies_and_its_plan_goes_on(run: Path, found: Pruning) -> None:
    assert run_verify(VerifyConfig(run=str(run))).holds
    summary = (run / "summary.json").read_bytes()
    run_explain(small.explaining(run.parent / "model.p", run))
    assert (run / "summary.json").read_bytes() == summary
    assert decode_pruning((run / "pruning.json").read_bytes()) == found


def test_the_command(run: Path, found: Pruning, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", str(run), "--games", "6", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "6 pruning games" in told and "2 held-out games" in told
    assert max(map(len, told.splitlines()[:-3])) <= 80
    assert main(["prune", str(run), "--games", "6", "--quiet", "--json"]) == 0
    assert decode_pruning(capsys.readouterr().out.encode()) == found
    assert main(["prune", str(run), "--tolerance", "-1"]) == 2
    assert main(["prune", str(run), "--mode", "leaf"]) == 2
