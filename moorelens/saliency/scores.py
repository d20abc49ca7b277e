"""What an explainer sees of a model: one number a row, and which of the explained rows each row is a variant of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from moorelens.errors import OptionError

Space = Literal["logit", "prob", "logprob", "margin"]


class ScoreFn(Protocol):
    """Maps rows x (N, ...) in model-input space to one number each (N,), differentiable where the model is.

    Row-wise and pure. Larger means "more of what is explained"; removing what matters lowers it. Any function will do;
    one that binds something of each explained row (a class, a hidden state) is a `RowScore`.
    """

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the scores (N,) of x (N, ...)."""
        ...


@runtime_checkable
class RowScore(ScoreFn, Protocol):
    """A score whose N rows are bound to N explained rows; explainers call `select(rows)` before they call it."""

    def select(self, rows: Tensor) -> ScoreFn:
        """Return the score for variants of the explained rows `rows (M,)` int64: it maps (M, ...) to (M,)."""
        ...


def select_rows(score: ScoreFn, rows: Tensor) -> ScoreFn:
    """Return `score` for variants of `rows (M,)`; a plain function, which binds nothing, is returned as it is."""
    return score.select(rows) if isinstance(score, RowScore) else score


@dataclass(frozen=True, kw_only=True)
class BoundScore:
    """A row-wise function of x (N, ...) and of tensors bound to the explained rows; all adapters return one.

    `function(x, *bound) -> (N,)`; `bound`: tensors (B, ...) or (1, ...), the latter the same for all rows;
    `module`: the network behind it, where hooks and randomisation can reach one; `name`: what is scored, in words.
    """

    function: Callable[..., Tensor]
    bound: tuple[Tensor, ...] = ()
    module: nn.Module | None = None
    name: str = "score"

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the scores (N,); raises `OptionError` where N is not the number of bound rows."""
        parts = [_fit(tensor, x, self.name) for tensor in self.bound]
        return self.function(x, *parts)

    def select(self, rows: Tensor) -> BoundScore:
        """Return the score bound to `rows (M,)`."""
        bound = tuple(part if len(part) == 1 else part.index_select(0, rows.to(part.device)) for part in self.bound)
        return replace(self, bound=bound)


def class_score(model: nn.Module, target: int | Tensor, *, space: Space = "prob") -> BoundScore:
    """Score one class a row of a classifier x (N, ...) -> logits (N, K).

    `target`: a class, or one for each row (B,). `space`: `prob` (softmax), `logit`, `logprob`, or `margin` (the logit
    over the best other one). Raises `OptionError` for a model in training mode: dropout and batch statistics make a
    row depend on chance and on its neighbours.
    """
    refuse_training(model)

    def function(x: Tensor, targets: Tensor) -> Tensor:
        return pick(model(x), targets, space)

    return BoundScore(function=function, bound=(per_row(target),), module=model, name=f"class {space}")


def latent_score(model: Callable[[Tensor], Tensor], unit: int | Tensor, *, layer: str | None = None) -> BoundScore:
    """Score one unit of a hidden layer, of a code before rounding, or of any function x (N, ...) -> (N, K, ...).

    `unit`: an index into K, or one for each row (B,); further axes are averaged (a channel of a convolution).
    `layer`: the name of a submodule whose output is taken instead of the model's.
    """
    if isinstance(model, nn.Module):
        refuse_training(model)
    read = model if layer is None else _layer_reader(model, layer)

    def function(x: Tensor, units: Tensor) -> Tensor:
        found = read(x)
        return pick(found if found.ndim == 2 else found.flatten(2).mean(2), units, "logit")

    module = model if isinstance(model, nn.Module) else None
    return BoundScore(function=function, bound=(per_row(unit),), module=module, name="latent unit")


def pick(logits: Tensor, targets: Tensor, space: Space) -> Tensor:
    """Return what `space` says of entry `targets (N,)` in each row of `logits (N, K)`, as (N,)."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise OptionError(
            f"A scored model returns one row of numbers (N, K) for each input and this one returns {shape}: wrap it in "
            "a function that returns the logits alone."
        )
    if int(targets.max()) >= logits.shape[1] or int(targets.min()) < 0:
        raise OptionError(
            f"What is scored is one of the model's {logits.shape[1]} outputs, 0 to {logits.shape[1] - 1}, and "
            f"{sorted(set(targets.tolist()))} were asked for: correct the target."
        )
    column = targets[:, None]
    if space == "prob":
        return logits.softmax(dim=1).gather(1, column).squeeze(1)
    if space == "logprob":
        return logits.log_softmax(dim=1).gather(1, column).squeeze(1)
    chosen = logits.gather(1, column).squeeze(1)
    if space == "logit":
        return chosen
    if space == "margin":
        return chosen - logits.scatter(1, column, -torch.inf).amax(dim=1)
    raise OptionError(f"A score is a logit, prob, logprob or margin and {space!r} is none of them: choose one.")


def per_row(value: int | Tensor) -> Tensor:
    """Return one index or one for each row as int64 (1,) or (B,)."""
    return torch.as_tensor(value, dtype=torch.int64).reshape(-1)


def refuse_training(model: object) -> None:
    """Raise `OptionError` where `model` holds layers that act differently while it is trained."""
    noisy = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    if not isinstance(model, nn.Module):
        return
    for name, module in model.named_modules():
        if module.training and isinstance(module, noisy):
            raise OptionError(
                f"A score must depend on its own row alone and the layer {name or type(module).__name__!r} is in "
                "training mode: call model.eval() first (an explainer never changes the mode itself)."
            )


def _fit(tensor: Tensor, x: Tensor, name: str) -> Tensor:
    if len(tensor) not in (1, len(x)):
        raise OptionError(
            f"A score that is bound to {len(tensor)} rows maps variants of those and {len(x)} rows were given to the "
            f"{name}: call select(rows) first to say of which row each is a variant."
        )
    return tensor.to(x.device).expand(len(x), *tensor.shape[1:])


def _layer_reader(model: object, layer: str) -> Callable[[Tensor], Tensor]:
    module = submodule(model, layer)

    def read(x: Tensor) -> Tensor:
        caught: list[Tensor] = []
        handle = module.register_forward_hook(lambda _module, _inputs, output: caught.append(output.clone()))
        try:
            cast(nn.Module, model)(x)
        finally:
            handle.remove()
        return caught[-1]

    return read


def submodule(model: object, layer: str) -> nn.Module:
    """Return the submodule called `layer`; raises `OptionError` that lists the names there are."""
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"A layer is found by name in a torch module and {type(model).__name__} is none: pass the module itself to "
            "the score."
        )
    names = dict(model.named_modules())
    if layer not in names:
        raise OptionError(
            f"A layer is one of {sorted(name for name in names if name)} and {layer!r} is not: choose one of these."
        )
    found: nn.Module = names[layer]
    return found
