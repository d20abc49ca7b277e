"""The search for quantisers: judged on selection seeds only, ranked by return first, and going on after any kill."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.envs.rollouts import Rollouts
from moorelens.errors import OptionError
from moorelens.fsm import quantise
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.finetune import FineTuning
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.quantise import Judgement, QuantiserSearch
from moorelens.fsm.quantisers.files import read_quantisers, write_quantisers
from moorelens.fsm.quantisers.layers import output_for
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.seeds import Role, episode_seeds
from moorelens.policies.base import identity
from moorelens.policies.load import open_policy
from moorelens.policies.players import PolicyPlayer

POLICY = open_policy("zoo:cartpole").policy
REQUEST = EnvironmentRequest(id="CartPole-v1", kwargs={"max_episode_steps": 60})
SMALL: dict[str, Any] = {
    "practice_steps": 1,
    "sizes": ((2, 2), (3, 2)),
    "restarts": 0,
    "pretrain_updates": 20,
    "pretrain_batch": 32,
    "rounds": 3,
    "episodes": 3,
    "first_updates": 6,
    "updates": 4,
    "batch": 8,
    "segment": 6,
    "evaluate_every": 1,
    "selection_episodes": 3,
    "averaging": 0.5,
}


@pytest.fixture(scope="module")
def rollouts() -> Rollouts:
    return play(REQUEST, episode_seeds("fit", 4, seed=0), PolicyPlayer(POLICY))


def search(rollouts: Rollouts, *, plain: EnvironmentRequest | None = None, **config: Any) -> QuantiserSearch:
    return QuantiserSearch(
        policy=POLICY,
        request=REQUEST,
        config=QuantiseConfig(**(SMALL | config)),
        rollouts=rollouts,
        reader=FeatureReader(POLICY),
        plain=plain,
    )


class Saves:
    """A checkpoint that is due every round, keeps all that was saved, and may begin with something."""

    def __init__(self, beginning: Mapping[str, bytes] | None = None) -> None:
        self.beginning, self.saved = beginning, list[dict[str, bytes]]()

    def load(self) -> Mapping[str, bytes] | None:
        return self.beginning

    def save(self, files: Mapping[str, bytes]) -> None:
        self.saved.append(dict(files))

    def due(self, every_s: float = 20.0) -> bool:
        return True

    def stop_if_late(self) -> None:
        pass


def outcome(found: Any) -> tuple[bytes, bytes]:
    """The bytes of everything that a search returned."""
    return write_quantisers(found[0]), msgspec.json.encode(found[1])


class TestGoingOn:
    def test_a_search_killed_after_any_checkpoint_ends_the_same(self, rollouts: Rollouts) -> None:
        saves: Any = Saves()
        whole = outcome(search(rollouts).run(checkpoint=saves))
        assert len(saves.saved) == 6, "three rounds of each of two sizes"
        for i, saved in enumerate(saves.saved):
            again: Any = Saves(saved)
            assert outcome(search(rollouts).run(checkpoint=again)) == whole, f"after save {i}"
            assert again.saved == saves.saved[i:], "and saves the same on the way"

    @pytest.mark.parametrize("kind", ["sign", "kmeans"])
    def test_what_was_fitted_and_is_not_trained_is_kept_too(self, kind: Any, rollouts: Rollouts) -> None:
        saves: Any = Saves()
        options: dict[str, Any] = {"kind": kind, "sizes": ((3, 3),), "rounds": 2}
        whole = outcome(search(rollouts, **options).run(checkpoint=saves))
        for saved in saves.saved:
            again: Any = Saves(saved)
            assert outcome(search(rollouts, **options).run(checkpoint=again)) == whole

    def test_checkpoints_change_nothing(self, rollouts: Rollouts) -> None:
        saves: Any = Saves()
        config: Any = {"sizes": ((2, 2),), "rounds": 2}
        assert outcome(search(rollouts, **config).run(checkpoint=saves)) == outcome(search(rollouts, **config).run())

    def test_another_seed_finds_others(self, rollouts: Rollouts) -> None:
        config: Any = {"sizes": ((2, 2),), "rounds": 1}
        first, second = (outcome(search(rollouts, seed=seed, **config).run())[0] for seed in (0, 1))
        assert first != second


class TestSearch:
    def test_the_first_size_that_keeps_the_return_is_taken(self, rollouts: Rollouts) -> None:
        _, report = search(rollouts, tolerance=1.0, rounds=5).run()
        assert [(j.candidate, j.round, j.kept) for j in report.judgements] == [(0, 0, True), (0, 1, True)]
        assert report.size == (2, 2) and report.chosen in report.judgements

    def test_it_may_be_told_to_use_all_rounds(self, rollouts: Rollouts) -> None:
        _, report = search(rollouts, tolerance=1.0, stop_early=False, rounds=4, evaluate_every=3).run()
        assert [j.round for j in report.judgements] == [0, 1, 3, 4], "the first two and the last in any case"

    def test_it_may_be_told_to_try_all_sizes(self, rollouts: Rollouts) -> None:
        _, report = search(rollouts, tolerance=1.0, search_all=True, rounds=2).run()
        assert [j.candidate for j in report.judgements] == [0, 0, 1, 1]

    def test_a_size_that_does_not_keep_it_is_tried_again_then_the_next(self, rollouts: Rollouts) -> None:
        _, report = search(rollouts, tolerance=-9.0, restarts=1, rounds=1).run()
        assert [j.candidate for j in report.judgements] == [0, 0, 1, 1, 2, 2, 3, 3] and not any(
            j.kept for j in report.judgements
        )
        assert report.chosen.score == max(j.score for j in report.judgements)
        assert report.size == ((2, 2), (2, 2), (3, 2), (3, 2))[report.chosen.candidate]
        assert report.reconstruction.keys() == {"state", "observation"}

    def test_a_size_that_keeps_it_is_not_tried_again(self, rollouts: Rollouts) -> None:
        _, report = search(rollouts, tolerance=1.0, search_all=True, restarts=1, rounds=1).run()
        assert [j.candidate for j in report.judgements] == [0, 0, 2, 2]

    def test_it_is_judged_before_it_is_trained(self, rollouts: Rollouts) -> None:
        """Spec-fsm 2.5: where insertion alone keeps the return there is nothing to train."""
        _, report = search(rollouts, tolerance=1.0).run()
        assert report.judgements[0].round == 0

    def test_the_first_round_learns_without_games(self, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
        learned: list[list[tuple[int, float]]] = []
        tune = FineTuning.learn

        def spy(self: FineTuning, sources: Any, **options: Any) -> float:
            learned.append([(int(practice.sequences.mask.sum()), share) for practice, share in sources])
            return tune(self, sources, **options)

        monkeypatch.setattr(FineTuning, "learn", spy)
        _, report = search(rollouts, tolerance=-9.0, sizes=((2, 2),), rounds=3, evaluate_every=2).run()
        own = int(rollouts.lengths.sum())
        assert learned[0] == [(own, 1.0)]
        assert [[share for _, share in sources] for sources in learned[1:]] == [[0.25, 0.75]] * 2
        assert all(sources[0][0] == own for sources in learned)
        assert [j.round for j in report.judgements] == [0, 1, 2, 3], "what the first round brought is judged as well"
        assert report.updates == 2 * SMALL["pretrain_updates"] + 6 + 2 * 4

    def test_a_kept_return_must_be_kept_on_further_games(self, rollouts: Rollouts, monkeypatch: Any) -> None:
        """Of many judgements some are lucky: those that keep the return play more games, and all count."""
        played: list[tuple[str, int]] = []

        def fake(request: Any, seeds: Any, player: Any, **options: Any) -> Rollouts:
            found = play(request, seeds, player, **options)
            network = isinstance(player, NetworkPlayer)
            played.append((type(player).__name__, len(seeds)))
            lucky = episode_seeds("selection", 3, seed=0)
            score = 10.0 if not network or tuple(seeds) == lucky else 4.0
            firsts = found.offsets[:-1]
            rewards = np.zeros_like(found.rewards)
            rewards[firsts] = score
            return dataclasses.replace(found, rewards=rewards)

        monkeypatch.setattr(quantise, "play", fake)
        options: Any = {"sizes": ((2, 2),), "rounds": 0}
        _, report = search(rollouts, confirmation_episodes=5, **options).run()
        assert played == [("PolicyPlayer", 8), ("NetworkPlayer", 3), ("NetworkPlayer", 5)]
        assert not report.chosen.kept and report.chosen.score == report.policy_score == 10, "of the first three"
        assert search(rollouts, confirmation_episodes=5, tolerance=0.4, **options).run()[1].chosen.kept
        assert search(rollouts, **options).run()[1].chosen.kept, "none asked for"

    def test_what_is_returned_is_what_was_judged(self, rollouts: Rollouts) -> None:
        """The judgement, made again by hand on the selection seeds."""
        quantisers, report = search(rollouts).run()
        network = MooreMachineNetwork(POLICY, observation=quantisers["observation"], state=quantisers["state"])
        seeds = episode_seeds("selection", 3, seed=0)
        played = play(REQUEST, seeds, NetworkPlayer(network))
        assert report.chosen.score == played.returns.mean()
        assert report.chosen.states == len({code.tobytes() for code in played.extras["state"]})
        assert report.chosen.symbols == len({code.tobytes() for code in played.extras["symbol"]})
        equal = 0
        for n in range(3):
            player = PolicyPlayer(POLICY)
            memory = player.start(1)
            for t in range(int(played.offsets[n]), int(played.offsets[n + 1])):
                action = player.act(memory, np.array([0]), played.frames[played.frame_index[t]][None])
                equal += int(action[0] == played.actions[t])
        assert abs(report.chosen.agreement - equal / len(played.actions)) < 1e-12
        assert report.policy_score == play(REQUEST, seeds, PolicyPlayer(POLICY)).returns.mean()

    def test_the_policy_is_left_alone_and_so_is_the_global_generator(self, rollouts: Rollouts) -> None:
        before = identity(POLICY), torch.get_rng_state()
        search(rollouts, sizes=((2, 2),), rounds=1).run()
        assert identity(POLICY) == before[0] and torch.equal(torch.get_rng_state(), before[1])

    def test_every_judgement_is_logged(self, rollouts: Rollouts) -> None:
        logged: list[tuple[str, Judgement]] = []
        _, report = search(rollouts, sizes=((2, 2),), rounds=2).run(log=lambda event, j: logged.append((event, j)))
        assert logged == [("judged", j) for j in report.judgements]

    def test_one_short_game_is_enough_to_begin_with(self) -> None:
        one = play(REQUEST, [0], PolicyPlayer(POLICY), max_steps=1)
        quantisers, report = search(one, sizes=((2, 2),), rounds=1).run()
        assert quantisers.keys() == {"state", "observation"}
        assert report.reconstruction["state"].validation_error is None, "nothing was left to validate on"
        msgspec.json.decode(msgspec.json.encode(report), type=quantise.QuantiseReport)


class TestSeeds:
    def test_which_games_serve_which_purpose(self, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
        games: list[tuple[str, tuple[int, ...]]] = []

        def spy(request: Any, seeds: Any, player: Any, **options: Any) -> Rollouts:
            assert request == REQUEST
            games.append((type(player).__name__, tuple(seeds)))
            return play(request, seeds, player, **options)

        monkeypatch.setattr(quantise, "play", spy)
        search(rollouts, tolerance=-9.0).run()
        selection = episode_seeds("selection", 3, seed=0)
        judged = [seeds for _, seeds in games if seeds == selection]
        practised = [seed for _, seeds in games if seeds != selection for seed in seeds]
        assert games[0] == ("PolicyPlayer", selection) and len(judged) == 1 + 2 * 4
        assert len(practised) == len(set(practised)) == 2 * 2 * 3, "no practice game comes twice"
        assert set(practised) <= set(episode_seeds("practice", 1000, seed=0))

    def test_the_plain_game_is_the_first_of_each(self, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = EnvironmentRequest(id="CartPole-v1", kwargs={"max_episode_steps": 30})
        first: list[int] = []

        def spy(request: Any, seeds: Any, player: Any, **options: Any) -> Rollouts:
            first.extend(seed for of, seed in zip(request, seeds, strict=True) if of == plain)
            return play(request, seeds, player, **options)

        monkeypatch.setattr(quantise, "play", spy)
        _, report = search(rollouts, plain=plain, sizes=((2, 2),), rounds=2).run()
        selection, practice = (episode_seeds(role, 1, seed=0)[0] for role in ("selection", "practice"))
        assert first == [selection, selection, selection, practice, selection]
        assert report.policy_score == (30 + 60 + 60) / 3

    @given(st.integers(0, 199), st.integers(0, 199), st.integers(1, 5000))
    def test_no_two_purposes_share_a_game(self, one: int, other: int, n: int) -> None:
        roles: tuple[Role, ...] = ("fit", "practice", "selection", "held_out")
        games = [set(episode_seeds(role, n, seed=run)) for run in {one, other} for role in roles]
        assert sum(map(len, games)) == len(set().union(*games)) == n * len(games)
        assert min(map(min, games)) >= 0 and max(map(max, games)) < 2**31, "emulators take 31 bits"

    def test_later_games_follow_the_first(self) -> None:
        assert episode_seeds("practice", 5, seed=3)[2:] == episode_seeds("practice", 3, seed=3, first=2)


def judgement(**changed: Any) -> Judgement:
    facts: dict[str, Any] = {
        "candidate": 0, "round": 1, "score": 10.0, "agreement": 0.8, "states": 20, "symbols": 30, "kept": False,
    }  # fmt: skip
    return Judgement(**(facts | changed))


class TestRank:
    @pytest.mark.parametrize(
        ("better", "worse"),
        [
            ({"kept": True, "score": 9.9, "agreement": 0.1, "states": 999}, {"score": 10.0, "agreement": 1.0}),
            ({"score": 10.1, "agreement": 0.1, "states": 999}, {"score": 10.0, "agreement": 1.0, "states": 1}),
            ({"agreement": 0.9, "states": 999}, {"agreement": 0.8, "states": 1}),
            ({"states": 19}, {}),
            ({"symbols": 29}, {}),
            ({"kept": True, "agreement": 0.9}, {"kept": True, "agreement": 0.8}),
            ({"kept": True, "states": 19}, {"kept": True}),
        ],
        ids=["kept", "return", "agreement", "states", "symbols", "agreement of kept", "states of kept"],
    )
    def test_kept_then_return_then_agreement_then_fewer_codes(self, better: Any, worse: Any) -> None:
        assert judgement(**better).rank() > judgement(**worse).rank()

    def test_equal_ones_do_not_replace_each_other(self) -> None:
        assert judgement(round=9).rank() == judgement(round=1).rank()

    def test_a_later_one_at_the_threshold_does_not_replace_a_better_return(self) -> None:
        """Spec-fsm test 25: the reference saves whatever reaches the threshold, over better ones."""
        best = judgement(kept=True, score=12.0, agreement=0.8)
        later = judgement(kept=True, score=10.0, agreement=0.9, states=5, round=2)
        assert best.rank() > later.rank()

    def test_the_search_keeps_the_best_and_not_the_last(
        self, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores, judged = [10.0, 20.0, 50.0, 40.0, 50.0], list[bytes]()

        def judge(self: QuantiserSearch, quantisers: Any, *, candidate: int, round_number: int) -> Judgement:
            judged.append(write_quantisers(quantisers))
            return judgement(candidate=candidate, round=round_number, score=scores[round_number])

        monkeypatch.setattr(QuantiserSearch, "_judgement", judge)
        kept, report = search(rollouts, sizes=((2, 2),), rounds=4).run()
        assert report.chosen.round == 2 and len(set(judged)) == 5
        assert write_quantisers(kept) == judged[2]

    def test_what_is_judged_is_the_running_mean(self, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
        judged = set[bytes]()

        def judge(self: QuantiserSearch, quantisers: Any, *, candidate: int, round_number: int) -> Judgement:
            judged.add(write_quantisers(quantisers))
            return judgement(candidate=candidate, round=round_number)

        monkeypatch.setattr(QuantiserSearch, "_judgement", judge)
        search(rollouts, sizes=((2, 2),), averaging=1.0).run()
        assert len(judged) == 1, "a mean that never moves"


@pytest.mark.parametrize("kind", ["fsq", "kmeans", "sign"])
class TestOtherKinds:
    def test_they_are_searched_in_the_same_way(self, kind: Any, rollouts: Rollouts) -> None:
        found, report = search(rollouts, kind=kind, rounds=1, sizes=((4, 4),)).run()
        assert [found[name].kind for name in ("state", "observation")] == [kind, kind]
        assert [judgement.round for judgement in report.judgements] == [0, 1]

    def test_without_rounds_they_are_judged_as_they_were_fitted(self, kind: Any, rollouts: Rollouts) -> None:
        options: Any = {"kind": kind, "rounds": 0, "tolerance": -9.0, "restarts": 0}
        found, report = search(rollouts, sizes=((3, 3), (5, 5)), **options).run()
        assert [(one.candidate, one.round) for one in report.judgements] == [(0, 0), (1, 0)]
        again = read_quantisers(write_quantisers(found))
        assert again["state"].kind == kind


class TestConfig:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"sizes": ()}, "pairs of 1 digit or more"),
            ({"sizes": ((0, 4),)}, "pairs of 1 digit or more"),
            ({"rounds": -1}, "rounds is 0 or more"),
            ({"segment": 0}, "warm_up a part of a segment"),
            ({"own": 1.5}, "own is a share"),
            ({"confirmation_episodes": -1}, "confirmation_episodes is 0 or more"),
            ({"batch": 0}, "batch is 1 or more"),
            ({"selection_episodes": -1}, "selection_episodes is 1 or more"),
        ],
    )
    def test_what_cannot_be_fitted_is_refused(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(OptionError, match=says):
            QuantiseConfig(**options)

    @pytest.mark.parametrize(
        ("low", "high", "output"), [(0.0, 6.0, "relu6"), (-1.0, 1.0, "tanh"), (0.0, 7.0, "none"), (-1.1, 0.0, "none")]
    )
    def test_the_decoder_can_reach_what_it_must_reproduce(self, low: float, high: float, output: str) -> None:
        assert output_for(torch.tensor([[low, high]])) == output
