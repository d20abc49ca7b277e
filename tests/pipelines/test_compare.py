"""`compare`: the rows say what was played, state merging sees no state, and a folder goes on where it was stopped."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from moorelens.envs.playing import play
from moorelens.errors import OptionError
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.players import MachinePlayer
from moorelens.pipelines.compare import CompareResult, compare_job
from moorelens.pipelines.compare_config import (
    DEFAULT,
    NAMES,
    CompareConfig,
    names_of,
    quantise_config_of,
    symbol_source,
)
from moorelens.pipelines.compare_table import Row, as_markdown, decode_comparison, note
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.machines import network_of
from moorelens.policies.players import PolicyPlayer
from tests.runs.toy import tree

QUANTISE = QuantiseConfig(
    sizes=((3, 3),),
    rounds=2,
    episodes=4,
    practice_steps=200,
    restarts=0,
    patience=1,
    pretrain_updates=80,
    selection_episodes=3,
)
EVERYTHING = "qbn,fsq,kmeans,kmeans-raw,sign-raw,aalpy,aalpy-edsm"


def config(folder: Path, quantisers: str = EVERYTHING, **options: Any) -> CompareConfig:
    return CompareConfig(
        policy="zoo:cartpole",
        out=str(folder),
        env="CartPole-v1",
        env_kwargs={"max_episode_steps": 60},
        preset="quick",
        episodes=4,
        held_out=6,
        quantisers=quantisers,
        **options,
    )


def job_of(asked: CompareConfig) -> Job:
    return dataclasses.replace(open_job(asked), quantise=QUANTISE)


def compared(folder: Path, quantisers: str = EVERYTHING, **options: Any) -> CompareResult:
    asked = config(folder, quantisers, **options)
    return compare_job(job_of(asked), names_of(asked))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    return compared(tmp_path_factory.mktemp("compare"))


def rows(result: CompareResult) -> dict[str, Row]:
    assert result.comparison is not None
    return {row.name: row for row in result.comparison.rows}


def test_there_is_a_row_for_each_name_and_says_how_it_was_made(result: CompareResult) -> None:
    found = rows(result)
    assert list(found) == EVERYTHING.split(",")
    assert [name for name, row in found.items() if not row.tuned] == ["kmeans-raw", "sign-raw"]
    assert {name: row.symbols_of for name, row in found.items() if row.symbols_of} == {
        "aalpy": "qbn",
        "aalpy-edsm": "qbn",
    }
    assert found["qbn"].size == (3, 3) and found["kmeans-raw"].size in ((16, 32), (64, 128))
    assert all(name in result.seconds and result.seconds[name] >= 0 for name in found)


@pytest.mark.parametrize("name", ["qbn", "kmeans", "aalpy"])
def test_losses_are_those_of_the_machines_on_equal_seeds(result: CompareResult, name: str) -> None:
    job, row = job_of(config(result.folder)), rows(result)[name]
    machine = decode_machine((result.folder / name / "machine.json").read_bytes())
    quantiser = result.folder / (row.symbols_of or name) / "quantiser.safetensors"
    player = MachinePlayer(compile_machine(machine), network_of(job, quantiser.read_bytes()))
    seeds = job.seeds("held_out")
    policy = play(job.held_out, seeds, PolicyPlayer(job.loaded.policy)).returns
    played = play(job.held_out, seeds, player)
    assert row.returns.mean == pytest.approx(played.returns.mean())
    assert row.loss.mean == pytest.approx((policy - played.returns).mean())
    assert row.decided.mean == pytest.approx(played.extras["decided"].mean())
    assert (row.states, row.symbols) == (machine.n_states, machine.n_symbols)


def test_state_merging_reads_the_symbols_of_the_other_row_and_none_of_its_states(result: CompareResult) -> None:
    source = decode_machine((result.folder / "qbn/machine.json").read_bytes())
    learned = decode_machine((result.folder / "aalpy/machine.json").read_bytes())
    assert np.array_equal(learned.symbol_codes, source.symbol_codes)
    assert learned.counts.sum() == source.counts.sum()
    assert rows(result)["aalpy"].folded == learned.n_states <= source.n_states


def test_the_files_hold_the_same_table_and_no_timing(result: CompareResult) -> None:
    found = decode_comparison((result.folder / "compare.json").read_bytes())
    assert found == result.comparison
    lines = list(csv.DictReader(io.StringIO((result.folder / "compare.csv").read_text())))
    assert [line["name"] for line in lines] == [row.name for row in found.rows]
    assert [int(line["states"]) for line in lines] == [row.states for row in found.rows]
    assert [float(line["loss"]) for line in lines] == pytest.approx([row.loss.mean for row in found.rows], rel=1e-5)
    assert (result.folder / "compare.md").read_bytes() == as_markdown(found)
    assert as_markdown(found).decode().count("\n| ") == 1 + len(found.rows)
    assert b"seconds" not in (result.folder / "compare.json").read_bytes()


def test_what_did_not_keep_the_return_is_said(result: CompareResult) -> None:
    assert result.comparison is not None
    first = result.comparison.rows[0]
    lost, kept = (msgspec.structs.replace(first, name=name, kept=name == "k") for name in ("l", "k"))
    said = note(msgspec.structs.replace(result.comparison, rows=(lost, kept), copies=2))
    assert "No size of l kept the return" in said and "2 held-out games replay" in said


def test_a_comparison_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    names = "kmeans-raw,qbn,aalpy"
    whole = compared(tmp_path / "whole", names)
    late = compared(tmp_path / "late", names, max_minutes=1e-9)
    assert late.comparison is None and "table" in late.left_out
    assert compared(tmp_path / "late", names).comparison == whole.comparison
    assert tree(tmp_path / "late") == tree(tmp_path / "whole")
    fewer = compared(tmp_path / "late", "kmeans-raw,qbn")
    assert [row.name for row in rows(fewer).values()] == ["kmeans-raw", "qbn"]
    assert not (tmp_path / "late/aalpy").exists()


class TestConfig:
    def test_the_default_names_exist_and_state_merging_comes_last(self) -> None:
        assert set(DEFAULT.split(",")) <= set(NAMES)
        assert names_of(CompareConfig(policy="p", quantisers="aalpy,sign,qbn")) == ("sign", "qbn", "aalpy")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"quantisers": "qbn,vq"}, "'vq' is none"),
            ({"quantisers": ""}, "'' is none"),
            ({"quantisers": "qbn,qbn"}, "each one once"),
            ({"quantisers": "aalpy"}, "add qbn"),
            ({"repeats": 3}, "does not repeat"),
            ({"episodes": 0}, "--episodes"),
        ],
    )
    def test_what_cannot_be_compared_is_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(OptionError, match=said):
            CompareConfig(policy="p", **options)

    def test_raw_quantisers_are_not_tuned_and_kinds_have_their_own_sizes(self) -> None:
        base = QuantiseConfig(sizes=((2, 4), (8, 8)), rounds=9)
        found = {name: quantise_config_of(name, base, preset="quick") for name in NAMES}
        assert [found[name].rounds for name in ("qbn", "qbn-raw", "sign", "sign-raw")] == [9, 0, 9, 0]
        assert found["fsq"].sizes == base.sizes and found["kmeans"].sizes == found["kmeans-raw"].sizes != base.sizes
        assert [found[name].kind for name in ("fsq", "kmeans-raw")] == ["fsq", "kmeans"]

    def test_symbols_come_from_the_qbn_where_it_is_there(self) -> None:
        assert symbol_source(("sign", "qbn", "aalpy")) == "qbn"
        assert symbol_source(("sign", "aalpy")) == "sign"
