"""Does an explainer keep the rules of `Explainer`? Each check says what is wrong in one sentence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from moorelens.saliency.attribution import Attribution
from moorelens.saliency.baselines import Normaliser, constant
from moorelens.saliency.curves import causal_curve
from moorelens.saliency.explainer import Explainer
from moorelens.saliency.scores import BoundScore, ScoreFn, class_score

_SIDE = 12
_PATCH = 4
_TOLERANCE = 1e-5


def check_explainer(explainer: Explainer) -> None:
    """Raise `AssertionError` with all broken rules, one sentence each; return where the explainer keeps them all.

    The rules: one polarity; baselines given in raw space; randomness from the generator alone; honest counts and
    bounded batches; scores, gap and `explainable` reported. Besides: rows apart, any size, the model left as it was.
    """
    broken = []
    for check in CHECKS:
        try:
            check(explainer)
        except AssertionError as error:
            broken.append(str(error))
        except Exception as error:
            broken.append(
                f"{check.__name__} could not be checked because the explainer raised {type(error).__name__}: {error}."
            )
    assert not broken, "\n".join(broken)


class ExplainerConformance:
    """A pytest mixin: subclass it as `TestMine(ExplainerConformance)` and let `make_explainer` return yours."""

    def make_explainer(self) -> Explainer:
        """Return the explainer to be checked."""
        raise NotImplementedError("A conformance test needs an explainer: override make_explainer in your test class.")

    def test_polarity(self) -> None:
        """Larger saliency means more important."""
        check_polarity(self.make_explainer())

    def test_baseline_space(self) -> None:
        """The baseline reaches the model through the same normaliser as the input."""
        check_baseline_space(self.make_explainer())

    def test_randomness(self) -> None:
        """Equal generators give equal bits; global random state is neither read nor changed."""
        check_randomness(self.make_explainer())

    def test_counts(self) -> None:
        """What is counted is what the model saw, in batches no larger than allowed."""
        check_counts(self.make_explainer())

    def test_scores_and_gap(self) -> None:
        """Scores are reported, and a gap that is too small is flagged."""
        check_scores(self.make_explainer())

    def test_rows_are_apart(self) -> None:
        """A row's map does not depend on the other rows."""
        check_rows(self.make_explainer())

    def test_any_size(self) -> None:
        """Images of other sizes and channel counts are explained, by networks that work in place too."""
        check_sizes(self.make_explainer())

    def test_nothing_is_left_behind(self) -> None:
        """Modes, gradients, hooks, weights and inputs are as they were."""
        check_hygiene(self.make_explainer())


def check_polarity(explainer: Explainer) -> None:
    """The one bright patch that the score depends on must be the peak, and deleting it first must hurt more."""
    model = _patch_model()
    x, truth = _bright_patch()
    found = explainer.attribute(x, class_score(model, 0, space="logit"), constant(0.0))
    saliency = found.saliency()
    peak = int(saliency.flatten(1).argmax())
    assert bool(truth.flatten()[peak]), (
        f"The most salient pixel must lie in the patch that decides and {found.method} puts it at "
        f"{divmod(peak, x.shape[3])}: the mask is inverted, or the map is turned or shifted."
    )
    hidden = torch.zeros_like(x)
    score = class_score(model, 0, space="logit")
    deleted = causal_curve(x, hidden, score, saliency=saliency)
    inserted = causal_curve(x, hidden, score, saliency=saliency, mode="insertion")
    assert float(deleted.auc) < float(inserted.auc), (
        f"Deleting the most salient pixels first must leave less than inserting them first and {found.method} has "
        f"{float(deleted.auc):.3f} against {float(inserted.auc):.3f}: the polarity is reversed."
    )


def check_baseline_space(explainer: Explainer) -> None:
    """Black must reach the model as the normaliser maps it, not as 0."""
    normalise = Normaliser((0.5,), (0.25,))
    seen: list[Tensor] = []
    x, _ = _bright_patch()
    model = _patch_model()

    def function(points: Tensor) -> Tensor:
        seen.append(points.detach().clone())
        return _column(model(points))

    found = explainer.attribute(normalise(x), BoundScore(function=function, module=model), constant(0.0, normalise))
    black = torch.full_like(x, -2.0)
    assert any(bool((points == -2.0).flatten(1).all(dim=1).any()) for points in seen), (
        f"The baseline must be scored as the model sees it and {found.method} never showed it black as normalised, "
        "-2: pass the baseline through begin()."
    )
    assert torch.allclose(found.f_b, _column(model(black)).detach(), atol=_TOLERANCE), (
        f"f_b must be the score of the normalised baseline and {found.method} reports {float(found.f_b):.4f}: score "
        "the baseline in model-input space."
    )


def check_randomness(explainer: Explainer) -> None:
    """The generator alone decides: equal seeds give equal bits, and the global state is as it was."""
    x, model = _images(2, 3, 12, 10), _network(3)
    before = torch.random.get_rng_state()
    first, second = (_explain(explainer, x, model, seed=5) for _ in range(2))
    assert torch.equal(first.values, second.values), (
        f"Equal generators must give equal bits and two maps of {first.method} differ: draw from the generator only."
    )
    assert torch.equal(before, torch.random.get_rng_state()), (
        f"The global random state must not change and {first.method} changed it: draw from the generator only."
    )
    assert first.seed == 5, f"The seed must be recorded and {first.method} says {first.seed}: take it from begin()."


def check_counts(explainer: Explainer) -> None:
    """Counters must say what the model saw, batches must keep the limit, and the limit must not change the map."""
    x, model = _images(3, 3, 12, 10), _network(3)
    maps = []
    for limit in (1, 4, 256):
        sizes: list[int] = []

        def function(points: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(len(points))
            return _column(model(points))

        score = BoundScore(function=function, module=model)
        found = explainer.attribute(x, score, constant(0.0), max_batch=limit)
        _counted(found, sizes, limit)
        maps.append(found.values)
    scale = max(1e-6, float(maps[-1].abs().max()))
    apart = max(float((other - maps[-1]).abs().max()) / scale for other in maps)
    assert apart <= 1e-4, (
        f"max_batch must not change the map and it does by {apart:.2g} of its scale: draw random numbers in an order "
        "that does not depend on the chunks."
    )


def check_scores(explainer: Explainer) -> None:
    """f_x and f_b must be reported, and a score that does not move must be flagged and not crash."""
    x, model = _images(2, 3, 12, 10), _network(3)
    found = _explain(explainer, x, model)
    black = torch.zeros_like(x)
    for name, reported, points in (("f_x", found.f_x, x), ("f_b", found.f_b, black)):
        assert torch.allclose(reported, _column(model(points)).detach(), atol=_TOLERANCE), (
            f"{name} must be the score and {found.method} reports another number: take it from begin()."
        )
    assert torch.allclose(found.gap, found.f_x - found.f_b), "The gap must be f_x - f_b: report both."
    constant_model = _network(3)
    with torch.no_grad():
        for parameter in constant_model.parameters():
            parameter.zero_()
    flat = _explain(explainer, x, constant_model)
    assert not bool(flat.explainable.any()), (
        f"A score that does not move explains nothing and {found.method} calls it explainable: end with finish()."
    )
    assert bool(torch.isfinite(flat.values).all()), (
        f"A score that does not move must give a finite map and {found.method} has NaN: do not divide by the range."
    )
    assert flat.seconds is not None and flat.seconds > 0, "Wall time must be reported: end with finish()."


def check_rows(explainer: Explainer) -> None:
    """Alone and in a batch, a row must have the same map; each row has its own target."""
    x, model, targets = _images(5, 3, 12, 10), _network(3), torch.tensor([0, 2, 1, 1, 0])
    together = explainer.attribute(x, class_score(model, targets), constant(0.0))
    for row in (0, 1, 4):
        alone = explainer.attribute(x[row : row + 1], class_score(model, int(targets[row])), constant(0.0))
        scale = max(1e-6, float(alone.values.abs().max()))
        apart = float((together.values[row] - alone.values[0]).abs().max()) / scale
        assert apart <= 1e-4, (
            f"A row's map must not depend on its batch and that of row {row} changes by {apart:.2g} of its scale with "
            f"{together.method}: share what is drawn among rows, and select rows of targets and baselines together."
        )


def check_sizes(explainer: Explainer) -> None:
    """One and seven channels, height other than width, and networks that work in place."""
    for channels, height, width in ((1, 9, 14), (7, 16, 11)):
        x, model = _images(2, channels, height, width), _network(channels, inplace=True)
        kept = x.clone()
        found = _explain(explainer, x, model)
        assert found.values.shape == (2, height, width), (
            f"Maps of images (B, C, H, W) must be (B, H, W) and {found.method} returned {tuple(found.values.shape)}: "
            "sum channels and enlarge coarse maps."
        )
        assert torch.equal(x, kept), (
            f"Inputs must stay as they are and {found.method} let a network that works in place change them: pass "
            "copies to the score."
        )
        plain = _explain(explainer, x, _network(channels))
        scale = max(1e-6, float(plain.values.abs().max()))
        assert float((plain.values - found.values).abs().max()) <= 1e-4 * scale, (
            f"A network that works in place must get the same map as its twin that does not and {found.method} gives "
            "another: read activations before they are overwritten."
        )


def check_hygiene(explainer: Explainer) -> None:
    """Nothing of the model may change: modes, `requires_grad`, gradients, hooks, weights."""
    x, model = _images(2, 3, 12, 10).requires_grad_(), _network(3)
    next(iter(model.parameters())).requires_grad_(False)
    model[1].train()
    before = _state(model)
    found = _explain(explainer, x, model)
    after = _state(model)
    for name in before:
        assert before[name] == after[name], (
            f"A model must be left as it was and {found.method} changed its {name}: undo hooks in a finally block and "
            "use torch.autograd.grad."
        )
    assert x.grad is None, f"Inputs must get no gradient and {found.method} left one: detach them first."
    assert not found.values.requires_grad, f"Maps carry no graph and those of {found.method} do: detach them."


CHECKS: tuple[Callable[[Explainer], None], ...] = (
    check_polarity,
    check_baseline_space,
    check_randomness,
    check_counts,
    check_scores,
    check_rows,
    check_sizes,
    check_hygiene,
)


def _counted(found: Attribution, sizes: list[int], limit: int) -> None:
    assert found.n_forward == sum(sizes), (
        f"n_forward must count the rows the model saw, {sum(sizes)}, and {found.method} reports {found.n_forward}: let "
        "every call go through the meter."
    )
    assert max(sizes) <= limit, (
        f"A batch must hold at most max_batch = {limit} rows and {found.method} made one of {max(sizes)}: chunk it."
    )
    assert found.largest_batch == max(sizes), f"largest_batch must be {max(sizes)} and is {found.largest_batch}."


def _patch_model() -> nn.Sequential:
    """Logit 0 is the mean of the brightest 4 x 4 patch, logit 1 is 0: one bright patch is all there is to find."""
    conv = nn.Conv2d(1, 1, _PATCH, stride=_PATCH, bias=False)
    last = nn.Linear(1, 2)
    model = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(_SIDE // _PATCH), nn.Flatten(), last).eval()
    with torch.no_grad():
        conv.weight.fill_(1 / _PATCH**2)
        last.weight.copy_(torch.tensor([[1.0], [0.0]]))
        last.bias.zero_()
    return model


def _bright_patch() -> tuple[Tensor, Tensor]:
    x = torch.full((1, 1, _SIDE, _SIDE), 0.05)
    truth = torch.zeros(_SIDE, _SIDE, dtype=torch.bool)
    truth[_PATCH : 2 * _PATCH, 2 * _PATCH :] = True
    x[0, 0, truth] = 1.0
    return x, truth


def _network(channels: int, *, inplace: bool = False) -> nn.Sequential:
    model = nn.Sequential(
        nn.Conv2d(channels, 6, 3, stride=2, padding=1),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).eval()
    generator = torch.Generator().manual_seed(channels)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


def _images(count: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(height))


def _column(logits: Tensor) -> Tensor:
    return logits[:, 0]


def _explain(explainer: Explainer, x: Tensor, model: nn.Module, *, seed: int = 0) -> Attribution:
    score: ScoreFn = class_score(model, 0, space="logit")
    return explainer.attribute(x, score, constant(0.0), generator=torch.Generator().manual_seed(seed))


def _state(model: nn.Module) -> dict[str, object]:
    return {
        "modes": [module.training for module in model.modules()],
        "requires_grad flags": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad is None for parameter in model.parameters()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in model.modules()
        ],
        "weights": [parameter.detach().clone().numpy().tobytes() for parameter in model.parameters()],
    }
