"""The games of a comparison: the policy, and every machine on the same held-out seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.copies import shifted_copies
from moorelens.envs.playing import Player, play
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.fidelity import policy_choices
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from moorelens.fsm.reading import FeatureReader
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import ROLLOUTS, network_of
from moorelens.policies.players import PolicyPlayer
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.stages import Stage, StageContext

POLICY_GAMES, GAMES = "policy-games.npz", "games.npz"
_BLOCK = 25  # episodes played at once: under a minute of work, which is what a kill may cost

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class VariantGames:
    """What plays the games of a row: a machine, behind the observation quantiser of a file.

    `network`: the quantised network plays them too, which tells the quantisers' loss from the machine's.
    """

    name: str
    machine: str
    quantiser: str
    network: bool = True


def policy_stage(job: Job) -> Stage:
    """The policy plays the held-out games; of a deterministic game, those that only replay a fit game are marked."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        fitted = Rollouts.from_bytes(context.read(ROLLOUTS)) if job.deterministic else None

        def measured(player: str, seeds: tuple[int, ...]) -> Arrays:
            played = play(job.held_out, seeds, PolicyPlayer(job.loaded.policy), workers=job.workers)
            copies = np.zeros(len(seeds), dtype=np.bool_) if fitted is None else shifted_copies(played, of=fitted)
            return {"returns": played.returns, "steps": played.lengths, "copies": copies}

        return {POLICY_GAMES: encode_arrays(_in_blocks(context, job, ("policy",), measured))}

    return Stage(
        name="policy",
        run=run,
        config={"held_out": job.seeds("held_out"), "protocol": job.held_out},
        needs=(ROLLOUTS,),
        outputs=(POLICY_GAMES,),
    )


def games_stage(job: Job, games: VariantGames) -> Stage:
    """A machine, and its quantised network, play the held-out games; the policy watches the machine."""
    output = f"{games.name}/{GAMES}"

    def run(context: StageContext) -> Mapping[str, bytes]:
        network = network_of(job, context.read(games.quantiser))
        reader = FeatureReader(job.loaded.policy)
        stepper = compile_machine(decode_machine(context.read(games.machine)))
        players: dict[str, Player] = {"machine": MachinePlayer(stepper, network, features=reader)}
        if games.network:
            players["network"] = NetworkPlayer(network, features=reader)

        def measured(player: str, seeds: tuple[int, ...]) -> Arrays:
            played = play(job.held_out, seeds, players[player], workers=job.workers)
            return _counted(played, job=job, reader=reader)

        return {output: encode_arrays(_in_blocks(context, job, tuple(players), measured))}

    return Stage(
        name=f"play-{games.name}",
        run=run,
        config={
            "held_out": job.seeds("held_out"),
            "protocol": job.held_out,
            "games": msgspec.to_builtins(games),
        },
        needs=(games.machine, games.quantiser),
        outputs=(output,),
    )


def _blocks(job: Job) -> list[tuple[int, ...]]:
    seeds = job.seeds("held_out")
    return [seeds[i : i + _BLOCK] for i in range(0, len(seeds), _BLOCK)]


def _counted(played: Rollouts, *, job: Job, reader: FeatureReader) -> Arrays:
    """Return per episode: return, steps, and of a machine the decided steps and those in which the policy agrees."""
    found: Arrays = {"returns": played.returns, "steps": played.lengths}
    if "decided" in played.extras:
        agrees = policy_choices(job.loaded.policy, played, reader=reader) == played.actions
        for name, flags in (("decided", played.extras["decided"]), ("agrees", agrees)):
            spans = zip(played.offsets[:-1], played.offsets[1:], strict=True)
            found[name] = np.array([int(np.sum(flags[a:b])) for a, b in spans], dtype=np.int64)
    return found


def _in_blocks(
    context: StageContext,
    job: Job,
    players: tuple[str, ...],
    measured: Callable[[str, tuple[int, ...]], Arrays],
) -> Arrays:
    """Measure each player on block after block of the held-out seeds, going on where an earlier call was stopped."""
    saved = context.checkpoint.load()
    done: dict[str, bytes] = dict(saved) if saved else {}
    units = [(player, seeds) for player in players for seeds in _blocks(job)]
    joined: dict[str, list[npt.NDArray[Any]]] = {}
    with context.progress.task("playing", total=len(units)) as task:
        for player, seeds in units:
            key = f"{player}/{seeds[0]}"
            if key not in done:
                done[key] = encode_arrays(measured(player, seeds))
                if context.checkpoint.due():
                    context.checkpoint.save(done)
            for name, array in decode_arrays(done[key]).items():
                joined.setdefault(f"{player}/{name}", []).append(array)
            task.advance()
    return {name: np.concatenate(parts) for name, parts in joined.items()}
