"""What quantising can be told: one frozen record, without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.errors import OptionError
from moorelens.fsm.quantisers.config import Kind


class QuantiseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the quantisers are fitted; defaults found on CartPole, Acrobot and Pong (docs/quantising.md has the runs).

    `kind`: which quantiser (`moorelens.fsm.quantisers.config.REGISTRY`).
    `sizes`: (state digits, observation digits) to try, small to large; the first that keeps the return is taken unless
    `search_all`. They are clusters for `kmeans`, and mean nothing to `sign`.
    `levels`: values of a digit; 2 or 3 for `qbn`, 3 or more for `fsq`.
    `restarts`: further seeds for a size that does not keep it.
    `state_hidden`, `observation_hidden`: hidden widths as multiples of the digits (koul2019mmn: 8, and 8 and 4 for the
    state of Atari policies).
    `pretrain_updates`, `pretrain_batch`, `learning_rate`: reconstruction of features and states before insertion.
    `rounds`: of fine-tuning at most, 0 for quantisers as they were fitted. The first makes `first_updates` on the
    policy's own episodes; each further one plays practice episodes with the quantised network and makes `updates` on
    these and, for the share `own`, on the policy's. There are `episodes` of them, or more where episodes are so short
    that the policy would need more for `practice_steps` (8 times at most). An update learns from `batch` segments of
    `segment` steps, begun with the memory that was there (truncated backpropagation); the first `warm_up` steps of a
    segment only bring that memory up to date.
    `objective`: `kl` from the policy's action probabilities, or `mse` between probabilities (the published choice).
    `state_weight`: weight of the distance between the quantised and the policy's own state.
    `averaging`: decay of the running mean of the weights, which is what is judged and kept: neighbouring updates of
    equal loss jump between full and no return. `clip`: gradient norm.
    `evaluate_every`: rounds between judgements on the first `selection_episodes` selection seeds. One that keeps the
    return plays the next `confirmation_episodes` too and must keep that of all: of many judgements, some are lucky.
    `tolerance`: loss of return, as a share of the policy's, that counts as kept. `patience`: judgements in a row that
    must keep it before the fit may stop early.
    `validation`: share of the episodes held out when reconstruction is judged (spec-fsm 2.4).
    """

    kind: Kind = "qbn"
    sizes: tuple[tuple[int, int], ...] = ((8, 8),)
    levels: int = 3
    state_hidden: tuple[int, ...] = (8,)
    observation_hidden: tuple[int, ...] = (8,)
    pretrain_updates: int = 1500
    pretrain_batch: int = 256
    learning_rate: float = 1e-3
    rounds: int = 48
    episodes: int = 16
    practice_steps: int = 8000
    first_updates: int = 600
    updates: int = 100
    batch: int = 64
    segment: int = 16
    warm_up: int = 2
    own: float = 0.25
    objective: Literal["kl", "mse"] = "kl"
    state_weight: float = 0.1
    averaging: float = 0.98
    clip: float = 0.5
    evaluate_every: int = 2
    tolerance: float = 0.01
    patience: int = 2
    stop_early: bool = True
    search_all: bool = False
    restarts: int = 1
    validation: float = 0.2
    selection_episodes: int = 20
    confirmation_episodes: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted; raises `OptionError`."""
        if not self.sizes or any(state < 1 or observation < 1 for state, observation in self.sizes):
            raise OptionError(
                f"Code sizes are pairs of 1 digit or more for state and observation, and {self.sizes} is not: pass "
                "such as (8, 8)."
            )
        if self.rounds < 0:
            raise OptionError(f"rounds is 0 or more, and {self.rounds} is not: pass a larger number.")
        if not 0 <= self.own <= 1 or not 0 <= self.warm_up < self.segment:
            raise OptionError(
                f"own is a share and warm_up a part of a segment, and {self.own:g} and {self.warm_up} of "
                f"{self.segment} are not: pass such as own=0.25, warm_up=2, segment=16."
            )
        for name in ("confirmation_episodes", "first_updates"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} is 0 or more, and {getattr(self, name)} is not: pass a larger number.")
        for name in ("episodes", "updates", "batch", "segment", "evaluate_every", "patience", "selection_episodes"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is 1 or more, and {getattr(self, name)} is not: pass a larger number.")
