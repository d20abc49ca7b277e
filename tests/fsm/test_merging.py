"""Merging codes: the wrapped quantiser by definition, planted twins that must be merged, and the score that decides."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from moorelens.errors import OptionError
from moorelens.fsm.merging import ladder, merge_codes
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.files import read_quantisers, write_quantisers
from moorelens.fsm.quantisers.merged import MergedQuantiser, merged
from moorelens.fsm.quantisers.registry import new_quantiser
from moorelens.testing import check_quantiser
from tests.fsm.small_networks import TablePolicy


def fitted(kind: str = "kmeans", *, digits: int = 6) -> tuple[Any, torch.Tensor]:
    x = torch.tanh(torch.randn(60, 4, generator=torch.Generator().manual_seed(0)))
    made = new_quantiser(kind, x, digits=digits)
    made.fit(x)
    return made, x


class TestMergedQuantiser:
    def test_it_writes_the_name_and_leaves_other_codes_as_they_are(self) -> None:
        inner, x = fitted()
        before = inner.encode(x)
        one, other = torch.unique(before, dim=0)[:2]
        quantiser = merged(inner, codes=one[None], names=other[None])
        renamed = (before == one).all(dim=1)
        after = quantiser.encode(x)
        assert renamed.any() and torch.equal(after[~renamed], before[~renamed])
        assert torch.equal(after[renamed], other.expand(int(renamed.sum()), -1))
        assert torch.equal(quantiser.decode(after), inner.decode(after))

    @pytest.mark.parametrize("kind", ["kmeans", "sign"])
    def test_it_keeps_the_contract_and_its_file(self, kind: str) -> None:
        inner, x = fitted(kind)
        codes = torch.unique(inner.encode(x), dim=0)
        quantiser = merged(inner, codes=codes, names=codes[:1].expand(len(codes), -1))
        check_quantiser(quantiser, x)
        (back,) = read_quantisers(write_quantisers({"state": quantiser})).values()
        assert isinstance(back, MergedQuantiser) and torch.equal(back.encode(x), quantiser.encode(x))

    def test_nothing_to_merge_changes_nothing(self) -> None:
        inner, x = fitted()
        none = inner.encode(x)[:0]
        assert torch.equal(merged(inner, codes=none, names=none).encode(x), inner.encode(x))

    def test_it_is_made_of_a_fitted_quantiser_only(self) -> None:
        with pytest.raises(OptionError, match="then merge_codes"):
            new_quantiser("merged", torch.zeros(3, 2), digits=2)


def test_the_ladder_goes_down_by_three_tenths_and_ends_at_the_floor() -> None:
    assert ladder(100, floor=30) == [100, 70, 49, 34, 30]
    assert ladder(3, floor=1) == [3, 2, 1]
    assert ladder(4, floor=4) == [4]


# States 1 and 2 do the same whatever is read; 0 and 3 act otherwise. Symbols 0 and 1 lead everywhere alike.
TWINS = TablePolicy([[1, 1, 2], [3, 3, 0], [3, 3, 0], [1, 1, 2]], [0, 1, 1, 2])


class Recorded:
    """Stands for episodes: the codes of every state and symbol, as often as given."""

    def __init__(self, network: MooreMachineNetwork, states: list[int], symbols: list[int]) -> None:
        eyes = {"state": torch.eye(4)[states], "symbol": torch.eye(3)[symbols]}
        self.extras = {
            "state": network.state.encode(eyes["state"]).numpy(),
            "symbol": network.symbol_codes(eyes["symbol"]).numpy(),
        }


def planted() -> tuple[MooreMachineNetwork, dict[str, Any], Any]:
    quantisers = {}
    for name, size in (("state", 4), ("observation", 3)):
        made: Any = new_quantiser("kmeans", torch.eye(size), digits=size)
        made.fit(torch.eye(size))
        quantisers[name] = made
    network = MooreMachineNetwork(TWINS, observation=quantisers["observation"], state=quantisers["state"])
    return network, quantisers, Recorded(network, [1, 1, 2, 3, 0, 0, 0], [0, 1, 1, 2, 0, 1, 2])


def test_twins_are_merged_and_nothing_of_another_action() -> None:
    network, quantisers, played = planted()
    found, attempts = merge_codes(quantisers, network=network, played=played, score=lambda _: 1.0, at_least=0.0)
    states, symbols = torch.eye(4), torch.eye(3)
    codes = found["state"].encode(states)
    assert len(torch.unique(codes, dim=0)) == 3 and torch.equal(codes[1], codes[2])
    assert torch.equal(codes[1], quantisers["state"].encode(states)[1]), "the code met more often names both"
    assert len(torch.unique(found["observation"].encode(symbols), dim=0)) == 1, "all symbols, as any score is enough"
    assert all(attempt.kept for attempt in attempts)


def test_what_loses_the_score_is_not_merged() -> None:
    network, quantisers, played = planted()

    def symbols_left(tried: MooreMachineNetwork) -> float:
        assert tried.observation is not None
        return float(len(torch.unique(tried.observation.encode(torch.eye(3)), dim=0)))

    found, attempts = merge_codes(quantisers, network=network, played=played, score=symbols_left, at_least=2.0)
    codes = found["observation"].encode(torch.eye(3))
    assert torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])
    assert [(one.part, one.after, one.kept) for one in attempts if not one.kept] == [("observation", 1, False)]


def test_nothing_good_enough_leaves_everything_as_it_was() -> None:
    network, quantisers, played = planted()
    found, _ = merge_codes(quantisers, network=network, played=played, score=lambda _: 0.0, at_least=1.0)
    assert found == quantisers
