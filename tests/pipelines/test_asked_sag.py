"""`moorelens saliency --method sag`: the parts of an observation that alone keep a decision, against all of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.fsm.extract import machine_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.pipelines.asked_sag import BranchGraph, BranchGraphs
from moorelens.pipelines.explain import run_explain
from moorelens.pipelines.machines import decode_traces
from moorelens.pipelines.saliency import main_branches, ranked_points
from moorelens.policies.load import open_policy
from moorelens.saliency.differential.analysis import Scene, compared_pairs, memory_before
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.differential.sufficient import shown_image, sufficient_parts
from moorelens.saliency.policy_scores import policy_step
from tests.cli.support import refused, run
from tests.pipelines import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on CartPole with random quantisers."""
    base = tmp_path_factory.mktemp("sag")
    small.published(base / "p.p")
    run_explain(small.explaining(base / "p.p", base / "run"))
    return base / "run"


def by_definition(folder: Path, branch: BranchGraph) -> dict[tuple[int, ...], tuple[float, bool]]:
    """For every set of features: the action's probability, and whether it is the likeliest, from the recorded steps."""
    played, _ = decode_traces((folder / "traces.npz").read_bytes())
    observations = played.frames[played.frame_index]
    policy = open_policy(f"mmn:{folder.parent / 'p.p'}", env="CartPole-v1").policy
    hidden = memory_before(policy, played)[branch.step : branch.step + 1]
    own, other = observations[branch.step], observations[branch.compared_with]
    action = int(played.actions[branch.step])
    found = {}
    for size in range(5):
        for patches in itertools.combinations(range(4), size):
            mixed = np.where(np.isin(np.arange(4), patches), own, other).astype(np.float32)
            logits = policy_step(policy, torch.from_numpy(mixed)[None], hidden)[0][0].detach()
            found[patches] = float(logits.softmax(0)[action]), int(logits.argmax()) == action
    return found


def test_both_branches_have_the_sets_that_trying_all_finds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = run(capsys, "saliency", str(folder), "--method", "sag", "--json", "--quiet")
    assert shell.code == 0, shell.err
    document = json.loads(shell.out)
    files = [Path(name) for name in document["files"]]
    assert [path.suffix for path in files] == [".json", ".svg", ".svg", ".html", ".html"]
    assert all(path.is_file() for path in files)
    graphs = msgspec.json.decode(files[0].read_bytes(), type=BranchGraphs)
    assert document["branch"] == json.loads(files[0].read_bytes())
    assert [branch.target for branch in graphs.branches] == list(graphs.targets)
    traces = decode_traces((folder / "traces.npz").read_bytes())[1]
    for branch in graphs.branches:
        assert traces.states[branch.step] == branch.target != traces.states[branch.compared_with]
        values = by_definition(folder, branch)
        whole = tuple(range(4))
        needs = values[whole][1]
        enough = {p for p, (value, top) in values.items() if value >= 0.9 * values[whole][0] and (top or not needs)}
        minimal = {p for p in enough if not any(set(q) < set(p) for q in enough)}
        sag = branch.graph
        assert sag.full == pytest.approx(values[whole][0], abs=1e-5)
        assert sag.vacuous == (() in enough)
        assert {one.patches for one in sag.found} == (set() if sag.vacuous else minimal)
        for node in sag.nodes:
            assert node.value == pytest.approx(values[node.patches][0], abs=1e-5)
        assert sag.grid is not None and sag.grid.names[0] == "cart position"
    assert run(capsys, "verify", str(folder), "--stored", "--quiet").code == 0, "the run still holds"


def test_the_terminal_names_the_features(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = run(capsys, "saliency", str(folder), "--method", "sag", "--quiet")
    assert shell.code == 0
    assert shell.out.count("the policy takes") == 2 and ".svg" in shell.out
    drawing = next(line for line in shell.out.splitlines() if line.endswith(".svg"))
    assert ElementTree.fromstring(Path(drawing).read_bytes()).tag.endswith("svg")


@pytest.mark.parametrize("score", ["value", "memory:0"])
def test_a_score_of_which_no_share_can_be_kept_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], score: str
) -> None:
    shell = run(capsys, "saliency", str(folder), "--method", "sag", "--score", score, "--quiet")
    assert "probability" in refused(shell)


def test_images_are_cut_into_patches(tmp_path: Path) -> None:
    """A random policy on Pong, 60 steps: 10 x 10 patches, and pictures that show the set and the other branch."""
    policy = small.network(
        env_id="ALE/Pong-v5", shape=(1, 80, 80), dtype="uint8", actions=("NOOP", "RIGHTFIRE", "LEFTFIRE"), body="conv"
    )
    request = EnvironmentRequest(id="ALE/Pong-v5")
    job = small.quantised(small.job_on(tmp_path, policy, request))
    network = MooreMachineNetwork(policy, observation=job.published["observation"], state=job.published["state"])
    player = NetworkPlayer(network)
    played = play(request, [0], player, max_steps=60)
    machine, traces = machine_of(played, player=player)
    observations = played.frames[played.frame_index]
    scene = Scene(network=network, machine=machine, traces=traces, observations=observations)
    scene = dataclasses.replace(scene, hidden=memory_before(policy, played))
    point = ranked_points(scene)[0]
    pairs = compared_pairs(scene, state=point.state, targets=main_branches(point), config=DifferentialConfig(pairs=2))
    for one in sufficient_parts(scene, pairs):
        assert one.sag.count == 100 and one.sag.grid is not None and one.sag.grid.shape == (10, 10)
        shown = (shown_image(one.v, (0, 11))[0] * 255).round().to(torch.uint8).numpy()
        expected = observations[one.counterpart][0].copy()
        for top, left in ((0, 0), (8, 8)):
            expected[top : top + 8, left : left + 8] = observations[one.row][0, top : top + 8, left : left + 8]
        np.testing.assert_array_equal(shown, expected)
