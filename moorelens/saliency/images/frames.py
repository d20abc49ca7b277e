"""Frames of a game as images to explain: what a policy saw, what it remembered, and the action that it took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moorelens.envs.playing import play
from moorelens.errors import OptionError
from moorelens.policies.base import RecurrentPolicy, to_input
from moorelens.policies.load import open_policy
from moorelens.policies.players import PolicyPlayer
from moorelens.saliency.policy_scores import action_score
from moorelens.saliency.scores import BoundScore, Space


@dataclass(frozen=True, kw_only=True, eq=False)
class GameFrames:
    """Steps of one game: frames `x (n, C, H, W)` as the policy reads them, 0 to 1; `hidden (n, H)`: its state before
    each; `actions (n,)`: what it did; `steps (n,)`: when."""

    policy: RecurrentPolicy
    name: str
    x: Tensor
    hidden: Tensor
    actions: Tensor
    steps: Tensor

    @property
    def action_names(self) -> tuple[str, ...]:
        """What was done at each step, in words."""
        return tuple(self.policy.spec.action_names[int(action)] for action in self.actions)

    def score(self, *, space: Space = "prob") -> BoundScore:
        """Return the score of the action taken, with the memory bound to each row."""
        return action_score(self.policy, self.actions, hidden=self.hidden, space=space)


def game_frames(
    reference: str = "zoo:pong", *, count: int = 8, seed: int = 0, max_steps: int = 400, trust: bool = False
) -> GameFrames:
    """Play the policy `reference` greedily for `max_steps` of one game, and return `count` frames evenly spaced in it.

    Frames are distinct; there are fewer where the game shows fewer. `trust`: as `open_policy` takes it.
    Raises `OptionError` for a policy that sees no images, and what `open_policy` raises.
    """
    loaded = open_policy(reference, trust=trust)
    shape = loaded.policy.spec.observation_shape
    if len(shape) != 3 or count < 1 or max_steps < 1:
        raise OptionError(
            f"Frames are 1 or more images (C, H, W) of a game, and {count} of {max_steps} steps of {reference}, which "
            f"sees {shape}, are not: choose a policy of an Atari game, such as zoo:pong."
        )
    player = PolicyPlayer(loaded.policy, record=("hidden",))
    rollouts = play(loaded.request, [seed], player, max_steps=max_steps)
    distinct = torch.as_tensor(np.sort(np.unique(rollouts.frame_index, return_index=True)[1]))
    places = torch.linspace(0, len(distinct) - 1, min(count, len(distinct))).round().long()
    steps = distinct[places]
    states = torch.cat([loaded.policy.initial_state(1), torch.tensor(rollouts.extras["hidden"][:-1])])
    return GameFrames(
        policy=loaded.policy,
        name=loaded.name,
        x=to_input(rollouts.frames[rollouts.frame_index[steps.numpy()]]),
        hidden=states[steps].detach(),
        actions=torch.tensor(rollouts.actions[steps.numpy()], dtype=torch.int64),
        steps=steps,
    )
