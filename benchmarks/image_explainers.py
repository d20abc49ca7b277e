"""What each explainer of pictures is worth: deletion, insertion, pointing, calls and seconds, and what must hold of it.

    python benchmarks/image_explainers.py [--parts side acceptance random watermark] [--images N] [--out FOLDER]

`side`: every explainer, and Captum's where it has the method, on planted shapes and on scikit-learn's digits, its maps
ranked in 7 x 7, 14 x 14 and 28 x 28 cells. `acceptance`: shapes that the network names rightly and whose glyph is worth
more than half of its answer. `random`: the same network with random weights. `watermark`: how much of the map lies on
the letter in the corner. Writes image_explainers.json, a part anew each time;
`image_explainers_pages.py` makes tables and a drawing of it.

Test pictures are drawn from seed 2026; settings were chosen on pictures of other seeds (docs/images.md).
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moorelens.saliency.baselines import blur, gaussian_blur
from moorelens.saliency.curves import causal_curve
from moorelens.saliency.images.bundled import bundled_model
from moorelens.saliency.images.digits import load_digits
from moorelens.saliency.localisation import area_of, mass_in, pointing_game
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.sanity import randomise_layer
from moorelens.saliency.scores import BoundScore, class_score
from moorelens.saliency.shapes import make_shapes
from moorelens.stats import estimate, paired_difference

SEED, GRIDS, STEPS, NETWORKS = 2026, (7, 14, 28), 50, 8
OPTIMISED = ("igos", "igos+", "igos++")
OWN = (*OPTIMISED, "integrated_gradients", "smoothgrad", "gradcam", "rise", "occlusion", "perturbation")
NO_MODEL = "smoothed contrast, no model"
MapOf = Callable[[BoundScore, Tensor, Tensor], tuple[Tensor, int]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Pictures in model-input space with the score of their class, their blurred copies, and where the cause is."""

    x: Tensor
    y: Tensor
    blurred: Tensor
    score: BoundScore
    truth: Tensor | None

    def first(self, count: int) -> Asked:
        """Return the first pictures of them."""
        rows = torch.arange(min(count, len(self.x)))
        truth = None if self.truth is None else self.truth[rows]
        return Asked(
            x=self.x[rows], y=self.y[rows], blurred=self.blurred[rows], score=self.score.select(rows), truth=truth
        )


def asked(module: nn.Module, x: Tensor, y: Tensor, truth: Tensor | None, *, sure: bool) -> Asked:
    """Return the pictures that `module` names rightly, with `sure` those alone whose blurring costs more than half."""
    score, blurred = class_score(module, y), gaussian_blur()(x)
    with torch.no_grad():
        right = module(x).argmax(dim=1) == y
        gap = score(x) - score(blurred)
    rows = torch.nonzero(right & ((gap > 0.5) if sure else True))[:, 0]
    kept = None if truth is None else truth[rows]
    return Asked(x=x[rows], y=y[rows], blurred=blurred[rows], score=score.select(rows), truth=kept)


def shapes(name: str, count: int, *, seed: int = SEED, sure: bool = True) -> tuple[nn.Module, Asked]:
    """Return the network `name` and `count` planted pictures that it is asked about."""
    model = bundled_model(name)
    drawn = make_shapes(2 * count + 20, generator=torch.Generator().manual_seed(seed))
    found = asked(model.module, model.normaliser(drawn.x), drawn.y, drawn.truth, sure=sure)
    return model.module, found.first(count)


def digits(count: int) -> tuple[nn.Module, Asked]:
    """Return the network of digits and `count` digits of its test set."""
    model, drawn = bundled_model("digits"), load_digits(test=True)
    return model.module, asked(model.module, model.normaliser(drawn.x), drawn.y, None, sure=False).first(count)


def ours(method: str, **settings: Any) -> MapOf:
    """Return the maps of an explainer of ours, and the rows that its model saw."""

    def explain(score: BoundScore, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
        found = make_explainer(method, **settings).attribute(x, score, gaussian_blur())
        return found.saliency(), found.n_forward

    return explain


def captums(method: str) -> MapOf:
    """Return the maps of Captum's method of that name with our settings, and the rows that its model saw."""
    from captum import attr

    def explain(score: BoundScore, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
        calls, module = [0], score.module
        assert module is not None

        def forward(points: Tensor) -> Tensor:
            calls[0] += len(points)
            found: Tensor = module(points).softmax(dim=1)
            return found

        blurred = gaussian_blur()(x)
        if method == "integrated_gradients":
            maps = attr.IntegratedGradients(forward).attribute(
                x, blurred, target=y, n_steps=32, internal_batch_size=256
            )
        elif method == "occlusion":
            side = x.shape[2] // 7
            maps = attr.Occlusion(forward).attribute(
                x, (x.shape[1], side, side), baselines=blurred, target=y, strides=(x.shape[1], side // 2, side // 2)
            )
        elif method == "smoothgrad":
            spread = 0.15 * float(x.max() - x.min())
            with torch.random.fork_rng():
                torch.manual_seed(0)
                tunnel = attr.NoiseTunnel(attr.Saliency(forward))
                maps = tunnel.attribute(x, nt_samples=32, nt_samples_batch_size=4, stdevs=spread, target=y)
        else:
            last = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)][-1]
            calls[0] += len(x)
            maps = attr.LayerGradCam(module, last).attribute(x, target=y, relu_attributions=True)
            maps = attr.LayerAttribution.interpolate(maps, tuple(x.shape[2:]), "bilinear")
        return maps.detach().float().sum(dim=1), calls[0]

    return explain


def row(name: str, explain: MapOf, pictures: Asked, grids: tuple[int | None, ...]) -> list[dict[str, Any]]:
    """Return what was measured of one explainer's maps, ranked in the cells of each grid, or pixel by pixel (None)."""
    started = time.process_time()
    saliency, calls = explain(pictures.score, pictures.x, pictures.y)
    seconds, count = time.process_time() - started, len(pictures.x)
    found = []
    for side in grids:
        grid = None if side is None else PatchGrid.regular(side, side, tuple(pictures.x.shape[2:]))  # type: ignore[arg-type]
        areas = {
            mode: causal_curve(
                pictures.x, pictures.blurred, pictures.score, saliency=saliency, mode=mode, steps=STEPS, grid=grid
            ).auc
            for mode in ("deletion", "insertion")
        }
        line: dict[str, Any] = {"explainer": name, "grid": side, "images": count}
        line |= {mode: number(area) for mode, area in areas.items()}
        if pictures.truth is not None:
            line["pointing"] = number(pointing_game(saliency, pictures.truth))
            line["mass"] = number(mass_in(saliency.clamp(min=0), pictures.truth))
        line |= {"calls": round(calls / count), "seconds": round(seconds / count, 4)}
        line["raw"] = {mode: [round(float(value), 6) for value in area] for mode, area in areas.items()}
        found.append(line)
    print(name, {key: value for key, value in found[0].items() if key != "raw"}, flush=True)
    return found


def number(values: Tensor) -> list[float | None]:
    """Return the mean of `values (B,)` and its 95 % interval."""
    found = estimate(values.double().nan_to_num(0).numpy())
    return [None if part is None else round(float(part), 4) for part in (found.mean, found.low, found.high)]


def side_by_side(count: int) -> dict[str, Any]:
    """Every explainer on shapes and digits; those that optimise masks once for each grid, at that size."""
    tables: dict[str, Any] = {}
    for name, (_, pictures) in {"shapes": shapes("shapes-bn", count), "digits": digits(count)}.items():
        rows: list[dict[str, Any]] = []
        for method in OWN:
            if method in OPTIMISED:
                for side in GRIDS:
                    rows += row(method, ours(method, size=side), pictures, (side,))
            else:
                rows += row(method, ours(method), pictures, GRIDS)
        for method in ("integrated_gradients", "smoothgrad", "gradcam", "occlusion"):
            rows += row(f"Captum {method}", captums(method), pictures, GRIDS)
        rows += row("chance", chance, pictures, GRIDS)
        tables[name] = [{key: value for key, value in line.items() if key != "raw"} for line in rows]
    return tables


def chance(score: BoundScore, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
    """Return random maps."""
    return torch.rand(len(x), *x.shape[2:], generator=torch.Generator().manual_seed(1)), 0


def acceptance(count: int, methods: Sequence[str] = OWN) -> dict[str, Any]:
    """The maps of shapes at each explainer's defaults, ranked pixel by pixel, and the paired differences asked for."""
    _, pictures = shapes("shapes-bn", count)
    rows = [row(method, ours(method), pictures, (None,))[0] for method in methods]
    raw = {line["explainer"]: line.pop("raw") for line in rows}
    pairs = [
        ("insertion", "igos++", "igos"),
        ("insertion", "igos", "integrated_gradients"),
        ("deletion", "gradcam", "igos"),
        ("deletion", "gradcam", "igos++"),
    ]
    differences = []
    for mode, high, low in pairs:
        if not {high, low} <= set(methods):
            continue
        found = paired_difference(raw[high][mode], raw[low][mode])
        parts = [None if part is None else round(float(part), 4) for part in (found.mean, found.low, found.high)]
        differences.append({"curve": mode, "higher": high, "lower": low, "difference": parts})
    return {"rows": rows, "differences": differences, "area": number(area_of(known(pictures)))}


def random_network(count: int) -> dict[str, Any]:
    """Return how often each explainer points at the glyph, and at one of two distractors, without trained weights.

    A network with random weights sees contrast, so chance is not the share of the area: `NO_MODEL` is how often the
    largest contrast is the glyph's, without any network. The pictures are shared out among `NETWORKS` networks.
    """
    trained, pictures = shapes("shapes-bn", count)
    drawn = make_shapes(2 * count + 20, generator=torch.Generator().manual_seed(SEED))
    at = [int((drawn.truth == truth).flatten(1).all(dim=1).nonzero()[0]) for truth in known(pictures)]
    distractors = drawn.parts["distractors"][torch.tensor(at)]
    found: dict[str, Any] = {"images": count, "networks": NETWORKS, "area": number(area_of(known(pictures)))}
    for method in OWN:
        hits: dict[str, list[Tensor]] = {"glyph": [], "distractors": []}
        for place in range(NETWORKS):
            module, generator = copy.deepcopy(trained), torch.Generator().manual_seed(place)
            for layer in module.modules():
                randomise_layer(layer, generator=generator)
            rows = torch.arange(place, count, NETWORKS)
            saliency, _ = ours(method)(class_score(module, pictures.y[rows]), pictures.x[rows], pictures.y[rows])
            hits["glyph"].append(pointing_game(saliency, known(pictures)[rows]))
            hits["distractors"].append(pointing_game(saliency, distractors[rows]))
        found[method] = {name: number(torch.cat(parts)) for name, parts in hits.items()}
        print("random", method, found[method], flush=True)
    contrast = blur((pictures.x - pictures.blurred).abs().sum(dim=1, keepdim=True), 2.0, 6)[:, 0]
    places = {"glyph": known(pictures), "distractors": distractors}
    found[NO_MODEL] = {name: number(pointing_game(contrast, of)) for name, of in places.items()}
    return found


def known(pictures: Asked) -> Tensor:
    """Return where the cause is, of pictures that have one."""
    assert pictures.truth is not None
    return pictures.truth


def watermark(count: int) -> dict[str, Any]:
    """Return the share of the maps' mass on the letter, for the network that reads it and for the one that does not."""
    found: dict[str, Any] = {}
    for name in ("watermark-biased", "watermark-clean"):
        model = bundled_model(name)
        drawn = make_shapes(
            4 * count + 20, generator=torch.Generator().manual_seed(SEED), task="watermark", p_spurious=1.0
        )
        pictures = asked(model.module, model.normaliser(drawn.x), drawn.y, drawn.parts["tag"], sure=True).first(count)
        tag = known(pictures)
        found[name] = {"images": len(pictures.x), "area": number(area_of(tag))}
        for method in ("igos", "igos+", "igos++", "integrated_gradients", "gradcam"):
            saliency, _ = ours(method)(pictures.score, pictures.x, pictures.y)
            found[name][method] = number(mass_in(saliency.clamp(min=0), tag))
            print(name, method, found[name][method], flush=True)
    return found


def merged(before: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return `before` with the rows and differences that were measured again."""

    def both(name: str, key: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        found = {key(line): line for line in (*before.get(name, []), *new[name])}
        return list(found.values())

    rows = sorted(both("rows", lambda line: line["explainer"]), key=lambda line: OWN.index(line["explainer"]))
    differences = both("differences", lambda line: (line["curve"], line["higher"], line["lower"]))
    return {"rows": rows, "differences": differences, "area": new["area"]}


PARTS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "acceptance": acceptance,
    "random": random_network,
    "watermark": watermark,
    "side": side_by_side,
}
IMAGES = {"acceptance": 200, "random": 24, "watermark": 40, "side": 24}


def main() -> None:
    """Measure the parts that are asked for and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--images", type=int, default=None, help="pictures a part, instead of its own number")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--explainers", nargs="+", choices=OWN, help="of acceptance: these alone, the others are kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    file = given.out / "image_explainers.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for part in given.parts:
        count = given.images or IMAGES[part]
        if part == "acceptance" and given.explainers:
            found[part] = merged(found.get(part, {}), acceptance(count, given.explainers))
        else:
            found[part] = PARTS[part](count)
        found["versions"] = {"torch": str(torch.__version__), "machine": platform.machine(), "threads": 1}
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
