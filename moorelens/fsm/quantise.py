"""Finding quantisers that keep the policy's return: sizes from small to large, judged on selection seeds only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import Player, play
from moorelens.envs.pool import Workers
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.finetune import FineTuning, cosine
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.pretrain import FitReport
from moorelens.fsm.quantisers.base import FittableQuantiser
from moorelens.fsm.quantisers.config import FitSettings
from moorelens.fsm.quantisers.files import read_quantisers, write_quantisers
from moorelens.fsm.quantisers.registry import new_quantiser
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.seeds import episode_seeds
from moorelens.fsm.segments import Practice
from moorelens.fsm.sequences import padded, sequences_of
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.players import PolicyPlayer
from moorelens.runs.checkpoints import Checkpoint
from moorelens.runs.progress import NullProgress, Progress, TaskProgress


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate on the selection seeds: its mean return, agreement with the policy, and how many codes it used.

    `candidate`: size and restart as tried; `round`: rounds of fine-tuning before it; `kept`: the return is kept, on the
    confirmation games too where there are any. The numbers are of the first `selection_episodes` games.
    """

    candidate: int
    round: int
    score: float
    agreement: float
    states: int
    symbols: int
    kept: bool

    def rank(self) -> tuple[float, ...]:
        """Return what candidates are compared by: a kept return, the return itself, agreement, and fewer codes."""
        return (float(self.kept), self.score, round(self.agreement, 2), -float(self.states + self.symbols))


class QuantiseReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried and what was chosen; `reconstruction` is of the chosen size, before fine-tuning."""

    policy_score: float
    chosen: Judgement
    size: tuple[int, int]
    judgements: tuple[Judgement, ...]
    reconstruction: dict[str, FitReport]
    updates: int


class _Progress(msgspec.Struct, kw_only=True):
    """Where a search stands: the candidate and round to go on with, all judgements, and the best quantisers' bytes.

    `judged`: whether the weights after `round` rounds have been judged already.
    """

    candidate: int = 0
    round: int = 0
    judgements: list[Judgement] = []
    best: Judgement | None = None
    reconstruction: dict[int, dict[str, FitReport]] = {}
    updates: int = 0
    judged: bool = False
    best_files: bytes = b""


@dataclass(kw_only=True)
class QuantiserSearch:
    """Fits quantisers to a policy; every random choice follows from `config.seed`, and a killed search goes on.

    `rollouts`: the policy's own greedy episodes. `request`: the environment that practice and selection games are
    played in; the first of each is played in `plain` instead where given (the game without no-op starts, which the
    published protocol judges). `workers`: processes that step games.
    """

    policy: RecurrentPolicy
    request: EnvironmentRequest
    config: QuantiseConfig
    rollouts: Rollouts
    reader: FeatureReader
    plain: EnvironmentRequest | None = None
    workers: int | Workers = 1

    def run(
        self,
        *,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None = None,
        log: Callable[[str, Judgement], None] | None = None,
    ) -> tuple[dict[str, FittableQuantiser], QuantiseReport]:
        """Return the chosen quantisers (`observation`, `state`) and the report."""
        self._prepare()
        saved = checkpoint.load() if checkpoint else None
        at = msgspec.msgpack.decode(saved["progress"], type=_Progress) if saved else _Progress()
        candidates = self._candidates()
        with (progress or NullProgress()).task(
            "quantising until the return is kept", total=len(candidates) * self.config.rounds
        ) as task:
            task.advance(at.candidate * self.config.rounds + at.round)
            for number in range(at.candidate, len(candidates)):
                if self._settled(at, candidates, number):
                    continue
                tuning = self._begin(candidates, number, at, training=saved["training"] if saved else None)
                saved = None
                self._tune(tuning, at, checkpoint=checkpoint, task=task, log=log)
                at.round = 0
        assert at.best is not None
        return read_quantisers(at.best_files), QuantiseReport(
            policy_score=self._policy_score,
            chosen=at.best,
            size=candidates[at.best.candidate][0],
            judgements=tuple(at.judgements),
            reconstruction=at.reconstruction[at.best.candidate],
            updates=at.updates,
        )

    def _tune(
        self,
        tuning: FineTuning,
        at: _Progress,
        *,
        checkpoint: Checkpoint | None,
        task: TaskProgress,
        log: Callable[[str, Judgement], None] | None,
    ) -> None:
        """Judge what was inserted, then learn round by round until the return is kept or the rounds are used up."""
        while True:
            # The first round costs no games, and what it brought is judged too: it may be all that is needed.
            judged = at.round % self.config.evaluate_every == 0 or at.round in (1, self.config.rounds)
            if judged and not at.judged:
                self._judge(tuning, at)
                if log:
                    log("judged", at.judgements[-1])
                task.note(_note(at.judgements[-1], self._policy_score))
            at.judged = judged
            if at.round == self.config.rounds or self._enough(at):
                return
            if checkpoint and checkpoint.due():
                checkpoint.save({"progress": msgspec.msgpack.encode(at), "training": tuning.state()})
            at.updates += self._round(tuning, at.round, at.candidate, checkpoint=checkpoint)
            at.round, at.judged = at.round + 1, False
            task.advance()

    def _candidates(self) -> list[tuple[tuple[int, int], int]]:
        return [(size, restart) for size in self.config.sizes for restart in range(1 + self.config.restarts)]

    def _settled(self, at: _Progress, candidates: Sequence[tuple[tuple[int, int], int]], number: int) -> bool:
        """Say whether a candidate need not be tried: an earlier one keeps the return, of its size if all are tried."""
        kept = {candidates[j.candidate][0] for j in at.judgements if j.kept and j.candidate < number}
        return candidates[number][0] in kept if self.config.search_all else bool(kept)

    def _prepare(self) -> None:
        self._teacher = sequences_of(self.policy, self.rollouts, reader=self.reader)
        # Episode after episode, as the features below are: the last episodes are held out to judge reconstruction.
        self._states = self._teacher.states.transpose(0, 1)[self._teacher.mask.T]
        self._features = self.reader.features(self.rollouts.frames)[
            torch.from_numpy(self.rollouts.frame_index.astype(np.int64))
        ]
        judged, confirmed = self.config.selection_episodes, self.config.confirmation_episodes
        seeds = episode_seeds("selection", judged + confirmed, seed=self.config.seed)
        self._selection, self._confirmation = seeds[:judged], seeds[judged:]
        own = self._play(seeds, PolicyPlayer(self.policy))
        self._own_returns = own.returns
        self._policy_score = float(own.returns[:judged].mean())

    @property
    def _practice(self) -> int:
        """How many episodes a round plays: short ones teach little, so there are more of them."""
        mean = max(1.0, float(self.rollouts.lengths.mean()))
        wanted = int(np.ceil(self.config.practice_steps / mean))
        return int(np.clip(wanted, self.config.episodes, 8 * self.config.episodes))

    def _begin(
        self,
        candidates: Sequence[tuple[tuple[int, int], int]],
        number: int,
        at: _Progress,
        *,
        training: bytes | None,
    ) -> FineTuning:
        (state_digits, observation_digits), restart = candidates[number]
        quantisers = {
            "state": self._new("state", state_digits, restart),
            "observation": self._new("observation", observation_digits, restart),
        }
        network = MooreMachineNetwork(self.policy, observation=quantisers["observation"], state=quantisers["state"])
        tuning = FineTuning(network, quantisers, self.config)
        if training is not None:
            tuning.restore(training)
            return tuning
        at.candidate, at.round, at.judged = number, 0, False
        at.reconstruction[number] = {}
        cut = self._validation_start()
        settings = FitSettings(
            updates=self.config.pretrain_updates,
            batch=self.config.pretrain_batch,
            learning_rate=self.config.learning_rate,
            seed=self._seed(restart, 1),
        )
        for name, data in (("state", self._states), ("observation", self._features)):
            at.reconstruction[number][name] = quantisers[name].fit(data[:cut], held_out=data[cut:], settings=settings)
        at.updates += 2 * self.config.pretrain_updates
        return FineTuning(network, quantisers, self.config)

    def _validation_start(self) -> int:
        episodes = len(self.rollouts.seeds)
        held = min(episodes - 1, max(1, round(episodes * self.config.validation))) if episodes > 1 else 0
        # One deterministic game has no other to be judged on: its last part stands in.
        return int(self.rollouts.offsets[episodes - held]) if held else max(1, int(len(self._features) * 0.8))

    def _new(self, name: str, digits: int, restart: int) -> FittableQuantiser:
        data = self._states if name == "state" else self._features
        hidden = self.config.state_hidden if name == "state" else self.config.observation_hidden
        generator = torch.Generator().manual_seed(self._seed(restart, 0 if name == "state" else 2))
        return new_quantiser(
            self.config.kind, data, digits=digits, hidden=hidden, levels=self.config.levels, generator=generator
        )

    def _seed(self, restart: int, purpose: int) -> int:
        return int(np.random.SeedSequence([self.config.seed, restart, purpose]).generate_state(1)[0])

    def _round(self, tuning: FineTuning, number: int, candidate: int, *, checkpoint: Checkpoint | None = None) -> int:
        """Learn from the policy's own episodes, after the first round mostly from new ones of the network."""
        generator = torch.Generator().manual_seed(self._seed(candidate, 3 + number))
        own, rate = tuning.own(self._teacher), cosine(number, self.config.rounds)
        if number == 0:
            updates, sources = self.config.first_updates, [(own, 1.0)]
        else:
            practised = self._practised(tuning, number, candidate, checkpoint=checkpoint)
            updates, sources = self.config.updates, [(own, self.config.own), (practised, 1.0 - self.config.own)]
        tuning.learn(sources, updates=updates, rate=rate, generator=generator)
        return updates

    def _practised(self, tuning: FineTuning, number: int, candidate: int, *, checkpoint: Checkpoint | None) -> Practice:
        """Let the quantised network play, and the policy watch."""
        first = (candidate * self.config.rounds + number - 1) * self._practice
        seeds = episode_seeds("practice", self._practice, seed=self.config.seed, first=first)
        # Games that drag on because the network still plays badly teach little of what the policy will meet.
        longest = int(1.1 * self.rollouts.lengths.max()) + 1
        played = self._play(seeds, NetworkPlayer(tuning.network, features=self.reader), max_steps=longest)
        if checkpoint:
            checkpoint.stop_if_late()
        sequences = sequences_of(self.policy, played, reader=self.reader)
        codes = torch.from_numpy(np.array(played.extras["state"]))
        return Practice(sequences=sequences, codes=padded(codes, played.lengths.tolist()))

    def _play(self, seeds: Sequence[int], player: Player, *, max_steps: int | None = None) -> Rollouts:
        if self.plain is None:
            return play(self.request, seeds, player, workers=self.workers, max_steps=max_steps)
        requests = [self.plain, *[self.request] * (len(seeds) - 1)]
        return play(requests, seeds, player, workers=self.workers, max_steps=max_steps)

    def _judge(self, tuning: FineTuning, at: _Progress) -> None:
        quantisers = tuning.averaged()
        judgement = self._judgement(quantisers, candidate=at.candidate, round_number=at.round)
        at.judgements.append(judgement)
        if at.best is None or judgement.rank() > at.best.rank():
            at.best, at.best_files = judgement, write_quantisers(quantisers)

    def _judgement(
        self, quantisers: Mapping[str, FittableQuantiser], *, candidate: int, round_number: int
    ) -> Judgement:
        network = MooreMachineNetwork(self.policy, observation=quantisers["observation"], state=quantisers["state"])
        player = NetworkPlayer(network, features=self.reader)
        played = self._play(self._selection, player)
        watched = sequences_of(self.policy, played, reader=self.reader)
        greedy = watched.logits.argmax(dim=-1).T[watched.mask.T].numpy()
        kept = self._keeps(played.returns)
        if kept and self._confirmation:
            again = play(self.request, self._confirmation, player, workers=self.workers)
            kept = self._keeps(np.concatenate([played.returns, again.returns]))
        return Judgement(
            candidate=candidate,
            round=round_number,
            score=float(played.returns.mean()),
            agreement=float((greedy == played.actions).mean()),
            states=len(np.unique(played.extras["state"], axis=0)),
            symbols=len(np.unique(played.extras["symbol"], axis=0)),
            kept=kept,
        )

    def _keeps(self, returns: npt.NDArray[np.float64]) -> bool:
        """Say whether the mean return of the first games is kept, and that of the plain game too where there is one."""

        def loses(theirs: float, own: float) -> bool:
            return theirs < own - self.config.tolerance * abs(own)

        own = self._own_returns[: len(returns)]
        plain = self.plain is not None and loses(float(returns[0]), float(own[0]))
        return not plain and not loses(float(returns.mean()), float(own.mean()))

    def _enough(self, at: _Progress) -> bool:
        last = at.judgements[-self.config.patience :]
        return (
            self.config.stop_early
            and len(last) == self.config.patience
            and all(j.kept and j.candidate == at.candidate for j in last)
        )


def _note(judgement: Judgement, policy_score: float) -> str:
    return f"return {judgement.score:.4g} of {policy_score:.4g}, {judgement.states} states, {judgement.symbols} symbols"
