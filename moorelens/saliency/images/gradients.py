"""Whether an image model has a gradient at all, asked before a method that needs one is begun."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from moorelens.errors import ModelError
from moorelens.saliency.images.models import ImageModel
from moorelens.saliency.images.opening import grey_picture

# What asks for no gradient; Grad-CAM asks for one to a layer, which a picture's own need not reach.
_WITHOUT = ("gradcam", "occlusion", "perturbation", "rise")


def check_gradient(model: ImageModel, *, method: str) -> None:
    """Raise `ModelError` where explainer `method` needs a gradient and the answer of `model` has none to a picture.

    Whether it is finite, and not 0 everywhere, depends on the picture and is not asked here.
    """
    if method in _WITHOUT:
        return
    x = grey_picture(model.module, model.channels, model.size).requires_grad_()
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # advice on the model's forward, as float(x.mean()) gets where x has a gradient
            answer: Tensor = model.module(x.clone())
            there = answer.requires_grad and _reaches(answer, x)
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(
            f"{method} takes the gradient of a model's answer, and {model.name} answers but fails when asked for it "
            f"({text}): mend its forward, its hooks and its in-place operations, or use rise or occlusion, which take "
            "none."
        ) from error
    if not there:
        raise ModelError(
            f"{method} takes the gradient of a model's answer, and that of {model.name} does not depend "
            "differentiably on the picture (its forward runs under no_grad, detaches, compares or leaves torch): mend "
            "it, or use rise or occlusion, which take none."
        )


def _reaches(answer: Tensor, x: Tensor) -> bool:
    (found,) = torch.autograd.grad(answer.sum(), x, allow_unused=True)
    return found is not None
