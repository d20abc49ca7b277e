"""The saliency of a run: what `explain` writes, what the summary says of it, and what `moorelens saliency` adds."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from PIL import Image

from moorelens.cli.saliency import _lines
from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.episodes import open_episodes
from moorelens.envs.playing import play
from moorelens.envs.truth import objects_of, truth_mask
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced
from moorelens.fsm.automata.reduced import members_of
from moorelens.fsm.extract import machine_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.pipelines.explain import run_explain
from moorelens.pipelines.machines import decode_traces
from moorelens.pipelines.saliency import explained, main_branches, ranked_points
from moorelens.pipelines.saliency_pictures import _proof
from moorelens.pipelines.saliency_report import read_records, saliency_part, with_saliency
from moorelens.pipelines.summarise import Summary
from moorelens.reports.data import decode_report_data
from moorelens.reports.summary import RunSummary, decode_summary
from moorelens.runs.arrays import decode_arrays
from moorelens.saliency.differential.analysis import Scene, branch_saliency, memory_before
from moorelens.saliency.differential.attributed import attributed_branches
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.registry import make_explainer
from moorelens.stats import wilson
from tests.cli.support import refused, run
from tests.pipelines import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on CartPole with random quantisers."""
    base = tmp_path_factory.mktemp("saliency")
    small.published(base / "p.p")
    run_explain(small.explaining(base / "p.p", base / "run"))
    return base / "run"


class TestExplain:
    def test_every_explained_point_has_a_record_arrays_and_a_picture(self, folder: Path) -> None:
        records = read_records((folder / "saliency/saliency.json").read_bytes())
        assert records.branches and records.decision_points >= len(records.branches)
        names = {f"{row.key}{ending}" for row in records.branches for ending in (".npz", ".svg")}
        assert {path.name for path in (folder / "saliency").iterdir()} == {"saliency.json", *names}
        for row in records.branches:
            arrays = decode_arrays((folder / f"saliency/{row.key}.npz").read_bytes())
            assert arrays["mean"].shape == (4,) and len(arrays["skipped"]) == row.pairs
            assert json.loads(arrays["settings"].tobytes())["seed"] == 0
            assert ElementTree.fromstring((folder / f"saliency/{row.key}.svg").read_bytes()).tag.endswith("svg")

    def test_compared_steps_are_steps_of_the_run_on_those_branches(self, folder: Path) -> None:
        machine = decode_machine((folder / "machine.json").read_bytes())
        _, traces = decode_traces((folder / "traces.npz").read_bytes())
        before = np.concatenate([[machine.start], traces.states[:-1]])
        before[traces.offsets[:-1]] = machine.start
        for row in read_records((folder / "saliency/saliency.json").read_bytes()).branches:
            steps = decode_arrays((folder / f"saliency/{row.key}.npz").read_bytes())["rows"]
            assert (before[steps] == row.state).all() and set(traces.states[steps]) == set(row.targets)

    def test_the_summary_is_the_sum_of_the_records(self, folder: Path) -> None:
        records = read_records((folder / "saliency/saliency.json").read_bytes())
        found = decode_summary((folder / "summary.json").read_bytes()).saliency
        compared = sum(row.pairs - row.skipped for row in records.branches)
        assert (found.decision_points, found.pairs) == (len(records.branches), compared)
        salient = sum(row.flips_salient for row in records.branches)
        other = sum(row.flips_other or 0 for row in records.branches)
        assert found.flip_salient == salient / compared and found.flip_other == other / compared
        data = decode_report_data((folder / "report-data.json").read_bytes())
        interval = data.intervals["saliency.flip_salient"]
        assert (interval.low, interval.high) == (wilson(salient, compared).low, wilson(salient, compared).high)
        assert data.saliency is not None and len(data.saliency.rows) <= len(records.branches)

    def test_a_policy_that_sees_nothing_has_nothing_explained(self, tmp_path: Path) -> None:
        small.published(tmp_path / "p.p", blind=True)
        result = run_explain(small.explaining(tmp_path / "p.p", tmp_path / "run"))
        assert result.summary is not None
        assert result.summary.saliency.pairs is None and result.summary.saliency.flip_salient is None
        assert [path.name for path in (tmp_path / "run/saliency").iterdir()] == ["saliency.json"]

    def test_a_single_feature_has_no_control(self, folder: Path) -> None:
        """Neither 0 nor the share of the salient part: null in the summary, no interval, and said in words."""
        read = (folder / "saliency/saliency.json").read_bytes()
        records = read_records(read)
        alone = tuple(
            msgspec.structs.replace(
                row, flips_other=None, left_other=None, parts=1, top=(0,), mean=(1.0,), spread=(0.0,)
            )
            for row in records.branches
        )
        single = msgspec.structs.replace(records, branches=alone)
        salient, other, pairs = single.shares()
        assert (salient, pairs) == records.shares()[::2] and other is None
        bare = Summary(summary=RunSummary(policy="p", env="e"), intervals={}, seed_returns=())
        found = with_saliency(bare, msgspec.json.encode(single))
        assert found.summary.saliency.flip_other is None and set(found.intervals) == {"saliency.flip_salient"}
        part = saliency_part(msgspec.json.encode(single), (), {})
        assert "no other feature to compare with" in part.note and "not salient" not in part.note
        assert "only feature" in _proof(alone[0])[1] and "None" not in "".join(_proof(alone[0]))
        assert "no other feature to compare with" in _lines(alone[0])[-1]


class TestTheVerb:
    @pytest.mark.parametrize("method", ["differential", "integrated_gradients", "perturbation"])
    def test_adds_one_to_the_run(self, folder: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
        shell = run(capsys, "saliency", str(folder), "--method", method, "--quiet", "--json")
        assert shell.code == 0, shell.err
        document = json.loads(shell.out)
        assert document["method"] == method
        assert all(Path(file).exists() for file in document["files"])
        assert run(capsys, "verify", str(folder), "--stored", "--quiet").code == 0, "the run still holds"

    @pytest.mark.parametrize(
        ("method", "score"),
        [("igos", "action"), ("igos+", "value"), ("igos++", "memory:1"), ("integrated_gradients", "memory:0")],
    )
    def test_explains_an_action_a_value_or_a_digit_of_the_memory(
        self, folder: Path, capsys: pytest.CaptureFixture[str], method: str, score: str
    ) -> None:
        shell = run(
            capsys, "saliency", str(folder), "--method", method, "--score", score, "--pairs", "3", "--json", "-q"
        )
        assert shell.code == 0, shell.err
        document = json.loads(shell.out)
        assert (document["method"], document["score"]) == (method, score)
        assert len(document["branch"]["mean"]) == 4 and document["branch"]["pairs"] == 6
        name = Path(document["files"][0]).name
        assert name.endswith(f"-{method}{'' if score == 'action' else '-' + score.replace(':', '')}.json")

    def test_knows_integrated_gradients_as_ig(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        files = {}
        for method in ("ig", "integrated_gradients"):
            document = json.loads(run(capsys, "saliency", str(folder), "--method", method, "--json", "-q").out)
            assert document["method"] == "integrated_gradients"
            files[method] = document["files"]
        assert files["ig"] == files["integrated_gradients"]
        assert "(or ig)" in " ".join(run(capsys, "saliency", "--help").out.split())

    def test_asks_for_the_very_branches(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        first = read_records((folder / "saliency/saliency.json").read_bytes()).branches[0]
        names = ",".join(f"S{target}" for target in reversed(first.targets))
        shell = run(capsys, "saliency", str(folder), "--state", f"S{first.state}", "--branches", names, "--json", "-q")
        found = json.loads(shell.out)["branch"]
        assert (found["state"], found["targets"]) == (first.state, list(reversed(first.targets)))

    def test_knows_the_states_of_the_reduced_machine(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A macro-state decides in its last member."""
        first = read_records((folder / "saliency/saliency.json").read_bytes()).branches[0]
        reduced = decode_reduced((folder / "reduced.json").read_bytes())
        macro = next(m for m in range(reduced.n_macros) if members_of(reduced, m)[-1] == first.state)
        shell = run(capsys, "saliency", str(folder), "--state", f"M{macro}", "--json", "-q")
        assert json.loads(shell.out)["branch"]["state"] == first.state

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--state", "S999"], "S999 does not"),
            (["--state", "x"], "'x' is none"),
            (["--state", "M999"], "M999 is none"),
            (["--branches", "S1"], "two different states"),
            (["--branches", "S998,S999"], "S998 is none of them"),
            (["--method", "magic"], "'magic' is not"),
            (["--pairs", "0"], "pairs"),
            (["--method", "igos", "--score", "memory:3"], "digits 0 to 2"),
            (["--method", "igos", "--score", "memory:-1"], "memory:0"),
            (["--score", "mood"], "'mood' is none"),
            (["--area", "0.9"], "area"),
        ],
    )
    def test_refuses_what_there_is_not(
        self, folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
    ) -> None:
        assert says in refused(run(capsys, "saliency", str(folder), *options, "--quiet"))

    def test_refuses_a_folder_that_is_no_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        refused(run(capsys, "saliency", str(tmp_path), "--quiet"))

    @pytest.mark.parametrize("name", ["machine.json", "traces.npz", "quantiser.safetensors", "reduced.json"])
    def test_refuses_a_file_of_another_run(
        self, folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        mixed = tmp_path / "mixed"
        shutil.copytree(folder, mixed)
        (mixed / name).write_bytes((folder / name).read_bytes() + b" ")
        assert f"{name} is not the one that this run wrote" in refused(run(capsys, "saliency", str(mixed), "--quiet"))


def test_images_are_laid_over_the_screen(tmp_path: Path) -> None:
    """A random policy on Pong, 60 steps: a contact sheet, and how much lies on ball and paddles."""
    policy = small.network(
        env_id="ALE/Pong-v5", shape=(1, 80, 80), dtype="uint8", actions=("NOOP", "RIGHTFIRE", "LEFTFIRE"), body="conv"
    )
    request = EnvironmentRequest(id="ALE/Pong-v5")
    job = small.quantised(small.job_on(tmp_path, policy, request))
    network = MooreMachineNetwork(policy, observation=job.published["observation"], state=job.published["state"])
    player = NetworkPlayer(network)
    played = play(request, [0], player, max_steps=60)
    machine, traces = machine_of(played, player=player)
    scene = Scene(network=network, machine=machine, traces=traces, observations=played.frames[played.frame_index])
    point = ranked_points(scene)[0]
    found = branch_saliency(
        scene, state=point.state, targets=main_branches(point), config=DifferentialConfig(pairs=2, steps=4)
    )
    record, files = explained(job, scene, played, found, games=0)
    picture = Image.open(io.BytesIO(files[f"saliency/{record.key}.png"]))
    assert picture.width > 2 * 240 and record.mean is None
    assert decode_arrays(files[f"saliency/{record.key}.npz"])["mean"].shape == (1, 80, 80)
    assert record.on_objects is not None and record.object_area is not None
    assert 0 <= record.on_objects <= 1 and 0 < record.object_area < 0.05
    remembered = dataclasses.replace(scene, hidden=memory_before(policy, played))
    explainer = make_explainer("igos++", iterations=2, steps=3)
    for score in ("action", "memory:1"):
        masked = attributed_branches(remembered, found.pairs, explainer, score=score, config=found.config)
        assert masked.maps.shape == (4, 1, 80, 80) and masked.maps.min() >= 0 and masked.maps.max() <= 1


def test_the_memory_of_pong_says_where_its_objects_are() -> None:
    """Against the colours on the screen; bytes run up to a pixel ahead of it, and objects hide behind the walls."""
    batch: Any = open_episodes(EnvironmentRequest(id="ALE/Pong-v5"), [0])
    batch.reset()
    only, generator = np.zeros(1, dtype=np.intp), np.random.default_rng(0)
    colours = {"player": (92, 186, 92), "opponent": (213, 130, 74), "ball": (236, 236, 236)}
    off: dict[str, list[bool]] = {name: [] for name in colours}
    for _ in range(150):
        batch.step(only, generator.integers(0, 3, 1).astype(np.intp))
        screen, ram = batch.screens(only)[0], batch.rams(only)[0]
        found = objects_of("ALE/Pong-v5", ram)
        assert found is not None
        for name, colour in colours.items():
            seen = np.argwhere((screen[34:194] == colour).all(axis=2)) + np.array([34, 0])
            if name in found and len(seen):
                top, left, height, width = found[name]
                inside = (seen >= [top - 1, left]).all() and (seen <= [top + height, left + width - 1]).all()
                off[name].append(not inside)
        mask = truth_mask("ALE/Pong-v5", ram)
        assert mask is not None and mask.shape == (80, 80) and mask.mean() < 0.03
    batch.close()
    for name, wrong in off.items():
        assert len(wrong) > 50 and np.mean(wrong) < 0.02, name


def test_other_games_have_no_known_truth() -> None:
    assert truth_mask("ALE/Seaquest-v5", np.zeros(128, dtype=np.uint8)) is None
