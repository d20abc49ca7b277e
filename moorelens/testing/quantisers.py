"""Does a quantiser keep the contract of `Quantiser`? Each check says what is wrong in one sentence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moorelens.fsm.quantisers.base import FittableQuantiser, Quantiser
from moorelens.fsm.quantisers.digits import digit_values

TOLERANCE = 1e-5


def check_quantiser(quantiser: Quantiser, x: Tensor) -> None:
    """Raise `AssertionError` with all rules that `quantiser` breaks on the rows of `x (B, D)`, one sentence each."""
    broken = []
    for check in CHECKS:
        try:
            check(quantiser, x)
        except AssertionError as error:
            broken.append(str(error))
        except Exception as error:
            broken.append(
                f"{check.__name__} could not be checked because the quantiser raised {type(error).__name__}: {error}."
            )
    assert not broken, "\n".join(broken)


class QuantiserConformance:
    """A pytest mixin: subclass it as `TestMine(QuantiserConformance)` and override the two methods that make things."""

    def make_quantiser(self) -> Quantiser:
        """Return the quantiser to be checked, ready for use: fitted, where it needs to be."""
        raise NotImplementedError("A conformance test needs a quantiser: override make_quantiser in your test class.")

    def make_vectors(self) -> Tensor:
        """Return vectors (B, D) of the kind that it quantises, four or more and not all alike."""
        raise NotImplementedError("A conformance test needs vectors: override make_vectors in your test class.")

    def test_codes(self) -> None:
        """Codes are int8 and every digit takes a value that its level allows."""
        check_codes(self.make_quantiser(), self.make_vectors())

    def test_decoding(self) -> None:
        """Every code stands for one finite vector."""
        check_decoding(self.make_quantiser(), self.make_vectors())

    def test_row_independence(self) -> None:
        """A row's code does not depend on the other rows, nor on when it is asked for."""
        check_rows(self.make_quantiser(), self.make_vectors())

    def test_nothing_is_changed_in_place(self) -> None:
        """Vectors, codes and weights stay as they are."""
        check_nothing_mutated(self.make_quantiser(), self.make_vectors())

    def test_relaxed(self) -> None:
        """The relaxed vector is the decoded code, and gradients pass through it."""
        check_relaxed(self.make_quantiser(), self.make_vectors())

    def test_fitting(self) -> None:
        """A quantiser that can be fitted reports on what it is judged on."""
        check_fitting(self.make_quantiser(), self.make_vectors())


def check_codes(quantiser: Quantiser, x: Tensor) -> None:
    """Codes must be int8 of shape (B, K) with digits that `levels` allows."""
    levels = quantiser.levels
    assert levels and all(isinstance(level, int) and 1 <= level <= 256 for level in levels), (
        f"levels holds the number of values of each digit, from 1 to 256, and is {levels}: return whole numbers."
    )
    for rows in (x, x[:1], x[:0]):
        codes = quantiser.encode(rows)
        wanted = (len(rows), len(levels))
        assert tuple(codes.shape) == wanted, (
            f"encode(x) must have the shape (B, K) = {wanted} and has {tuple(codes.shape)}: return one digit a level."
        )
        assert codes.dtype == torch.int8, f"encode(x) must be int8 and is {codes.dtype}: convert it."
        assert not codes.requires_grad, "Codes carry no gradient and these do: encode under no_grad."
    codes = quantiser.encode(x)
    for place, level in enumerate(levels):
        strange = set(codes[:, place].tolist()) - set(digit_values(level))
        assert not strange, (
            f"A digit of {level} levels is one of {digit_values(level)[:5]}... and digit {place} is {min(strange)}: "
            "an odd number of levels is centred on 0, and two are -1 and 1."
        )


def check_decoding(quantiser: Quantiser, x: Tensor) -> None:
    """Every code must stand for one finite float32 vector."""
    codes = quantiser.encode(x)
    decoded = quantiser.decode(codes).detach()
    assert tuple(decoded.shape) == tuple(x.shape), (
        f"decode(codes) must have the shape (B, D) = {tuple(x.shape)} and has {tuple(decoded.shape)}: correct it."
    )
    assert decoded.dtype == torch.float32, f"decode(codes) must be float32 and is {decoded.dtype}: convert it."
    assert torch.isfinite(decoded).all(), "decode(codes) must be finite and holds NaN or infinity: check the weights."


def check_rows(quantiser: Quantiser, x: Tensor) -> None:
    """A row must not see its neighbours, and equal vectors must get equal codes."""
    together, again = quantiser.encode(x), quantiser.encode(x)
    assert torch.equal(together, again), (
        "Equal vectors must get equal codes and two calls differ: noise inside the quantiser is likely, leave it out."
    )
    decoded = quantiser.decode(together).detach()
    shuffled = torch.arange(len(x)).flip(0)
    assert torch.equal(quantiser.encode(x[shuffled]), together[shuffled]), (
        "A row's code must not depend on its place and it does: batch statistics are likely, take them out."
    )
    assert torch.equal(quantiser.decode(together), quantiser.decode(together)), (
        "Equal codes must stand for equal vectors and two calls differ: take the noise out."
    )
    alone = torch.cat([quantiser.decode(together[i : i + 1]).detach() for i in range(len(x))])
    gap = float((alone - decoded).abs().max()) / max(1.0, float(decoded.abs().max()))
    assert gap <= TOLERANCE, (
        f"A code must stand for the same vector in any batch and this changes by {gap:.2g}: keep rows apart."
    )


def check_nothing_mutated(quantiser: Quantiser, x: Tensor) -> None:
    """Vectors, codes and weights must stay as they are."""
    given = x.clone()
    weights = {name: tensor.clone() for name, tensor in quantiser.tensors().items()}
    codes = quantiser.encode(given)
    kept = codes.clone()
    quantiser.decode(codes)
    quantiser.relaxed(given)
    assert torch.equal(given, x), _mutated("the vectors")
    assert torch.equal(codes, kept), _mutated("the codes")
    after = quantiser.tensors()
    same = weights.keys() == after.keys() and all(torch.equal(weights[name], after[name]) for name in weights)
    assert same, _mutated("the weights")


def check_relaxed(quantiser: Quantiser, x: Tensor) -> None:
    """`relaxed(x)` must be `decode(encode(x))` and pass a finite gradient to `x`."""
    given = x.clone().requires_grad_()
    relaxed = quantiser.relaxed(given)
    decoded = quantiser.decode(quantiser.encode(x)).detach()
    gap = float((relaxed.detach() - decoded).abs().max()) / max(1.0, float(decoded.abs().max()))
    assert gap <= TOLERANCE, (
        f"relaxed(x) is decode(encode(x)) with a gradient, and it differs by {gap:.2g}: fine-tuning would train "
        "another network than the one that plays."
    )
    assert relaxed.requires_grad, (
        "relaxed(x) must carry a gradient and does not: pass it straight through the rounding."
    )
    (gradient,) = torch.autograd.grad(relaxed.square().sum(), given, allow_unused=True)
    assert gradient is not None and torch.isfinite(gradient).all(), (
        "The gradient of relaxed(x) must reach x and be finite, and it does not: pass it straight through the rounding."
    )


def check_fitting(quantiser: Quantiser, x: Tensor) -> None:
    """Where there is a `fit`, it must report on the rows that it is judged on."""
    if not isinstance(quantiser, FittableQuantiser):
        return
    report = quantiser.fit(x, held_out=x[:2])
    assert report.codes == len(torch.unique(quantiser.encode(x[:2]), dim=0)), (
        f"fit(x, held_out=y) reports on y, which has {len(torch.unique(quantiser.encode(x[:2]), dim=0))} codes, and it "
        f"reports {report.codes}: judge the quantiser after fitting, on held_out."
    )
    assert all(torch.isfinite(tensor.float()).all() for tensor in quantiser.tensors().values()), (
        "What was fitted must be finite and holds NaN or infinity: refuse vectors that cannot be fitted."
    )


CHECKS: tuple[Callable[[Quantiser, Tensor], None], ...] = (
    check_codes,
    check_decoding,
    check_rows,
    check_nothing_mutated,
    check_relaxed,
    check_fitting,
)


def _mutated(what: str) -> str:
    return (
        f"A quantiser must change nothing in place and {what} changed: replace operations such as x += y by ones that "
        "return a new tensor."
    )
