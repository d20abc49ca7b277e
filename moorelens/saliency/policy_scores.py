"""Scores of recurrent policies: actions, value, distances of what they do, hidden units and code digits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from moorelens.errors import OptionError, PolicyError
from moorelens.policies.base import RecurrentPolicy
from moorelens.saliency.meter import ROUNDING
from moorelens.saliency.scores import BoundScore, Space, per_row, pick, refuse_training

Distance = Literal["half_sq", "value_half_sq", "kl", "tv"]


def policy_step(policy: RecurrentPolicy, observations: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return logits (N, A), value (N,) or None, and the next state (N, H) of one step from `hidden (N, H)`."""
    # cuDNN's recurrent layers have no backward pass in evaluation mode.
    with torch.backends.cudnn.flags(enabled=False) if observations.is_cuda else nullcontext():
        state = policy.core(policy.features(observations), hidden)
    logits, value = policy.heads(state)
    return logits, value, state


def action_score(
    policy: RecurrentPolicy, action: int | Tensor, *, hidden: Tensor | None = None, space: Space = "logit"
) -> BoundScore:
    """Score one action a row, of observations (N, *obs) float32.

    `action`: an index, or one for each row (B,). `hidden`: the state before the observation (B, H) or (1, H), copied;
    the initial state where it is None. `space`: `logit`, `prob`, `logprob` or `margin` over the best other action.
    """

    def function(x: Tensor, state: Tensor, actions: Tensor) -> Tensor:
        return pick(policy_step(policy, x, state)[0], actions, space)

    return _bound(policy, function, hidden, per_row(action), name=f"action {space}")


def value_score(policy: RecurrentPolicy, *, hidden: Tensor | None = None) -> BoundScore:
    """Score the value that the policy itself gives an observation; raises `PolicyError` where it has none."""

    def function(x: Tensor, state: Tensor) -> Tensor:
        return _value(policy_step(policy, x, state)[1])

    return _bound(policy, function, hidden, name="value")


def distance_score(
    policy: RecurrentPolicy, reference: Tensor, *, hidden: Tensor | None = None, kind: Distance = "half_sq"
) -> BoundScore:
    """Score MINUS how far a step is from the step on `reference (B, *obs)`: 0 there, and lower the more it differs.

    `kind`: `half_sq` is half the squared distance of the logits and `value_half_sq` that of the values
    (greydanus2018visualizing); `kl` is KL(reference || x) and `tv` the total variation of action probabilities.
    Outputs that differ by rounding alone are equal: what a policy ignores is at distance 0 exactly.
    """
    start = _hidden(policy, hidden)
    with torch.no_grad():
        logits, value, _ = policy_step(policy, reference, start.expand(len(reference), -1))
    target = _value(value)[:, None] if kind == "value_half_sq" else logits

    def function(x: Tensor, state: Tensor, wanted: Tensor) -> Tensor:
        found, worth, _ = policy_step(policy, x, state)
        return -_distance(_value(worth)[:, None] if kind == "value_half_sq" else found, wanted, kind)

    return _bound(policy, function, hidden, target.detach(), name=f"distance {kind}")


def sarfa_score(
    policy: RecurrentPolicy, reference: Tensor, action: int | Tensor, *, hidden: Tensor | None = None
) -> BoundScore:
    """Score MINUS the SARFA saliency of a changed observation: 0 at `reference (B, *obs)` (puri2020explain).

    Specific: how much the probability p of the action falls, dp. Relevant: K = 1 / (1 + KL of the probabilities of the
    other actions, changed from unchanged). The saliency is their harmonic mean 2 K dp / (K + dp), 0 where dp <= 0.
    """
    start = _hidden(policy, hidden)
    with torch.no_grad():
        logits = policy_step(policy, reference, start.expand(len(reference), -1))[0]

    def function(x: Tensor, state: Tensor, actions: Tensor, wanted: Tensor) -> Tensor:
        return -_sarfa(policy_step(policy, x, state)[0], wanted, actions)

    return _bound(policy, function, hidden, per_row(action), logits.detach(), name="sarfa")


def code_score(
    policy: RecurrentPolicy,
    preactivations: Callable[[Tensor], Tensor],
    digit: int | Tensor,
    *,
    hidden: Tensor | None = None,
    level: Literal["observation", "state"] = "observation",
) -> BoundScore:
    """Score one digit of a code before it is rounded.

    `preactivations`: the encoder without its rounding, (N, D) -> (N, K), of features (`observation`) or of the state
    after the step (`state`). `digit`: an index into K, or one for each row (B,).
    """

    def function(x: Tensor, state: Tensor, digits: Tensor) -> Tensor:
        read = policy.features(x) if level == "observation" else policy_step(policy, x, state)[2]
        return pick(preactivations(read), digits, "logit")

    return _bound(policy, function, hidden, per_row(digit), name=f"{level} code digit")


def joint_score(score: BoundScore, observation_shape: tuple[int, ...]) -> BoundScore:
    """Turn a score of observations into one of rows (N, F + H): the flat observation followed by the hidden state.

    Memory and observation are then attributed jointly. `score` comes from this module; its own state is left out.
    """
    size = 1
    for side in observation_shape:
        size *= side

    def function(x: Tensor, *bound: Tensor) -> Tensor:
        return score.function(x[:, :size].reshape(-1, *observation_shape), x[:, size:], *bound)

    return BoundScore(function=function, bound=score.bound[1:], module=score.module, name=f"joint {score.name}")


def _bound(
    policy: RecurrentPolicy, function: Callable[..., Tensor], hidden: Tensor | None, *bound: Tensor, name: str
) -> BoundScore:
    refuse_training(policy)
    module = policy if isinstance(policy, nn.Module) else None
    return BoundScore(function=function, bound=(_hidden(policy, hidden), *bound), module=module, name=name)


def _hidden(policy: RecurrentPolicy, hidden: Tensor | None) -> Tensor:
    if hidden is None:
        return policy.initial_state(1).detach().clone()
    if hidden.ndim != 2 or hidden.shape[1] != policy.spec.state_size:
        raise OptionError(
            f"A hidden state is (B, H) with H = {policy.spec.state_size} and this one is {tuple(hidden.shape)}: pass "
            "the state before the step, one for each row or one for all."
        )
    return hidden.detach().clone()


def _value(value: Tensor | None) -> Tensor:
    if value is None:
        raise PolicyError(
            "A value can be scored only where the policy's state determines one, and this policy returns None: score "
            "an action instead."
        )
    return value


def _distance(found: Tensor, wanted: Tensor, kind: Distance) -> Tensor:
    found = _settled(found, wanted)
    if kind in ("half_sq", "value_half_sq"):
        return 0.5 * (found - wanted).square().sum(dim=1)
    if kind == "kl":
        log_wanted = wanted.log_softmax(dim=1)
        return (log_wanted.exp() * (log_wanted - found.log_softmax(dim=1))).sum(dim=1)
    if kind == "tv":
        return 0.5 * (found.softmax(dim=1) - wanted.softmax(dim=1)).abs().sum(dim=1)
    raise OptionError(f"A distance is half_sq, value_half_sq, kl or tv and {kind!r} is none of them: choose one.")


def _sarfa(found: Tensor, wanted: Tensor, actions: Tensor) -> Tensor:
    found = _settled(found, wanted)
    column = actions[:, None]
    fall = (wanted.softmax(dim=1) - found.softmax(dim=1)).gather(1, column).squeeze(1).clamp(min=0)
    others = torch.ones_like(found, dtype=torch.bool).scatter(1, column, False)
    rest = found[others].reshape(len(found), -1).log_softmax(dim=1)
    before = wanted[others].reshape(len(found), -1).log_softmax(dim=1)
    relevance = 1 / (1 + (rest.exp() * (rest - before)).sum(dim=1))
    return 2 * relevance * fall / (relevance + fall)


def _settled(found: Tensor, wanted: Tensor) -> Tensor:
    """Return `found` with entries that differ from `wanted` by rounding alone replaced by it."""
    scale = wanted.abs().amax(dim=1, keepdim=True).clamp(min=1)
    return torch.where((found - wanted).abs() <= ROUNDING * scale, wanted, found)
