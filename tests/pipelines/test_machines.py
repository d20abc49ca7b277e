"""The stages from a policy to its machines: what they write says the same thing in every file."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from moorelens.errors import PolicyError
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.extract import run_extract
from moorelens.pipelines.machines import decode_traces, encode_traces, trace_table
from tests.pipelines import small
from tests.runs.toy import tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("machines")
    small.published(place / "p.p")
    run_extract(small.explaining(place / "p.p", place / "run"))
    return place / "run"


@pytest.fixture(scope="module")
def machine(folder: Path) -> MooreMachine:
    return decode_machine((folder / "machine.json").read_bytes())


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "trace.csv").read_text())))


def test_the_example_has_something_to_decide(machine: MooreMachine) -> None:
    assert len(decision_points(machine)) >= 2


def test_the_trace_is_a_run_of_the_machine(machine: MooreMachine, rows: list[dict[str, str]]) -> None:
    edges = zip(machine.sources, machine.symbols, machine.targets, machine.counts, strict=True)
    counts: dict[tuple[int, int, int], int] = defaultdict(int)
    before = machine.start
    for number, row in enumerate(rows):
        begins = number == 0 or row["episode"] != rows[number - 1]["episode"]
        assert int(row["t"]) == (0 if begins else int(rows[number - 1]["t"]) + 1)
        before = machine.start if begins else before
        counts[before, int(row["symbol"]), int(row["state"])] += 1
        before = int(row["state"])
        assert row["action"] == machine.action_names[machine.actions[before]]
    assert counts == {(s, o, t): n for s, o, t, n in edges}


def test_a_step_is_marked_where_it_begins_in_a_decision_point(
    machine: MooreMachine, rows: list[dict[str, str]]
) -> None:
    deciding = {point.state for point in decision_points(machine)}
    before = machine.start
    for row in rows:
        before = machine.start if row["t"] == "0" else before
        assert row["decision"] == str(int(before in deciding))
        before = int(row["state"])


def test_rewards_values_and_lengths_are_those_of_the_episodes(folder: Path, rows: list[dict[str, str]]) -> None:
    played, traces = decode_traces((folder / "traces.npz").read_bytes())
    assert [int(row["episode"]) for row in rows] == np.repeat(np.arange(3), played.lengths).tolist()
    assert [float(row["reward"]) for row in rows] == played.rewards.tolist()
    assert [float(row["value"]) for row in rows] == pytest.approx(played.extras["value"].tolist(), rel=1e-5)
    assert encode_traces(played, traces) == (folder / "traces.npz").read_bytes()


def test_an_unknown_value_is_empty(folder: Path, machine: MooreMachine) -> None:
    played, traces = decode_traces((folder / "traces.npz").read_bytes())
    values = played.extras["value"]
    values.setflags(write=True)
    values[:] = np.nan
    table = csv.DictReader(io.StringIO(trace_table(played, traces, machine).decode()))
    assert {row["value"] for row in table} == {""}


def test_published_quantisers_are_used_as_they_are(folder: Path) -> None:
    assert (folder / "quantise.json").read_bytes() == b"null\n"


@pytest.mark.parametrize("part", ["obx_net.encoder.2.bias", "bhx_net.decoder.0.weight"])
def test_published_quantisers_that_do_not_fit_are_refused_before_anything_is_written(part: str, tmp_path: Path) -> None:
    tensors = small.published(tmp_path / "p.p")
    torch.save({name: tensor for name, tensor in tensors.items() if name != part}, tmp_path / "p.p")
    with pytest.raises(PolicyError, match="mirrored"):
        run_extract(small.explaining(tmp_path / "p.p", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["obx_net", "bhx_net"])
def test_published_quantisers_of_another_network_are_refused(kind: str, tmp_path: Path) -> None:
    tensors = small.published(tmp_path / "p.p")
    other = "bhx_net" if kind == "obx_net" else "obx_net"
    swapped = {name.replace(other, kind): t for name, t in tensors.items() if name.startswith(other)}
    torch.save(tensors | swapped, tmp_path / "p.p")
    with pytest.raises(PolicyError, match="numbers"):
        run_extract(small.explaining(tmp_path / "p.p", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_file_with_other_quantisers_is_extracted_anew(tmp_path: Path) -> None:
    """The policy is the same, so the folder is its run's; its quantisers are not."""
    first = small.published(tmp_path / "p.p", seed=4)
    run_extract(small.explaining(tmp_path / "p.p", tmp_path / "run"))
    second = small.published(tmp_path / "p.p", seed=5)
    torch.save({n: (first if n.startswith("gru_net") else second)[n] for n in first}, tmp_path / "p.p")
    run_extract(small.explaining(tmp_path / "p.p", tmp_path / "run"))
    run_extract(small.explaining(tmp_path / "p.p", tmp_path / "fresh"))
    assert tree(tmp_path / "run") == tree(tmp_path / "fresh")


def test_names_of_actions_are_those_that_were_given(tmp_path: Path) -> None:
    small.published(tmp_path / "p.p")
    (tmp_path / "names.json").write_text('{"actions": ["L", "R"]}')
    config: ExplainConfig = small.explaining(
        tmp_path / "p.p", tmp_path / "run", names=str(tmp_path / "names.json"), episodes=1
    )
    run_extract(config)
    assert decode_machine((tmp_path / "run/machine.json").read_bytes()).action_names == ("L", "R")
    assert {row.split(",")[4] for row in (tmp_path / "run/trace.csv").read_text().splitlines()[1:]} <= {"L", "R"}
