"""How long an attention graph takes and how often it asks the network, beside the published search.

    python benchmarks/attention_graph.py [--quick] [--out benchmarks/results]

Writes `attention_graph.json`. Both sides see the same trained networks, pictures, patches, baseline and order of
patches. The published search is written anew from its description: successors are not told apart, nothing is
remembered, one picture goes through the network at a time, and the graph is a tree of the first three removals. Its
order comes from another method (I-GOS), whose cost is left out here; ours is counted with its own. Seconds are CPU
seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from moorelens.pipelines.images.samples import bundled_samples
from moorelens.saliency.baselines import gaussian_blur
from moorelens.saliency.images.bundled import bundled_model
from moorelens.saliency.images.models import ImageModel
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.sets.graph import build_sag
from moorelens.saliency.sets.guide import ends_guide
from moorelens.saliency.sets.search import find_mse
from moorelens.saliency.sets.values import SetValue, class_value

SIDE, Q, ROOTS, LEVELS = 7, 15, 10, 49
P_HIGH, P_LOW = 0.9, 0.4


@dataclass(kw_only=True)
class Published:
    """The published search and tree on one picture; `asked` holds every set in the order of the forwards."""

    v: SetValue
    beam: int
    asked: list[int] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)

    def value(self, bits: int) -> float:
        """One forward of one picture; a fresh function each time, so that nothing is remembered."""
        self.asked.append(bits)
        operator = self.v.operators[0]
        with torch.no_grad():
            return float(self.v.score(operator.apply(self.v.grid.keep([bits])))[0])

    def search(self, order: list[int]) -> None:
        """Grow every set of the beam by the q best patches it lacks, keep the best, duplicates and all."""
        threshold = P_HIGH * self.value(self.v.everything)
        beam = [0]
        for _ in range(LEVELS):
            grown = [bits | 1 << patch for bits in beam for patch in [p for p in order if not bits >> p & 1][:Q]]
            scored = sorted(((self.value(bits), bits) for bits in grown), key=lambda pair: -pair[0])
            beam = []
            for value, bits in scored:
                if value > threshold:
                    self.keep(self.shrink(bits, threshold))
                elif len(beam) <= self.beam:
                    beam.append(bits)
            if len(self.roots) > ROOTS or not beam:
                return

    def shrink(self, bits: int, threshold: float) -> int:
        """Drop patches in the order of their numbers while the rest is enough, until a pass changes nothing."""
        changed = True
        while changed:
            changed = False
            for patch in range(self.v.count):
                if bits >> patch & 1 and self.value(bits ^ 1 << patch) > threshold:
                    bits, changed = bits ^ 1 << patch, True
        return bits

    def keep(self, bits: int) -> None:
        """Store a set that is new."""
        if bits not in self.roots:
            self.roots.append(bits)

    def tree(self, full: float) -> int:
        """Remove the first three patches of every set, each time as a node of its own; return the number of nodes."""
        chosen: list[int] = []
        for root in self.roots:
            if len(chosen) < 3 and all((root & other).bit_count() <= 1 for other in chosen):
                chosen.append(root)
        waiting, nodes = list(chosen), 0
        while waiting:
            bits = waiting.pop()
            nodes += 1
            if self.value(bits) > P_LOW * full and bits.bit_count() > 1:
                patches = [patch for patch in range(self.v.count) if bits >> patch & 1]
                waiting += [bits ^ 1 << patch for patch in patches[:3]]
        return nodes


@dataclass(kw_only=True)
class Side:
    """One search of one picture."""

    seconds: float
    forwards: int
    distinct: int
    sets: int
    nodes: int


def picture_values(model: ImageModel, picture: torch.Tensor) -> SetValue:
    """A fresh function of sets for the class that the model names."""
    x = model.normaliser(picture[None])
    with torch.no_grad():
        target = int(model.module(x).argmax())
    size = (picture.shape[1], picture.shape[2])
    return class_value(model.module, x, target, gaussian_blur(), PatchGrid.regular(SIDE, SIDE, size))


def ours(model: ImageModel, picture: torch.Tensor, beam: int) -> Side:
    """Search and graph as `moorelens image sag` does them, certification included."""
    v = picture_values(model, picture)
    started = time.process_time()
    search = find_mse(v, p_high=P_HIGH, beam=beam, q=Q, max_roots=ROOTS)
    sag = build_sag(v, search, p_low=P_LOW)
    seconds = time.process_time() - started
    return Side(seconds=seconds, forwards=v.n_forward, distinct=v.n_evals, sets=len(search.found), nodes=len(sag.nodes))


def published(model: ImageModel, picture: torch.Tensor, beam: int) -> Side:
    """The published search with our order of patches, which is not counted."""
    v = picture_values(model, picture)
    order = torch.argsort(ends_guide(v), descending=True, stable=True).tolist()
    run = Published(v=v, beam=beam)
    started = time.process_time()
    run.search(order)
    nodes = run.tree(v.full)
    seconds = time.process_time() - started
    return Side(
        seconds=seconds, forwards=len(run.asked), distinct=len(set(run.asked)), sets=len(run.roots), nodes=nodes
    )


def summary(sides: list[Side]) -> dict[str, Any]:
    """Median and largest of every number."""
    rows = [asdict(side) for side in sides]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        name: {"median": round(statistics.median(values), 4), "max": round(max(values), 4)}
        for name, values in columns.items()
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two pictures")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = 2 if options.quick else 6
    found: dict[str, Any] = {
        "grid": f"{SIDE}x{SIDE}", "q": Q, "p_high": P_HIGH, "p_low": P_LOW, "pictures": count,
        "python": platform.python_version(), "torch": torch.__version__, "models": {},
    }  # fmt: skip
    for name in ("shapes-attention", "shapes-bn"):
        model = bundled_model(name)
        pictures = [sample.picture.raw for sample in bundled_samples(name, count=count, seed=0)]
        rows: dict[str, Any] = {"weights": sum(part.numel() for part in model.module.parameters())}
        ours(model, pictures[0], 3)
        for beam in (3, 5):
            rows[f"beam {beam}"] = {
                "ours": summary([ours(model, picture, beam) for picture in pictures]),
                "published": summary([published(model, picture, beam) for picture in pictures]),
            }
            print(name, beam, json.dumps(rows[f"beam {beam}"]), flush=True)
        found["models"][name] = rows
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "attention_graph.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
