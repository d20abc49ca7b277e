"""What a job is made of: seeds that never meet, protocols, names, and a record without places."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import OptionError
from moorelens.fsm.seeds import Role, episode_seeds
from moorelens.pipelines import job as jobs
from moorelens.pipelines.config import DemoConfig, ExplainConfig, file_name
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.presets import quantise_config
from moorelens.pipelines.summarise import reference_of
from moorelens.policies.native import write_native
from moorelens.policies.zoo.files import zoo_file
from moorelens.runs.manifest import Manifest, encode_manifest
from tests.pipelines import small

ROLES: tuple[Role, ...] = ("fit", "practice", "selection", "held_out")


@given(st.integers(0, 10_000), st.lists(st.integers(1, 3000), min_size=4, max_size=4))
def test_seeds_of_different_roles_never_meet(seed: int, counts: list[int]) -> None:
    seeds = [episode_seeds(role, count, seed=seed) for role, count in zip(ROLES, counts, strict=True)]
    assert [len(found) for found in seeds] == counts
    assert len(set().union(*seeds)) == sum(counts)
    # Emulators and NumPy take what fits 31 bits.
    assert 0 <= min(map(min, seeds)) <= max(map(max, seeds)) < 2**31


@given(st.integers(0, 199), st.integers(0, 199))
def test_runs_with_different_seeds_play_different_games(first: int, second: int) -> None:
    games = [set().union(*(episode_seeds(role, 20, seed=seed) for role in ROLES)) for seed in (first, second)]
    assert bool(games[0] & games[1]) == (first == second)


@pytest.fixture
def plain(tmp_path: Path) -> Job:
    small.published(tmp_path / "p.p")
    return open_job(small.explaining(tmp_path / "p.p", tmp_path / "run"))


def test_a_control_task_is_played_the_same_way_everywhere(plain: Job) -> None:
    assert plain.request == plain.fitting == plain.held_out
    assert not plain.deterministic
    assert (len(plain.seeds("fit")), len(plain.seeds("held_out"))) == (3, 2)
    assert len(plain.seeds("selection")) == plain.quantise.selection_episodes + plain.quantise.confirmation_episodes


def atari(folder: Path, **options: Any) -> Job:
    policy = small.network(
        env_id="ALE/Pong-v5",
        shape=(1, 80, 80),
        dtype="uint8",
        body="conv",
        sizes=(1, 1, 1, 1),
        actions=("stay", "up", "down"),
    )
    file = folder / "pong.safetensors"
    file.write_bytes(write_native(policy, EnvironmentRequest(id="ALE/Pong-v5")))
    return open_job(ExplainConfig(policy=str(file), preset="quick", **options))


def test_atari_games_are_held_out_with_sticky_actions_and_fitted_without(tmp_path: Path) -> None:
    found = atari(tmp_path)
    rules = [(request.sticky, request.noops) for request in (found.request, found.fitting, found.held_out)]
    assert rules == [(0.0, 0), (0.0, 30), (0.25, 30)]
    assert found.deterministic
    asked = atari(tmp_path, sticky=0.1, noops=7)
    rules = [(request.sticky, request.noops) for request in (asked.request, asked.fitting, asked.held_out)]
    assert rules == [(0.0, 0), (0.1, 7), (0.1, 7)]


def test_the_first_fit_game_of_atari_is_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = atari(tmp_path)
    played: list[tuple[list[EnvironmentRequest], tuple[int, ...]]] = []
    monkeypatch.setattr(jobs, "play", lambda requests, seeds, player, **_: played.append((requests, tuple(seeds))))
    found.play_fit(None)  # type: ignore[arg-type]
    seeds = found.seeds("fit")
    assert played == [([found.request, *[found.fitting] * (len(seeds) - 1)], seeds)]


def test_games_are_stepped_by_workers_that_a_job_shares(tmp_path: Path) -> None:
    found = atari(tmp_path)
    assert found.workers.count == 2 and dataclasses.replace(found).workers is found.workers
    assert small.job_on(tmp_path, small.network(), small.request()).workers.count == 1


def test_sticky_actions_are_refused_elsewhere(tmp_path: Path) -> None:
    small.published(tmp_path / "p.p")
    for option in ({"sticky": 0.25}, {"noops": 30}):
        with pytest.raises(OptionError, match="belong to Atari games"):
            open_job(small.explaining(tmp_path / "p.p", tmp_path / "run", **option))


def names_file(folder: Path, **names: list[str]) -> str:
    path = folder / "names.json"
    path.write_text(json.dumps(names))
    return str(path)


def test_given_names_are_those_of_the_job(tmp_path: Path) -> None:
    names = names_file(tmp_path, actions=["to the left", "to the right"], features=["p", "q", "r", "s"])
    given: dict[str, Any] = {"env": "CartPole-v1", "env_kwargs": {"max_episode_steps": 15}, "names": names}
    job = small.job_on(tmp_path, small.network(), small.request(), **given)
    assert job.action_names == ("to the left", "to the right")
    assert job.env.feature_names == ("p", "q", "r", "s")
    assert small.job_on(tmp_path, small.network(), small.request()).action_names == ("a", "b")


def test_names_of_features_are_refused_for_images(tmp_path: Path) -> None:
    env = f"python:{small.__name__}:pictures"
    policy = small.network(env_id=env, shape=(1, 16, 16), dtype="uint8", body="conv")
    with pytest.raises(OptionError, match="shows images"):
        small.job_on(tmp_path, policy, EnvironmentRequest(id=env), env=env, names=names_file(tmp_path, features=["x"]))


def test_names_and_arguments_need_an_environment(tmp_path: Path) -> None:
    for option in ({"env_kwargs": {"a": 1}}, {"names": names_file(tmp_path, actions=["a", "b"])}):
        with pytest.raises(OptionError, match="add --env"):
            small.job_on(tmp_path, small.network(), small.request(), **option)


def test_the_manifest_says_what_and_not_where(plain: Job, tmp_path: Path) -> None:
    header = plain.header("explain")
    written = encode_manifest(Manifest(format="f", header=header, stages=[])).decode()
    assert str(tmp_path) not in written
    assert header.identity.keys() == {"policy", "environment"}
    assert header.seeds == {role: list(plain.seeds(role)) for role in ("fit", "selection", "held_out")}
    assert json.loads(header.identity["environment"]) == msgspec.to_builtins(plain.request)


def test_a_trained_policy_is_called_after_its_folder(tmp_path: Path) -> None:
    """Every training writes a policy.safetensors, and ten reports on a "policy" cannot be told apart."""
    folder = tmp_path / "train-CartPole-v1-0"
    folder.mkdir()
    (folder / "policy.safetensors").write_bytes(zoo_file("cartpole").read_bytes())
    job = open_job(ExplainConfig(policy=str(folder / "policy.safetensors")))
    assert job.loaded.name == reference_of(job) == folder.name
    recorded = job.header("explain").config["policy"]
    assert recorded == "train-CartPole-v1-0/policy.safetensors"
    assert file_name(recorded) == folder.name


def test_the_demo_of_a_game_begins_with_a_code_that_keeps_it() -> None:
    explained = quantise_config(ExplainConfig(policy="zoo:pong-conv", preset="quick"), atari=True)
    shown = quantise_config(DemoConfig(), atari=True)
    assert explained.sizes == ((16, 24), *shown.sizes) and shown.sizes == ((32, 32), (64, 100))
    assert quantise_config(DemoConfig(), atari=False) == quantise_config(
        ExplainConfig(policy="x", preset="quick"), atari=False
    )
