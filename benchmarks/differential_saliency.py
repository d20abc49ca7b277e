"""Differential saliency of one pair: our mean map and all per-digit maps against the published loop, and a tidy one.

Run it with `python benchmarks/differential_saliency.py [--repeats N]`; it prints ratios of medians taken in one run.
The published loop (restated from spec-fsm 6.6, no line of it copied) asks one digit and one point of the path at a
time; the tidy loop asks one digit at a time with all points in a batch. All of them on the same 51 points, and ours
also with our default of 16, whose sums are nearer to what they should be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.qbn import QBNSpec, TernaryQBN
from moorelens.policies.config import Architecture
from moorelens.policies.networks import build_network, initialise
from moorelens.saliency.differential.digits import observation_digits
from moorelens.saliency.differential.maps import differential_map, digit_maps

DIGITS, POINTS = 100, 51


def main() -> None:
    """Time the loops and ours, interleaved, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    network, graded, x, baseline = _setting()
    ours = observation_digits(network).graded
    chosen = torch.ones(1, DIGITS, dtype=torch.bool)

    def mean_map() -> Tensor:
        return differential_map(
            ours, x, baseline, chosen, target="squared", steps=POINTS, rule="mean", max_batch=16
        ).values

    def every_digit() -> Tensor:
        return digit_maps(ours, x, baseline, target="squared", steps=POINTS, rule="mean", max_batch=16)

    ways: dict[str, Callable[[], Tensor]] = {
        "published_loop": lambda: _published(graded, x, baseline),
        "tidy_loop": lambda: _tidy(graded, x, baseline),
        "all_digits": every_digit,
        "mean_map": mean_map,
        "mean_map_16": lambda: differential_map(ours, x, baseline, chosen, target="squared").values,
    }
    ways["all_digits_16"] = lambda: digit_maps(ours, x, baseline, target="squared")
    expected = every_digit().mean(dim=1)
    torch.testing.assert_close(mean_map(), expected, atol=1e-5, rtol=1e-3)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            found = way()
            seconds[name].append(time.perf_counter() - started)
            if name.endswith("loop"):
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {
        f"{loop}/{name}": round(medians[loop] / medians[name], 1)
        for loop in ("published_loop", "tidy_loop")
        for name in ("mean_map", "mean_map_16", "all_digits", "all_digits_16")
    }
    print(json.dumps({"digits": DIGITS, "points": POINTS, "seconds": medians, "ratios": ratios}, indent=1))


def _setting() -> tuple[MooreMachineNetwork, Callable[[Tensor], Tensor], Tensor, Tensor]:
    """The published Pong shapes: convolutions to 200 features, a quantiser of 100 digits behind 800 hidden units."""
    policy = build_network(
        env_id="ALE/Pong-v5",
        observation_shape=(1, 80, 80),
        observation_dtype="uint8",
        action_names=("a", "b", "c"),
        architecture=Architecture(body="conv", sizes=(32, 32, 16, 8), hidden="relu", cell="gru", units=32),
    )
    generator = torch.Generator().manual_seed(0)
    initialise(policy, generator=generator, actor_gain=1.0)
    spec = QBNSpec(size=policy.spec.feature_size, hidden=(8 * DIGITS,), digits=DIGITS, output="relu6")
    qbn = TernaryQBN(spec, generator=generator)
    for parameter in (*policy.parameters(), *qbn.parameters()):
        parameter.requires_grad_(False)
    x, baseline = torch.rand(2, 1, 1, 80, 80, generator=generator)
    state = TernaryQBN(QBNSpec(size=32, hidden=(8,), digits=4, output="tanh"), generator=generator)
    network = MooreMachineNetwork(policy, observation=qbn, state=state)
    return network, lambda z: qbn.preactivation(policy.features(z)), x, baseline


def _published(graded: Callable[[Tensor], Tensor], x: Tensor, baseline: Tensor) -> Tensor:
    """One digit, one point: a forward and a backward pass each, and the reference asked anew each time."""
    total = torch.zeros_like(x)
    for digit in range(DIGITS):
        gradient = torch.zeros_like(x)
        for k in range(POINTS):
            z = (baseline + k / (POINTS - 1) * (x - baseline)).requires_grad_()
            reference = graded(x)[:, digit].detach()
            loss = (graded(z)[:, digit] - reference).square().sum()
            gradient += torch.autograd.grad(loss, z)[0]
        total += gradient / POINTS
    return (x - baseline) * total / DIGITS


def _tidy(graded: Callable[[Tensor], Tensor], x: Tensor, baseline: Tensor) -> Tensor:
    """One digit at a time, all points in one batch."""
    t = torch.linspace(0, 1, POINTS).reshape(-1, 1, 1, 1)
    reference = graded(x).detach()
    total = torch.zeros_like(x)
    for digit in range(DIGITS):
        z = (baseline + t * (x - baseline)).requires_grad_()
        loss = (graded(z)[:, digit] - reference[:, digit]).square().sum()
        total += torch.autograd.grad(loss, z)[0].mean(dim=0, keepdim=True)
    return (x - baseline) * total / DIGITS


if __name__ == "__main__":
    main()
