"""The scores of a policy that `moorelens saliency --score` names: its action, its value, a digit of its memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.fsm.network import unrounded
from moorelens.saliency.differential.analysis import Array, Scene
from moorelens.saliency.differential.config import memory_digit
from moorelens.saliency.policy_scores import action_score, code_score, policy_step, value_score
from moorelens.saliency.scores import BoundScore

_SIDE = 1e-9


def asked_score(scene: Scene, score: str, *, rows: Array, x: Tensor, baseline: Tensor) -> BoundScore:
    """Return the score of recorded steps `rows (n,)`, with observations `x (n, *obs)`, by its name.

    `action`: the margin of the action that was taken; `value`; `memory:K`: digit K of the memory after the step, before
    it is rounded, counted towards the side on which `x` has more of it than `baseline (n, *obs)`, so that it falls when
    what moves it is removed. All from the policy's own memory before the step (`scene.hidden`).
    Raises PolicyError where a value is asked for and there is none, `OptionError` for a digit that there is not.
    """
    assert scene.hidden is not None, "scores of a policy need its memories"
    policy, hidden = scene.network.policy, scene.hidden[torch.from_numpy(rows)]
    digit = memory_digit(score)
    if digit is not None:
        return _memory_score(scene, digit, hidden, x, baseline)
    if score == "value":
        return value_score(policy, hidden=hidden)
    actions = torch.from_numpy(scene.traces.actions[rows].astype(np.int64))
    return action_score(policy, actions, hidden=hidden, space="margin")


def check_score(scene: Scene, score: str) -> None:
    """Raise `OptionError` where `score` names a digit that the machine's memory has not, or has in no graded form."""
    digit = memory_digit(score)
    if digit is None:
        return
    read, kind = unrounded(scene.network.state), type(scene.network.state).__name__
    if read is None:
        raise OptionError(
            f"A digit of the memory is explained by what it is before it is rounded and a {kind} has no such number: "
            "ask for --score action or value, or quantise with a quantised bottleneck network."
        )
    count = scene.machine.state_codes.shape[1]
    if digit >= count:
        raise OptionError(
            f"The memory of this machine has the digits 0 to {count - 1} and --score {score} asks for another: choose "
            "one of these."
        )


def _memory_score(scene: Scene, digit: int, hidden: Tensor, x: Tensor, baseline: Tensor) -> BoundScore:
    check_score(scene, f"memory:{digit}")
    read, policy = unrounded(scene.network.state), scene.network.policy
    assert read is not None
    with torch.no_grad():
        more, less = (read(policy_step(policy, part, hidden)[2])[:, digit] for part in (x, baseline))
    side = torch.where(more - less < -_SIDE, -1.0, 1.0)
    plain = code_score(policy, read, digit, hidden=hidden, level="state")

    def function(points: Tensor, *bound: Tensor) -> Tensor:
        return plain.function(points, *bound[:-1]) * bound[-1]

    return BoundScore(function=function, bound=(*plain.bound, side), module=plain.module, name=f"memory digit {digit}")
