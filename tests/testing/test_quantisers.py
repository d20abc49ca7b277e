"""The conformance suite accepts every quantiser of the registry and names each broken rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from moorelens.fsm.quantisers.base import FittableQuantiser
from moorelens.fsm.quantisers.config import KINDS, FitSettings
from moorelens.fsm.quantisers.registry import new_quantiser
from moorelens.testing import QuantiserConformance, check_quantiser

QUICK = FitSettings(updates=60)


def vectors(*, rows: int = 40, seed: int = 0) -> Tensor:
    return torch.tanh(torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed)))


def fitted(kind: str, *, levels: int = 3, digits: int = 4) -> FittableQuantiser:
    made = new_quantiser(kind, vectors(), digits=digits, levels=levels)
    made.fit(vectors(), settings=QUICK)
    return made


class Suite(QuantiserConformance):
    kind, levels, digits = "", 3, 4

    def make_quantiser(self) -> FittableQuantiser:
        return fitted(self.kind, levels=self.levels, digits=self.digits)

    def make_vectors(self) -> Tensor:
        return vectors(seed=1)


class TestQBN(Suite):
    kind = "qbn"


class TestBinaryQBN(Suite):
    kind, levels = "qbn", 2


class TestFSQ(Suite):
    kind = "fsq"


class TestFSQOfFourLevels(Suite):
    kind, levels = "fsq", 4


class TestKMeans(Suite):
    kind = "kmeans"


class TestKMeansOfThreeHundred(Suite):
    kind, digits = "kmeans", 300


class TestSign(Suite):
    kind = "sign"


@pytest.mark.parametrize("kind", KINDS)
def test_check_quantiser_accepts_every_kind(kind: str) -> None:
    check_quantiser(fitted(kind), vectors(seed=2))


class Odd:
    """A good quantiser but for the one method that is replaced."""

    def __init__(self, **methods: Any) -> None:
        good = fitted("sign")
        self.levels = methods.pop("levels", good.levels)
        for name in ("encode", "decode", "relaxed", "tensors"):
            setattr(self, name, methods.get(name, getattr(good, name)))


def noisy() -> Callable[[Tensor], Tensor]:
    good, turn = fitted("sign"), iter(range(1000))
    return lambda x: good.encode(x) * (-1 if next(turn) % 2 else 1)


def greedy(x: Tensor) -> Tensor:
    return torch.where(x >= x.mean(dim=0), 1, -1).to(torch.int8)


def in_place(x: Tensor) -> Tensor:
    codes = torch.where(x >= 0, 1, -1).to(torch.int8)
    x.mul_(2.0)
    return codes


BROKEN: Mapping[str, tuple[dict[str, Any], str]] = {
    "floats": ({"encode": lambda x: torch.sign(x)}, "must be int8"),
    "shape": ({"encode": lambda x: torch.zeros(len(x), 1, dtype=torch.int8)}, r"shape \(B, K\)"),
    "digits": ({"encode": lambda x: torch.full(x.shape, 3, dtype=torch.int8)}, "digit 0 is 3"),
    "levels": ({"levels": ()}, "levels holds"),
    "noise": ({"encode": noisy()}, "two calls differ|does not depend|digit"),
    "in place": ({"encode": in_place}, "the vectors changed"),
    "decoded": ({"decode": lambda codes: codes.float() / 0.0}, "NaN or infinity"),
    "no gradient": ({"relaxed": lambda x: fitted("sign").relaxed(x).detach()}, "must carry a gradient"),
    "other value": ({"relaxed": lambda x: x * 1.0}, "differs by"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_named(name: str) -> None:
    methods, said = BROKEN[name]
    with pytest.raises(AssertionError, match=said):
        check_quantiser(Odd(**methods), vectors())


def test_rows_that_see_each_other_are_found() -> None:
    class Jumpy(Odd):
        def __init__(self) -> None:
            super().__init__(decode=lambda codes: codes.float() * codes.float().abs().sum())

    with pytest.raises(AssertionError, match="in any batch"):
        check_quantiser(Jumpy(), vectors())


def test_a_fit_that_does_not_say_what_it_was_judged_on_is_found() -> None:
    quantiser = fitted("kmeans")
    honest = quantiser.fit
    quantiser.fit = lambda x, **options: honest(x, settings=QUICK)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="judge the quantiser after fitting"):
        check_quantiser(quantiser, vectors())
