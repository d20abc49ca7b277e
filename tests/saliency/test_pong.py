"""Two scripted Pong players see the same pixels: one follows the ball, one reads the score. Maps must tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.config import PolicySpec
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.baselines import constant, gaussian_blur
from moorelens.saliency.localisation import area_of, mass_in, pointing_game
from moorelens.saliency.policy_scores import action_score, distance_score, policy_step, sarfa_score, value_score
from moorelens.saliency.registry import make_explainer

SIDE = 80
BAR = (2, 6)
PADDLE = 74


class Scripted:
    """A policy of plain pixel arithmetic: two features are its state, and the actions are stay, up, down."""

    spec = PolicySpec(
        env_id="Pong",
        observation_shape=(1, SIDE, SIDE),
        observation_dtype="uint8",
        action_names=("stay", "up", "down"),
        feature_size=2,
        state_size=2,
        cell="custom",
    )

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, 2)

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        return features

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Up and down by how far the first feature lies above or below the second; the value is the difference."""
        way = (state[:, 0] - state[:, 1]) / 8
        return torch.stack([torch.full_like(way, 0.5), -way, way], dim=1), way

    def features(self, observations: Tensor) -> Tensor:
        raise NotImplementedError

    def tensors(self) -> Mapping[str, Tensor]:
        return {}


class BallFollower(Scripted):
    """Finds the ball as the one bright 2 x 2 square with dark around it, and its own paddle in its columns."""

    def features(self, observations: Tensor) -> Tensor:
        inside = functional.avg_pool2d(observations, 2, stride=1, padding=1)[:, :, 1:-1, 1:-1] * 4
        around = functional.avg_pool2d(observations, 4, stride=1, padding=1)[:, :, :, :] * 16 - inside
        balls = (inside - around - 2.0).clamp(min=0)[:, 0].sum(dim=2)
        paddle = observations[:, 0, 10:, PADDLE : PADDLE + 2].sum(dim=2)
        rows = torch.arange(SIDE - 1, dtype=torch.float32)
        ball = (balls * (rows + 0.5)).sum(dim=1) / (balls.sum(dim=1) + 1e-3)
        own = (paddle * torch.arange(10, SIDE)).sum(dim=1) / (paddle.sum(dim=1) + 1e-3)
        return torch.stack([ball, own], dim=1)


class ScoreReader(Scripted):
    """The cheat: moves by how long the score bar is and never looks at the game."""

    def features(self, observations: Tensor) -> Tensor:
        length = observations[:, 0, BAR[0] : BAR[1]].mean(dim=1).sum(dim=1)
        return torch.stack([length, torch.full_like(length, 30.0)], dim=1)


@dataclass(frozen=True)
class Frames:
    """Frames (n, 1, 80, 80) and where ball, both paddles and score bar are (n, 80, 80)."""

    x: Tensor
    ball: Tensor
    paddles: Tensor
    bar: Tensor


def frames(count: int, seed: int) -> Frames:
    """Draw balls and paddles well below the score bar; each of its pixels may be lit or not."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> list[int]:
        return torch.randint(low, high, (count,), generator=generator).tolist()

    x = torch.zeros(count, 1, SIDE, SIDE)
    ball, paddles, bar = (torch.zeros(count, SIDE, SIDE, dtype=torch.bool) for _ in range(3))
    places = zip(draw(30, 72), draw(20, 60), draw(30, 68), draw(30, 68), draw(10, 60), strict=True)
    for i, (down, across, left, right, score) in enumerate(places):
        ball[i, down : down + 2, across : across + 2] = True
        paddles[i, left : left + 8, 4:6] = True
        paddles[i, right : right + 8, PADDLE : PADDLE + 2] = True
        bar[i, BAR[0] : BAR[1]] = True
        x[i, 0, BAR[0] : BAR[1], :score] = 1
    x[:, 0][ball | paddles] = 1
    return Frames(x, ball, paddles, bar)


FRAMES = frames(8, 0)
PLAYERS: dict[str, RecurrentPolicy] = {"follower": BallFollower(), "reader": ScoreReader()}


def wide(truth: Tensor, by: int) -> Tensor:
    """Return `truth` widened: a spot of sigma 5 reaches further than the ball it hides."""
    return functional.max_pool2d(truth.float()[:, None], 2 * by + 1, stride=1, padding=by)[:, 0] > 0


def test_the_players_do_what_they_are_called() -> None:
    follower, reader = PLAYERS["follower"], PLAYERS["reader"]
    features = follower.features(FRAMES.x)
    ball_rows = torch.stack([torch.nonzero(mask)[:, 0].float().mean() for mask in FRAMES.ball])
    assert torch.allclose(features[:, 0], ball_rows, atol=0.1)
    without_bar = FRAMES.x.clone()
    without_bar[:, 0, : BAR[1]] = 0
    without_ball = torch.where(FRAMES.ball[:, None], 0.0, FRAMES.x)
    assert torch.allclose(features, follower.features(without_bar), atol=1e-5)
    assert not torch.allclose(features, follower.features(without_ball), atol=1)
    assert torch.equal(reader.features(FRAMES.x), reader.features(without_ball))


def explain(player: str, method: str) -> Attribution:
    policy, x = PLAYERS[player], FRAMES.x
    action = policy_step(policy, x, policy.initial_state(len(x)))[0].argmax(dim=1)
    if method == "integrated_gradients":
        return make_explainer(method, steps=64).attribute(
            x, action_score(policy, action, space="margin"), constant(0.0)
        )
    if method == "occlusion":
        score = action_score(policy, action, space="prob")
        return make_explainer(method, size=8, stride=4).attribute(x, score, constant(0.0))
    if method == "sarfa":
        return make_explainer("perturbation").attribute(x, sarfa_score(policy, x, action), gaussian_blur(3.0))
    kind = "half_sq" if method == "actor" else "value_half_sq"
    return make_explainer("perturbation").attribute(
        x,
        distance_score(policy, x, kind=kind),  # type: ignore[arg-type]
        gaussian_blur(3.0),
    )


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "actor", "critic", "sarfa"])
def test_maps_tell_the_ball_follower_from_the_score_reader(method: str) -> None:
    game, bar = wide(FRAMES.ball | FRAMES.paddles, 8), wide(FRAMES.bar, 8)
    follower, reader = (explain(player, method) for player in ("follower", "reader"))
    maps = {"follower": follower.saliency(magnitude=True), "reader": reader.saliency(magnitude=True)}
    moved = {name: (values > 0).flatten(1).any(dim=1) for name, values in maps.items()}
    assert moved["follower"].sum() >= 6 and moved["reader"].sum() >= 4

    def share(player: str, truth: Tensor) -> float:
        rows = moved[player]
        return float(mass_in(maps[player][rows], truth[rows]).mean())

    assert share("follower", game) > 0.8 > 2 * float(area_of(game).mean())
    assert share("follower", bar) < 0.05
    assert share("reader", bar) > 0.9
    assert share("reader", game) < 0.05
    rows = moved["follower"]
    on_game = pointing_game(maps["follower"][rows], (FRAMES.ball | FRAMES.paddles)[rows], tolerance=4)
    assert float(on_game.mean()) > 0.85


def test_the_value_of_the_follower_hangs_on_the_ball_too() -> None:
    found = make_explainer("integrated_gradients", steps=64).attribute(
        FRAMES.x, value_score(PLAYERS["follower"]), constant(0.0)
    )
    assert float(mass_in(found.saliency(magnitude=True), wide(FRAMES.ball, 2)).mean()) > 0.1
    assert float(mass_in(found.saliency(magnitude=True), wide(FRAMES.bar, 2)).mean()) < 1e-6
