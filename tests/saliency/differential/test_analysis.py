"""Pairs of branches, the intervention test, and both together on a machine that was really extracted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.errors import OptionError
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.extract import machine_of
from moorelens.fsm.players import NetworkPlayer
from moorelens.policies.load import open_policy
from moorelens.saliency.differential.analysis import Scene, _Successors, branch_saliency, memory_before
from moorelens.saliency.differential.branches import pairs_of
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.differential.intervention import flips, parts_of
from tests.fsm.small_networks import small_network


@st.composite
def walks(draw: st.DrawFn) -> tuple[Any, ...]:
    steps = draw(st.integers(8, 40))
    before, after, *seen = (
        np.array(draw(st.lists(st.integers(0, 2), min_size=steps, max_size=steps))) for _ in range(5)
    )
    return before, after, np.stack(seen, axis=1).astype(np.float32), (np.stack(seen[:2], axis=1)).astype(np.int8)


class TestPairs:
    @given(walks(), st.integers(1, 12), st.sampled_from(["nearest", "random"]))
    def test_are_steps_of_the_two_branches(self, walk: Any, count: int, pairing: Any) -> None:
        before, after, seen, codes = walk
        on = [np.flatnonzero((before == 0) & (after == target)) for target in (1, 2)]
        options: dict[str, Any] = {"state": 0, "targets": (1, 2), "count": count, "pairing": pairing}
        if not all(len(rows) for rows in on):
            with pytest.raises(OptionError):
                pairs_of(before, after, seen, codes, **options)
            return
        found = pairs_of(before, after, seen, codes, **options)
        assert len(found.first) == len(found.second) and 1 <= len(found.first) <= max(count, 1)
        assert set(found.first) <= set(on[0]) and set(found.second) <= set(on[1])
        assert found.seen == (len(on[0]), len(on[1]))
        again = pairs_of(before, after, seen, codes, **options)
        assert np.array_equal(found.first, again.first) and np.array_equal(found.second, again.second)

    @given(walks())
    def test_nearest_by_code_then_by_distance(self, walk: Any) -> None:
        before, after, seen, codes = walk
        on = [np.flatnonzero((before == 0) & (after == target)) for target in (1, 2)]
        if not all(len(rows) for rows in on):
            return
        found = pairs_of(before, after, seen, codes, state=0, targets=(1, 2), count=100, pairing="nearest")

        def apart(i: int, j: int) -> tuple[int, float]:
            return int((codes[i] != codes[j]).sum()), float(np.square(seen[i] - seen[j]).sum())

        for i, j in zip(found.first, found.second, strict=True):
            assert apart(int(i), int(j)) == min(apart(i, int(other)) for other in on[1])

    def test_a_branch_that_was_never_taken_is_refused_with_those_that_were(self) -> None:
        before, after = np.array([0, 0, 1]), np.array([1, 3, 2])
        with pytest.raises(OptionError, match=r"Branches of S0 lead to S1, S3.* S2 is none"):
            pairs_of(before, after, np.zeros((3, 1)), np.zeros((3, 1)), state=0, targets=(1, 2), count=4)


class TestFlips:
    def test_only_what_decides_flips_the_branch(self) -> None:
        """A planted branch: the sign of one pixel of 64 decides, and the map marks it among noise."""
        generator = torch.Generator().manual_seed(0)
        x, other = torch.rand(40, 1, 8, 8, generator=generator), torch.rand(40, 1, 8, 8, generator=generator)
        x[:, 0, 2, 5], other[:, 0, 2, 5] = 1.0, -1.0
        maps = torch.rand(40, 1, 8, 8, generator=generator) * 0.1
        maps[:, 0, 2, 5] = 1.0

        def successors(seen: Tensor) -> Any:
            return np.where(seen[:, 0, 2, 5].numpy() > 0, 7, 9)

        found = flips(
            x, other, maps, successors,
            own=np.full(40, 7), opposite=np.full(40, 9), area=0.05, generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        assert found.parts == 4
        assert found.other is not None and found.left_other is not None
        assert found.salient.all() and not found.other.any() and not found.left_other.any()

    def test_a_third_way_is_leaving_but_not_flipping(self) -> None:
        x = torch.zeros(4, 3)
        found = flips(
            x, x + 1, x, lambda seen: np.full(len(seen), 5),
            own=np.full(4, 7), opposite=np.full(4, 9), area=0.3, generator=torch.Generator(),
        )  # fmt: skip
        assert found.left_salient.all() and not found.salient.any()
        assert found.left_other is not None and found.left_other.all()

    def test_an_observation_of_one_part_has_no_control(self) -> None:
        """Were the only part drawn again as the other one, the control would flip as often as what is tested."""
        for x in (torch.ones(4, 1), torch.ones(4, 3, 1, 1)):
            found = flips(
                x, -x, x, lambda seen: np.where(seen.flatten(1)[:, 0].numpy() > 0, 7, 9),
                own=np.full(4, 7), opposite=np.full(4, 9), area=0.25, generator=torch.Generator(),
            )  # fmt: skip
            assert found.parts == 1 and found.salient.all() and found.left_salient.all()
            assert found.other is None and found.left_other is None

    @pytest.mark.parametrize(("total", "area", "parts"), [(4, 0.25, 1), (6, 0.25, 2), (2, 0.5, 1), (6400, 0.05, 320)])
    def test_how_many_parts_an_area_is(self, total: int, area: float, parts: int) -> None:
        assert parts_of(total, area) == parts


@pytest.fixture(scope="module")
def scene() -> Scene:
    """CartPole's bundled policy with random quantisers: a machine of its own, with real decision points."""
    policy = open_policy("zoo:cartpole").policy
    network = small_network(policy, digits=(3, 4))
    player = NetworkPlayer(network)
    played = play(EnvironmentRequest(id="CartPole-v1"), range(12), player)
    machine, traces = machine_of(played, player=player)
    return Scene(
        network=network,
        machine=machine,
        traces=traces,
        observations=played.frames[played.frame_index],
        hidden=memory_before(policy, played),
    )


def first_point(scene: Scene) -> tuple[int, tuple[int, int]]:
    point = max((p for p in decision_points(scene.machine) if not p.silent), key=lambda p: p.bits)
    branches = sorted(point.branches, key=lambda branch: -branch.count)[:2]
    return point.state, (branches[0].target, branches[1].target)


def test_the_memory_before_a_step_is_what_the_policy_would_have(scene: Scene) -> None:
    """One episode, step by step."""
    policy = scene.network.policy
    hidden = policy.initial_state(1)
    assert scene.hidden is not None
    for row in range(int(scene.traces.offsets[1]), int(scene.traces.offsets[2])):
        torch.testing.assert_close(scene.hidden[row][None], hidden)
        hidden = policy.core(policy.features(torch.from_numpy(scene.observations[row][None])), hidden)


class TestOnAMachine:
    def test_the_unchanged_observation_leads_to_its_own_branch_and_a_whole_replacement_to_the_other(
        self, scene: Scene
    ) -> None:
        """What the intervention asks agrees with what was recorded, at both ends."""
        state, targets = first_point(scene)
        rows = np.flatnonzero(scene.before == state)
        reached = _Successors(scene, state)(torch.from_numpy(scene.observations[rows]))
        assert np.array_equal(reached, scene.traces.states[rows])
        assert set(targets) <= set(reached)

    @pytest.mark.parametrize("level", ["observation", "hidden"])
    @pytest.mark.parametrize("target", ["preactivation", "squared"])
    def test_a_decision_is_explained_both_ways(self, scene: Scene, level: Any, target: Any) -> None:
        state, targets = first_point(scene)
        config = DifferentialConfig(level=level, target=target, pairs=8, steps=32)
        found = branch_saliency(scene, state=state, targets=targets, config=config)
        rows = 2 * len(found.pairs.first)
        assert found.maps.shape == (rows, 4) and found.skipped.shape == (rows,)
        assert (found.memory is None) == (level == "observation")
        assert found.maps[torch.from_numpy(found.skipped)].abs().sum() == 0
        assert found.flips is not None and len(found.flips.salient) == int((~found.skipped).sum())
        assert torch.isfinite(found.mean).all() and (found.spread >= 0).all()
        again = branch_saliency(scene, state=state, targets=targets, config=config)
        assert again.flips is not None and torch.equal(found.maps, again.maps)
        assert np.array_equal(found.flips.other, again.flips.other)

    def test_branches_with_equal_codes_are_skipped_and_reported(self, scene: Scene) -> None:
        """All observations alike, as where only the memory made the difference: no digit differs anywhere."""
        state, targets = first_point(scene)
        alike = dataclasses.replace(scene, observations=np.zeros_like(scene.observations))
        found = branch_saliency(alike, state=state, targets=targets, config=DifferentialConfig(pairs=4))
        assert found.skipped.all() and found.flips is None and float(found.mean.abs().sum()) == 0.0
