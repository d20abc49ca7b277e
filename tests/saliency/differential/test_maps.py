"""Differential maps against their definition, and against the numbers of the released code."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from moorelens.errors import OptionError, PolicyError
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.pipelines.published import published_quantisers
from moorelens.policies.load import open_policy
from moorelens.saliency.differential.digits import differing, joint_digits, observation_digits
from moorelens.saliency.differential.maps import differential_map, digit_maps
from tests.fsm.small_networks import Rounding, needs_reference, small_network, small_policy

REFERENCE = Path(__file__).parents[3] / "../shared/reference"


def graded(z: Tensor) -> Tensor:
    """Three digits of vectors of four numbers, smooth and not linear."""
    return torch.stack([z[:, 0] * z[:, 1], z[:, 2].square(), z[:, 1].sin() + z[:, 3]], dim=1)


def by_definition(x: Tensor, baseline: Tensor, digit: int, *, points: int, target: str) -> Tensor:
    """Spec-fsm 6.6, one point and one digit at a time: the mean gradient on the path, ends included, times the way."""
    total = torch.zeros_like(x)
    reference = graded(x[None])[0, digit].detach()
    for k in range(points):
        z = (baseline + k / (points - 1) * (x - baseline)).clone().requires_grad_()
        value = graded(z[None])[0, digit]
        (value if target == "preactivation" else (value - reference).square()).backward()  # type: ignore[no-untyped-call]
        assert z.grad is not None
        total += z.grad
    return (x - baseline) * total / points


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, generator=generator).double(), torch.randn(2, 4, generator=generator).double()


TARGETS: list[Literal["preactivation", "squared"]] = ["preactivation", "squared"]


class TestTheDefinition:
    @pytest.mark.parametrize("target", TARGETS)
    def test_each_digit_alone(self, target: Literal["preactivation", "squared"]) -> None:
        x, baseline = pair()
        found = digit_maps(graded, x, baseline, target=target, steps=7, rule="mean", max_batch=3)
        for row in range(2):
            for digit in range(3):
                slow = by_definition(x[row], baseline[row], digit, points=7, target=target)
                torch.testing.assert_close(found[row, digit], slow)

    @pytest.mark.parametrize("target", TARGETS)
    def test_the_map_is_the_mean_over_the_chosen_digits(self, target: Literal["preactivation", "squared"]) -> None:
        x, baseline = pair(1)
        chosen = torch.tensor([[True, False, True], [False, True, False]])
        found = differential_map(graded, x, baseline, chosen, target=target, steps=7, rule="mean", oriented=False)
        each = digit_maps(graded, x, baseline, target=target, steps=7, rule="mean")
        torch.testing.assert_close(found.values[0], (each[0, 0] + each[0, 2]) / 2)
        torch.testing.assert_close(found.values[1], each[1, 1])

    @pytest.mark.parametrize("max_batch", [1, 3, 256])
    def test_chunks_change_nothing_but_the_batch(self, max_batch: int) -> None:
        x, baseline = pair(2)
        whole = differential_map(graded, x, baseline, torch.ones(2, 3, dtype=torch.bool))
        found = differential_map(graded, x, baseline, torch.ones(2, 3, dtype=torch.bool), max_batch=max_batch)
        torch.testing.assert_close(found.values, whole.values)
        assert found.largest_batch <= max_batch


class TestWhatValuesMean:
    def test_they_sum_to_how_far_the_digits_move(self) -> None:
        x, baseline = pair(3)
        chosen = torch.tensor([[True, True, True], [True, False, True]])
        found = differential_map(graded, x, baseline, chosen, steps=24, rule="gauss_legendre")
        moved = (graded(x) - graded(baseline)).abs()
        torch.testing.assert_close(found.gap, (moved * chosen).sum(dim=1) / chosen.sum(dim=1))
        assert found.completeness.abs().max() < 1e-6

    def test_squared_ones_sum_to_minus_the_squared_change(self) -> None:
        x, baseline = pair(4)
        found = differential_map(graded, x, baseline, torch.ones(2, 3, dtype=torch.bool), target="squared", steps=400)
        torch.testing.assert_close(found.gap, -(graded(x) - graded(baseline)).square().mean(dim=1))
        assert found.completeness.abs().max() < 1e-3

    def test_digits_that_rise_do_not_cancel_those_that_fall(self) -> None:
        def opposed(z: Tensor) -> Tensor:
            return torch.stack([z[:, 0], -z[:, 0]], dim=1)

        x, baseline = torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 5.0]])
        both = torch.ones(1, 2, dtype=torch.bool)
        assert differential_map(opposed, x, baseline, both, oriented=False).values.tolist() == [[0.0, 0.0]]
        assert differential_map(opposed, x, baseline, both).values.tolist() == [[1.0, 0.0]]

    def test_what_did_not_change_is_not_salient_and_swapping_the_branches_changes_no_sign(self) -> None:
        """Spec-saliency 14.27; the signs of the way and of the digits' change both turn round."""
        x, baseline = pair(5)
        baseline[:, 1:] = x[:, 1:]
        every = torch.ones(2, 3, dtype=torch.bool)
        there = differential_map(graded, x, baseline, every).values
        back = differential_map(graded, baseline, x, every).values
        assert (there[:, 1:] == 0).all() and (there[:, 0] > 0).all()
        torch.testing.assert_close(there, back)

    def test_equal_observations_have_an_empty_map(self) -> None:
        x, _ = pair(6)
        found = differential_map(graded, x, x.clone(), torch.zeros(2, 3, dtype=torch.bool))
        assert found.empty.all() and (found.values == 0).all() and (found.gap == 0).all()


class TestBehindAnAffineLayer:
    """A straight path stays straight behind the first layer: the maps are those of the path itself."""

    @pytest.mark.parametrize("image", [False, True])
    @pytest.mark.parametrize("target", TARGETS)
    def test_maps_are_the_same(self, image: bool, target: Literal["preactivation", "squared"]) -> None:
        network = small_network(small_policy(image=image))
        graded = observation_digits(network).graded
        assert graded.first is not None
        generator = torch.Generator().manual_seed(0)
        shape = (3, 1, 8, 8) if image else (3, 4)
        x, baseline = torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)
        chosen = torch.ones(3, 3, dtype=torch.bool)

        def plain(z: Tensor) -> Tensor:
            return network.observation.preactivation(network.policy.features(z))  # type: ignore[union-attr, no-any-return]

        ours = differential_map(graded, x, baseline, chosen, target=target, steps=20)
        slow = differential_map(plain, x, baseline, chosen, target=target, steps=20)
        torch.testing.assert_close(ours.values, slow.values, atol=1e-4, rtol=1e-3)
        each = digit_maps(graded, x, baseline, target=target, steps=20, max_batch=7)
        torch.testing.assert_close(each, digit_maps(plain, x, baseline, target=target, steps=20), atol=1e-4, rtol=1e-3)

    def test_the_policy_is_left_alone(self) -> None:
        network = small_network(small_policy(image=True))
        layout = [p.stride() for p in network.policy.parameters()]  # type: ignore[attr-defined]
        observation_digits(network).graded(torch.rand(2, 1, 8, 8))
        assert [p.stride() for p in network.policy.parameters()] == layout  # type: ignore[attr-defined]


class TestDigits:
    def test_of_a_symbol(self) -> None:
        network = small_network()
        x = torch.randn(5, 4)
        digits = observation_digits(network)
        assert torch.equal(digits.rounded(x), network.symbol_codes(network.policy.features(x)))
        assert network.observation is not None
        expected = network.observation.preactivation(network.policy.features(x))  # type: ignore[attr-defined]
        torch.testing.assert_close(digits.graded(x), expected)

    def test_of_the_next_state_read_memory_and_observation_together(self) -> None:
        network = small_network(small_policy(image=True))
        x, hidden = torch.rand(5, 1, 8, 8), torch.randn(5, 8)
        digits = joint_digits(network)
        state = network.policy.core(network.policy.features(x), hidden)
        assert torch.equal(digits.rounded(torch.cat([x.flatten(1), hidden], dim=1)), network.state.encode(state))

    def test_that_differ(self) -> None:
        network = small_network()
        digits = observation_digits(network)
        x, baseline = torch.randn(50, 4), torch.randn(50, 4)
        found = differing(digits, x, baseline)
        assert torch.equal(found, digits.rounded(x) != digits.rounded(baseline)) and found.any()

    def test_without_a_graded_form_are_refused(self) -> None:
        network = small_network()
        with pytest.raises(PolicyError, match="Rounding has none"):
            observation_digits(MooreMachineNetwork(network.policy, observation=Rounding(4), state=network.state))
        with pytest.raises(PolicyError, match="hidden"):
            observation_digits(MooreMachineNetwork(network.policy, observation=None, state=network.state))


def test_pairs_must_fit() -> None:
    x, _ = pair()
    with pytest.raises(OptionError, match="pass pairs"):
        differential_map(graded, x, x[:1], torch.ones(2, 3, dtype=torch.bool))


@needs_reference
def test_the_released_code_before_its_defect() -> None:
    """The parity fixture of spec-fsm 6.6: CartPole (4, 4), input 10, baseline 100, 11 points, all digits, float64."""
    loaded = open_policy(f"mmn:{REFERENCE / 'dig_cartpole_mmn_4_4.p'}", env="CartPole-v1")
    qbn = published_quantisers(loaded)["observation"].double()
    policy = loaded.policy.double()  # type: ignore[attr-defined]
    seen = torch.load(REFERENCE / "dig_cartpole_observations.pt", weights_only=True, map_location="cpu")
    x, baseline = seen[10].double(), seen[100].double()

    def read(z: Tensor) -> Tensor:
        return qbn.preactivation(policy.features(z))

    found = differential_map(
        read, x, baseline, torch.ones(1, 4, dtype=torch.bool), target="squared", steps=11, rule="mean"
    )
    expected = torch.tensor([[-0.0018283766, -0.0003618620, -0.0519140386, 0.0352441607]], dtype=torch.float64)
    torch.testing.assert_close(found.values, expected, atol=1e-9, rtol=0)
    each = digit_maps(read, x, baseline, target="squared", steps=11, rule="mean").sum(dim=2)
    sums = torch.tensor([[-0.00751, -0.06216, -0.00481, -0.00096]], dtype=torch.float64)
    torch.testing.assert_close(each, sums, atol=5e-6, rtol=0)
