"""Grad-CAM: the channels of a convolution, weighted by what the score gains from each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.errors import OptionError
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.config import GradCAMConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish
from moorelens.saliency.scores import ScoreFn, submodule


class GradCAM(WorkingExplainer[GradCAMConfig]):
    """Grad-CAM (selvaraju2017gradcam): relu(sum_k w_k A_k) with w_k the mean gradient of channel k, never rescaled.

    Our own because Captum's takes a batch whole and reads no tokens; where both can, they agree. The score must know
    its network (`BoundScore.module`). The map is as coarse as the layer; it is enlarged bilinearly.

    Diagnostics: `signed (B, h, w)` before the ReLU; `all_nonpositive (B,)`: an all-zero map, a legal answer.
    """

    settings = GradCAMConfig

    def explain(self, work: Work) -> Attribution:
        """Return nonnegative maps (or signed ones); raises `OptionError` for a layer that has no channels or image."""
        config, x = self.config, work.x
        layer = _layer(work.meter.score, config.layer)
        signed = torch.cat([self._map(work, layer, rows) for rows in work.meter.chunks(len(x), device=x.device)])
        native = signed if config.signed else signed.clamp(min=0)
        size = tuple(x.shape[2:])
        values = functional.interpolate(native[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        diagnostics = {"signed": signed, "all_nonpositive": (signed <= 0).flatten(1).all(dim=1)}
        return finish(
            work,
            native,
            kind="signed" if config.signed else "nonneg",
            method="gradcam",
            config=config,
            values=values,
            diagnostics=diagnostics,
        )

    def _map(self, work: Work, layer: nn.Module, rows: Tensor) -> Tensor:
        caught: list[Tensor] = []

        def catch(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            if not isinstance(output, Tensor):
                raise OptionError(
                    "Grad-CAM reads a layer that returns one tensor and this one does not: choose another."
                )
            caught.append(output)
            # What follows works on a copy: an in-place ReLU would overwrite what the gradient is taken to.
            return output.clone()

        handle = layer.register_forward_hook(catch)
        try:
            with torch.enable_grad():
                points = work.x.index_select(0, rows).requires_grad_().clone()
                values = work.meter.forward(points, rows)
        finally:
            handle.remove()
        if len(caught) != 1:
            raise OptionError(
                f"Grad-CAM reads a layer that the score calls once and this one was called {len(caught)} times: choose "
                "another."
            )
        gradient = work.meter.gradient(values, caught[0])
        activations, gradients = (_image(part.detach(), self.config.tokens) for part in (caught[0], gradient))
        return (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1)


def _layer(score: ScoreFn, name: str | None) -> nn.Module:
    module = getattr(score, "module", None)
    if name is not None:
        return submodule(module, name)
    found = [part for part in module.modules() if isinstance(part, nn.Conv2d)] if isinstance(module, nn.Module) else []
    if not found:
        raise OptionError(
            "Grad-CAM reads a convolution of the score's network and there is none to be seen: make the score from a "
            "torch module that has one, or name a layer."
        )
    return found[-1]


def _image(part: Tensor, tokens: tuple[int, int] | None) -> Tensor:
    if tokens is not None and part.ndim == 3 and part.shape[1] in (tokens[0] * tokens[1], tokens[0] * tokens[1] + 1):
        return part[:, -tokens[0] * tokens[1] :].transpose(1, 2).reshape(len(part), -1, *tokens)
    if part.ndim != 4:
        raise OptionError(
            f"Grad-CAM reads a layer of shape (N, K, h, w), or tokens (N, T, D) with their grid, and this one returns "
            f"{tuple(part.shape)}: choose another layer, or say tokens=(h, w)."
        )
    return part
