"""What gets fewer states at the same return: one change at a time to how quantisers are fitted, on control policies.

    python benchmarks/quantiser_ablation.py OUT.jsonl cartpole=mmn:FILE@CartPole-v1 acrobot=mmn:FILE@Acrobot-v1

Every finished row is appended to OUT.jsonl, and rows that it holds are not run again; the table is printed from it.
Settings are short on purpose (24 rounds at most, 20 selection games): rows are compared with one another, not with runs
of the presets. Losses are on 50 held-out games; machines are read off the same number of fit games in all rows.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from moorelens.envs.playing import play
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.extract import machine_of
from moorelens.fsm.fidelity import policy_choices
from moorelens.fsm.finetune import FineTuning
from moorelens.fsm.merging import merge_codes
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from moorelens.fsm.quantise import QuantiserSearch
from moorelens.fsm.quantisers.unit import plateau
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.seeds import episode_seeds
from moorelens.fsm.segments import Segments
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.job import Job, open_job
from moorelens.policies.players import PolicyPlayer

FIT_STEPS, SELECTION_STEPS, HELD_OUT = 8_000, 10_000, 50
ENTROPY_WEIGHT, SHARPNESS = 0.05, 0.1
SHORT = QuantiseConfig(
    sizes=((8, 8),), rounds=24, restarts=0, tolerance=0.02, patience=2, selection_episodes=20, evaluate_every=2
)


class EntropyTuning(FineTuning):
    """Fine-tuning with a price on the entropy of each digit over a batch of the policy's own features and states."""

    def loss(self, batch: Segments) -> Tensor:
        """Return the loss of a batch with the price."""
        vectors = {"observation": batch.features[batch.mask], "state": batch.states[batch.mask]}
        price = sum(entropy(self._quantisers[name], x) for name, x in vectors.items())
        return super().loss(batch) + ENTROPY_WEIGHT * price


def entropy(qbn: Any, x: Tensor) -> Tensor:
    """Return the mean over digits of the entropy, in bits, of a smoothed digit over the rows of `x (B, D)`."""
    smooth = plateau(qbn.preactivation(x))
    levels = torch.tensor([-1.0, 0.0, 1.0])
    shares = (-((smooth[..., None] - levels) ** 2) / SHARPNESS).softmax(dim=-1).mean(dim=0)
    return -(shares * shares.clamp_min(1e-9).log2()).sum(dim=-1).mean()


class EntropySearch(QuantiserSearch):
    """A search that fine-tunes with the price on entropy."""

    def _begin(self, *arguments: Any, **options: Any) -> FineTuning:
        begun = super()._begin(*arguments, **options)
        return EntropyTuning(begun.network, begun._quantisers, self.config)


class TeacherSearch(QuantiserSearch):
    """A search that learns from the policy's own episodes only, never from those that the quantised network plays."""

    def _play(self, seeds: Any, player: Any, *, max_steps: int | None = None) -> Any:
        practising = isinstance(player, NetworkPlayer) and max_steps is not None
        return super()._play(seeds, PolicyPlayer(self.policy) if practising else player, max_steps=max_steps)


SETTINGS: dict[str, tuple[type[QuantiserSearch], dict[str, Any]]] = {
    "8 and 8 digits": (QuantiserSearch, {}),
    "sizes from small to large": (QuantiserSearch, {"sizes": ((2, 4), (4, 4), (8, 8))}),
    "price on the entropy of digits": (EntropySearch, {}),
    "policy's own episodes only": (TeacherSearch, {}),
    "two levels, straight through tanh": (QuantiserSearch, {"levels": 2}),
    "FSQ, three levels": (QuantiserSearch, {"kind": "fsq"}),
}
MERGED = ", then codes merged"


class Bench:
    """A policy with its held-out returns, on which settings are tried."""

    def __init__(self, job: Job) -> None:
        self.job, self.reader = job, FeatureReader(job.loaded.policy)
        self.held_out = episode_seeds("held_out", HELD_OUT, seed=0)
        self.policy = play(job.fitting, self.held_out, PolicyPlayer(job.loaded.policy)).returns
        first = play(job.fitting, episode_seeds("fit", 32, seed=0), PolicyPlayer(job.loaded.policy))
        self.fit = episode_seeds("fit", max(32, int(FIT_STEPS / first.lengths.mean())), seed=0)
        self.rollouts = first

    def searched(self, kind: type[QuantiserSearch], options: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return the quantisers of a setting, and whether they kept the return on the selection seeds."""
        search = kind(
            policy=self.job.loaded.policy,
            request=self.job.fitting,
            config=msgspec.structs.replace(SHORT, **options),
            rollouts=self.rollouts,
            reader=self.reader,
        )
        found, report = search.run()
        return found, report.chosen.kept

    def merged(self, quantisers: dict[str, Any]) -> dict[str, Any]:
        """Return the quantisers with their codes merged as far as the selection seeds allow."""
        # A dozen merges are judged on the same games, so there are more of them where they are short.
        count = int(np.clip(SELECTION_STEPS / self.rollouts.lengths.mean(), SHORT.selection_episodes, 200))
        seeds = episode_seeds("selection", count, seed=0)

        def score(network: MooreMachineNetwork) -> float:
            return float(play(self.job.fitting, seeds, NetworkPlayer(network, features=self.reader)).returns.mean())

        network = self._network(quantisers)
        played = play(self.job.fitting, self.fit, NetworkPlayer(network, features=self.reader))
        policy_score = float(play(self.job.fitting, seeds, PolicyPlayer(self.job.loaded.policy)).returns.mean())
        least = min(score(network), policy_score - SHORT.tolerance * abs(policy_score))
        return merge_codes(quantisers, network=network, played=played, score=score, at_least=least)[0]

    def measured(self, quantisers: Mapping[str, Any]) -> dict[str, Any]:
        """Return sizes, losses and fidelity of the machine that these quantisers give."""
        network = self._network(quantisers)
        player = NetworkPlayer(network, features=self.reader)
        machine, _ = machine_of(play(self.job.fitting, self.fit, player), player=player)
        alone = MachinePlayer(compile_machine(machine), network, features=self.reader)
        games = play(self.job.fitting, self.held_out, alone)
        agrees = policy_choices(self.job.loaded.policy, games, reader=self.reader) == games.actions
        own = play(self.job.fitting, self.held_out, player)
        return {
            "states": machine.n_states,
            "symbols": machine.n_symbols,
            "folded": fold(machine).machine.n_states,
            "policy_return": float(self.policy.mean()),
            "network_loss": float((self.policy - own.returns).mean()),
            "loss": float((self.policy - games.returns).mean()),
            "fidelity": float(agrees.mean()),
            "decided": float(games.extras["decided"].mean()),
        }

    def _network(self, quantisers: Mapping[str, Any]) -> MooreMachineNetwork:
        return MooreMachineNetwork(
            self.job.loaded.policy, observation=quantisers["observation"], state=quantisers["state"]
        )


def run(out: Path, policies: Mapping[str, str]) -> None:
    """Run every row that `out` does not hold yet."""
    for name, reference in policies.items():
        file, _, env = reference.rpartition("@")
        bench: Bench | None = None
        for setting, (kind, options) in SETTINGS.items():
            if {(name, setting), (name, setting + MERGED)} <= finished(out).keys():
                continue
            bench = bench or Bench(open_job(ExplainConfig(policy=file, env=env, preset="quick")))
            began = time.process_time()
            found, kept = bench.searched(kind, options)
            searched = time.process_time() - began
            _append(out, policy=name, setting=setting, kept=kept, cpu=searched, **bench.measured(found))
            began = time.process_time()
            merged = bench.merged(found)
            cpu = searched + time.process_time() - began
            _append(out, policy=name, setting=setting + MERGED, kept=kept, cpu=cpu, **bench.measured(merged))


def finished(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of `out` by policy and setting."""
    lines = out.read_text().splitlines() if out.exists() else []
    rows = [json.loads(line) for line in lines]
    return {(row["policy"], row["setting"]): row for row in rows}


def table(rows: Mapping[tuple[str, str], dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    heads = (
        "policy",
        "setting",
        "kept",
        "states",
        "folded",
        "symbols",
        "network's loss",
        "loss",
        "fidelity",
        "decided",
    )
    lines = [f"| {' | '.join((*heads, 'CPU s'))} |", "|---|---|---|" + "---:|" * 8]
    for row in rows.values():
        shares = [f"{100 * row[key]:.1f} %" for key in ("fidelity", "decided")]
        losses = [f"{row[key]:.4g}" for key in ("network_loss", "loss")]
        sizes = [str(row[key]) for key in ("states", "folded", "symbols")]
        kept = "yes" if row["kept"] else "no"
        cells = [row["policy"], row["setting"], kept, *sizes, *losses, *shares, f"{row['cpu']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _append(out: Path, **row: Any) -> None:
    with out.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), dict(argument.split("=", 1) for argument in sys.argv[2:]))
    print(table(finished(Path(sys.argv[1]))))
