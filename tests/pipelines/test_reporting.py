"""Reports of runs at the edge: nothing to decide, one step, no value, pictures, numbers as the summary has them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from moorelens.envs.config import EnvironmentRequest
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.pipelines.explain import explain_stages, run_explain, run_job
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import decode_traces
from moorelens.reports.data import ReportData, decode_report_data
from moorelens.reports.summary import RunSummary
from tests.pipelines import small

HERE = small.__name__


def explained(job: Job) -> tuple[RunSummary, ReportData]:
    result = run_job(job, "explain", explain_stages(job), progress=None)
    assert result.summary is not None
    for name in ("report.html", "report.pdf", "reduced.svg"):
        assert (result.folder / name).stat().st_size > 0
    return result.summary, decode_report_data((result.folder / "report-data.json").read_bytes())


def test_a_policy_that_does_not_look_has_a_report_without_decision_points(tmp_path: Path) -> None:
    small.published(tmp_path / "p.p", blind=True)
    run_explain(small.explaining(tmp_path / "p.p", tmp_path / "run"))
    data = decode_report_data((tmp_path / "run/report-data.json").read_bytes())
    assert data.decisions == ()
    assert data.summary.decisions.structural == 0
    assert data.summary.sizes.machine is not None
    assert data.summary.sizes.machine.symbols == 1
    assert "decision" in (tmp_path / "run/report.html").read_text().lower()


@pytest.mark.parametrize("episodes", [1, 3])
def test_episodes_of_one_step(episodes: int, tmp_path: Path) -> None:
    request = EnvironmentRequest(id="CartPole-v1", kwargs={"max_episode_steps": 1})
    job = small.quantised(small.job_on(tmp_path, small.network(), request, episodes=episodes))
    summary, data = explained(job)
    assert summary.fidelity.replay == 1.0
    assert summary.returns.machine is not None
    assert summary.returns.machine.mean == 1.0
    assert [len(episode.actions) for episode in data.episodes] == [1] * episodes
    assert data.summary.decisions.structural == 0


def test_a_policy_without_a_critic_has_no_values(tmp_path: Path) -> None:
    job = small.quantised(small.job_on(tmp_path, small.network(critic=False), small.request()))
    _, data = explained(job)
    assert [episode.values for episode in data.episodes] == [None] * 3
    rows = (tmp_path / "run/trace.csv").read_text().splitlines()[1:]
    assert {row.split(",")[6] for row in rows} == {""}


@pytest.mark.parametrize("seed", range(3))
def test_an_lstm(seed: int, tmp_path: Path) -> None:
    job = small.quantised(small.job_on(tmp_path, small.network(cell="lstm"), small.request()), seed=seed)
    summary, data = explained(job)
    assert summary.fidelity.replay == 1.0
    assert (data.subject.cell, data.subject.memory_units) == ("LSTM", 10)


class TestPictures:
    @pytest.mark.parametrize(("channels", "floats"), [(1, False), (3, False), (1, True)])
    def test_each_branch_shows_a_frame_and_its_difference(self, channels: int, floats: bool, tmp_path: Path) -> None:
        env = f"python:{HERE}:pictures"
        request = EnvironmentRequest(id=env, kwargs={"channels": channels, "floats": floats})
        kind = "float32" if floats else "uint8"
        policy = small.network(env_id=env, shape=(channels, 16, 16), dtype=kind, body="conv")
        summary, data = explained(small.quantised(small.job_on(tmp_path, policy, request)))
        assert summary.memory.best_tree is not None
        assert len(data.decisions) >= 2
        examples = [branch.example for decision in data.decisions for branch in decision.branches]
        for example in examples:
            assert example is not None
            assert example.values == ()
            for key in (example.picture, example.difference):
                assert key is not None
                assert Image.open(io.BytesIO(data.pictures[key].png)).size == (16, 16)

    def test_the_frame_is_one_that_was_seen_there(self, tmp_path: Path) -> None:
        env = f"python:{HERE}:pictures"
        policy = small.network(env_id=env, shape=(1, 16, 16), dtype="uint8", body="conv")
        _, data = explained(small.quantised(small.job_on(tmp_path, policy, EnvironmentRequest(id=env))))
        played, _ = decode_traces((tmp_path / "run/traces.npz").read_bytes())
        for decision in data.decisions:
            for branch in decision.branches:
                assert branch.example is not None
                place = branch.example.place
                frame = played.frames[played.frame_index[played.offsets[place.episode] + place.step]]
                shown = np.asarray(Image.open(io.BytesIO(data.pictures[branch.example.picture or ""].png)))
                assert np.array_equal(shown, frame[0])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reporting")
    small.published(place / "p.p")
    run_explain(small.explaining(place / "p.p", place / "run"))
    return place / "run"


@pytest.fixture(scope="module")
def data(finished: Path) -> ReportData:
    return decode_report_data((finished / "report-data.json").read_bytes())


def test_the_report_holds_the_summary(finished: Path, data: ReportData) -> None:
    assert data.summary == msgspec.json.decode((finished / "summary.json").read_bytes(), type=RunSummary)
    assert data.subject.policy == data.summary.policy == "mmn:p"


def test_examples_stand_at_steps_that_took_their_branch(finished: Path, data: ReportData) -> None:
    machine = decode_machine((finished / "machine.json").read_bytes())
    played, traces = decode_traces((finished / "traces.npz").read_bytes())
    nodes = {member: view.node for view in data.views[0].states for member in view.members}
    assert len(data.decisions) >= 2
    for decision in data.decisions:
        for branch in decision.branches:
            assert branch.example is not None
            place = branch.example.place
            step = int(traces.offsets[place.episode]) + place.step
            before = machine.start if place.step == 0 else int(traces.states[step - 1])
            assert nodes[before] == decision.node
            assert nodes[int(traces.states[step])] == branch.target
            assert branch.example.symbol == f"o{traces.symbols[step]}"
            seen: Any = played.frames[played.frame_index[step]]
            assert [value.value for value in branch.example.values] == [float(number) for number in seen]


def test_decision_points_are_those_of_the_machine_the_weightiest_first(finished: Path, data: ReportData) -> None:
    points = [p for p in decision_points(decode_machine((finished / "machine.json").read_bytes())) if not p.silent]
    assert [decision.weight_bits for decision in data.decisions] == sorted((p.bits for p in points), reverse=True)
    assert data.summary.decisions.structural == len(points)


def test_episodes_walk_through_the_drawn_states(finished: Path, data: ReportData) -> None:
    played, traces = decode_traces((finished / "traces.npz").read_bytes())
    states = data.views[0].states
    for number, episode in enumerate(data.episodes):
        rows = slice(int(traces.offsets[number]), int(traces.offsets[number + 1]))
        for node, state in zip(episode.nodes, traces.states[rows].tolist(), strict=True):
            assert state in states[node].members
        assert episode.total == played.rewards[rows].sum()
        assert episode.ended == ("terminated" if played.terminated[number] else "truncated")


def test_sizes_shrink_from_step_to_step(data: ReportData) -> None:
    steps = [step for step in data.reductions if step.key != "folded"]
    states = [step.states or 0 for step in steps]
    assert states == sorted(states, reverse=True)
    assert data.summary.sizes.machine is not None
    assert data.summary.sizes.reduced is not None
    assert (states[0], states[-1]) == (data.summary.sizes.machine.states, data.summary.sizes.reduced.states)
