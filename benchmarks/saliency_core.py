"""How fast and how large the saliency core is beside Captum and the published loops, in one run.

    python benchmarks/saliency_core.py [--quick] [--out benchmarks/results]

Writes `saliency.md`. Every row runs both sides on the same network, images, batch limit and thread, takes the least
CPU time of a few turns, alternating, and says how far the two maps are apart. Ratios travel between machines; seconds
do not.
Peak memory is the kernel's figure for a fresh process. Needs `pip install moorelens[captum]`.
"""

from __future__ import annotations

import argparse
import math
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from captum import attr
from torch import Tensor, nn

from moorelens.saliency.baselines import constant, gaussian_blur
from moorelens.saliency.config import RISEConfig
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.rise import Masks, draw_masks
from moorelens.saliency.scores import class_score

SIZE, CLASSES, LIMIT = 56, 4, 256


def network() -> nn.Sequential:
    """About 100 000 weights on 56 x 56 pixels, untrained: only the time counts."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for previous, size in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(previous, size, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES)).eval()


def images(count: int) -> Tensor:
    """Random images in [0, 1]."""
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def turns(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], *, repeats: int) -> tuple[float, float, float]:
    """Return the least CPU seconds of both, and how far their maps are apart in units of the largest value."""
    best = [math.inf, math.inf]
    maps: list[Tensor] = [torch.empty(0)] * 2
    for _ in range(repeats):
        for side, run in enumerate((ours, theirs)):
            started = time.process_time()
            maps[side] = run()
            best[side] = min(best[side], time.process_time() - started)
    apart = float((maps[0] - maps[1]).abs().max() / maps[1].abs().max())
    return best[0], best[1], apart


def integrated_gradients(model: nn.Module, count: int, steps: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Both with Gauss-Legendre, Captum's default rule, and batches of at most 256 rows."""
    x, target = images(count), torch.arange(count) % CLASSES
    score = class_score(model, target, space="logit")
    explainer = make_explainer("integrated_gradients", steps=steps, rule="gauss_legendre")
    captum = attr.IntegratedGradients(model)

    def ours() -> Tensor:
        return explainer.attribute(x, score, constant(0.0), max_batch=LIMIT).native

    def theirs() -> Tensor:
        found: Tensor = captum.attribute(x, 0.0, target=target, n_steps=steps, internal_batch_size=max(LIMIT, count))
        return found.float()

    return ours, theirs


def occlusion(model: nn.Module, count: int, size: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Windows that tile the image, so that both average the same."""
    x, target = images(count), torch.arange(count) % CLASSES
    score = class_score(model, target, space="logit")
    explainer = make_explainer("occlusion", size=size, stride=size)
    captum = attr.Occlusion(model)

    def ours() -> Tensor:
        return explainer.attribute(x, score, constant(0.0), max_batch=LIMIT).values

    def theirs() -> Tensor:
        found: Tensor = captum.attribute(
            x,
            sliding_window_shapes=(3, size, size),
            strides=(3, size, size),
            baselines=0.0,
            target=target,
            perturbations_per_eval=max(1, LIMIT // count),
        )
        return found[:, 0].float()

    return ours, theirs


class Averages:
    """RISE's sum in the shape that Captum's LimeBase wants of an interpretable model."""

    def __init__(self) -> None:
        """Begin empty."""
        self.result = torch.empty(0)

    def fit(self, train_data: Any, **_: Any) -> dict[str, Any]:
        """Average the scores over the masks that show a pixel."""
        total, shown = torch.zeros(SIZE * SIZE), torch.zeros(SIZE * SIZE)
        for masks, scores, _weights in train_data:
            total += scores.flatten() @ masks
            shown += masks.sum(dim=0)
        self.result = total / shown
        return {}

    def representation(self) -> Tensor:
        """Return the map."""
        return self.result[None]


def rise_with_captum(model: nn.Module, x: Tensor, masks: Masks, count: int) -> Tensor:
    """Return the RISE map of one image by Captum's LimeBase, the engine it has for random masks."""
    order = iter(range(count))

    def draw(_: Tensor, **__: Any) -> Tensor:
        return masks.build(torch.tensor([next(order)])).reshape(1, -1)

    def show(mask: Tensor, original: Tensor, **_: Any) -> Tensor:
        return original * mask.reshape(1, 1, SIZE, SIZE)

    lime = attr.LimeBase(
        model,
        Averages(),
        similarity_func=lambda *_, **__: torch.ones(1),
        perturb_func=draw,
        perturb_interpretable_space=True,
        from_interp_rep_transform=show,
        to_interp_rep_transform=None,
    )
    found: Tensor = lime.attribute(x, target=0, n_samples=count, perturbations_per_eval=LIMIT)
    return found.reshape(1, SIZE, SIZE)


def rise_as_published(model: nn.Module, x: Tensor, masks: Masks, count: int) -> Tensor:
    """Return the map by a loop like the published one: all masks are stored, then batches, then one product."""
    stored = masks.build(torch.arange(count))
    with torch.no_grad():
        scores = torch.cat([model(stored[i : i + LIMIT] * x)[:, 0] for i in range(0, count, LIMIT)])
    flat = stored.reshape(count, -1)
    return (scores @ flat / flat.sum(dim=0)).reshape(1, SIZE, SIZE)


def rise(model: nn.Module, count: int, peer: str) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """One image, the same masks on both sides."""
    x, score = images(1), class_score(model, 0, space="logit")
    explainer = make_explainer("rise", masks=count)

    def ours() -> Tensor:
        return explainer.attribute(
            x, score, constant(0.0), generator=torch.Generator().manual_seed(0), max_batch=LIMIT
        ).values

    def theirs() -> Tensor:
        masks = draw_masks(RISEConfig(masks=count), (SIZE, SIZE), torch.Generator().manual_seed(0))
        return (rise_with_captum if peer == "captum" else rise_as_published)(model, x, masks, count)

    return ours, theirs


def probes(model: nn.Module, count: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Perturbation saliency beside a loop like the published one: one probe, one blur and one forward at a time."""
    x, score = images(count), class_score(model, 0, space="logit")
    explainer = make_explainer("perturbation")

    def ours() -> Tensor:
        return explainer.attribute(x, score, gaussian_blur(3.0), max_batch=LIMIT).native

    def theirs() -> Tensor:
        side = math.ceil(SIZE / 5)
        centres = (torch.arange(side) + 0.5) * SIZE / side - 0.5
        near = torch.exp(-(torch.arange(SIZE) - centres[:, None]).square() / 50)
        near = near / near.amax(dim=1, keepdim=True)
        found = torch.zeros(count, side, side)
        with torch.no_grad():
            for row in range(count):
                image = x[row : row + 1]
                before = model(image)[0, 0]
                for i in range(side):
                    for j in range(side):
                        spot = near[i][:, None] * near[j][None, :]
                        after = model(image * (1 - spot) + gaussian_blur(3.0)(image) * spot)[0, 0]
                        found[row, i, j] = before - after
        return found

    return ours, theirs


def peak_of(side: str, steps: int) -> float:
    """Return the peak memory in MiB of a fresh process that runs integrated gradients."""
    command = [sys.executable, __file__, "--peak", side, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_peak(side: str, steps: int) -> None:
    """Run one side on 4 images and print the peak; `captum-default` is Captum without a batch limit."""
    model, x = network(), images(4)
    if side == "ours":
        explainer = make_explainer("integrated_gradients", steps=steps)
        explainer.attribute(x, class_score(model, 0), constant(0.0), max_batch=64)
    else:
        limit = 64 if side == "captum" else None
        attr.IntegratedGradients(model).attribute(x, 0.0, target=0, n_steps=steps, internal_batch_size=limit)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(*, quick: bool) -> str:
    """Return the page."""
    model, repeats = network(), 2 if quick else 5
    rows: list[tuple[str, str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]] = []
    for count in (1, 16):
        rows.append(
            (f"integrated gradients, {count} images, 50 steps", "Captum", integrated_gradients(model, count, 50))
        )
    for count in (1, 8):
        rows.append((f"occlusion, {count} images, 196 windows", "Captum", occlusion(model, count, 4)))
    masks = 500 if quick else 2000
    rows.append((f"RISE, 1 image, {masks} masks", "Captum (LimeBase)", rise(model, masks, "captum")))
    rows.append((f"RISE, 1 image, {masks} masks", "published loop, masks stored", rise(model, masks, "published")))
    rows.append(("perturbation, 1 image, 144 probes", "published loop, one by one", probes(model, 1)))
    lines = [
        "# Saliency core: speed and memory",
        "",
        f"Made by `python benchmarks/saliency_core.py`; torch {torch.__version__}, 1 thread, {platform.machine()}; "
        f"{sum(p.numel() for p in model.parameters())} weights, {SIZE} x {SIZE} pixels, at most {LIMIT} rows a batch.",
        "",
        "| what | beside | ours, CPU s | theirs, CPU s | times as fast | maps apart by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what, beside, pair in rows:
        ours, theirs, apart = turns(*pair, repeats=repeats)
        lines.append(f"| {what} | {beside} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.2f} | {apart:.1e} |")
        print(lines[-1], flush=True)
    lines += ["", "Peak memory of a process that runs integrated gradients on 4 images, MiB:", ""]
    lines += ["| side | 10 steps | 500 steps | growth |", "| --- | --- | --- | --- |"]
    names = {
        "ours": "ours, max_batch=64",
        "captum": "Captum, internal_batch_size=64",
        "captum-default": "Captum, default",
    }
    for side, name in names.items():
        few, many = peak_of(side, 10), peak_of(side, 500)
        lines.append(f"| {name} | {few:.0f} | {many:.0f} | {100 * (many / few - 1):.0f} % |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns and masks")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--peak", nargs=2, metavar=("SIDE", "STEPS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print_peak(options.peak[0], int(options.peak[1]))
        return
    page = measure(quick=options.quick)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "saliency.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
