"""What a training is asked for: frozen settings without torch, with the defaults of each task."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import OptionError

SELECTION_SEEDS = range(100_000, 100_030)
HELD_OUT_SEEDS = range(200_000, 200_030)
ATARI_STICKY, ATARI_NOOPS = 0.25, 30  # machado2018revisiting; no-op starts mnih2015human


class PPOSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyper-parameters of recurrent PPO (schulman2017ppo), as sb3-contrib names them.

    `learning_rate` falls linearly to 0 over `steps`. `batch_size` counts steps, in whole sequences where it can.
    `gamma` discount, `gae_lambda` its companion, `clip_range`, `ent_coef`, `vf_coef`, `max_grad_norm`: the loss. An
    update ends early where the policy has moved by 1.5 times `target_kl` (None: never).

    The rest is for a training that begins with a policy. `settled`: its feature net stays as it is and sees every frame
    once, so that only the memory, the choice and the critic learn. `sharpness`: its logits times this at first, or
    drawing actions would play worse than choosing them. `critic_first`: share of the steps in which the critic learns
    alone, because it begins with nothing; `critic_rate`: its learning rate, in multiples of the other; `clip_apart`:
    `max_grad_norm` holds for actor and critic each (a critic surprised by a point would shrink what the actor learns
    from it). Every `plain`-th game is without sticky actions (0: none).
    """

    n_envs: int = 8
    n_steps: int = 128
    batch_size: int = 512
    n_epochs: int = 10
    learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    settled: bool = False
    sharpness: float = 1.0
    critic_first: float = 0.0
    critic_rate: float = 1.0
    clip_apart: bool = False
    plain: int = 0


class ImitationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the imitation (ross2011dagger).

    `games` are played side by side, `length` steps at a time; each such segment is kept with the teacher's judgement
    of every step, the newest `segments` of them (6.4 kB a step). `batches` of `batch_size` segments follow each
    collection, half of them from the newest tenth. The teacher acts in a share of the steps that falls from 1 to 0 over
    the first `guided` of the training. `warm_up` steps at the head of a segment carry no loss, because the state stored
    there is an older one. Every `plain`-th game is without sticky actions (0: none). The policy is the running mean of
    the weights, of which each update keeps the share `averaging`. With `notes`, the pupil also learns to say, by a
    linear map of its state that is thrown away in the end, what numbers its teacher judges by, if that is one that can
    tell; the mean square error counts that much beside the choice, less and less towards the end. `body`: how frames
    are seen (`Architecture`). With `settle`, that share of the training goes into the feature net alone, which learns
    to tell from single frames what they show of the notes, `look_size` at a time and with a learning rate that falls
    from `look_rate` to 0; then it stays as it is, every frame is looked at once, and updates of the memory cost so
    little that they can be large.
    """

    games: int = 8
    length: int = 16
    segments: int = 10_000
    batches: int = 4
    batch_size: int = 16
    learning_rate: float = 1e-3
    guided: float = 0.08
    warm_up: int = 3
    max_grad_norm: float = 1.0
    body: Literal["conv", "places"] = "conv"
    channels: tuple[int, ...] = (8, 16, 32, 8)
    units: int = 32
    gamma: float = 0.99
    plain: int = 0
    averaging: float = 0.998
    notes: float = 0.0
    settle: float = 0.0
    look_size: int = 64
    look_rate: float = 4e-3


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One training.

    `env`: a Gymnasium id. `steps`: environment steps at most (None: the task's default). `seed`: of weights, actions
    and training episodes. `max_minutes`: stop in order after so long; the same command continues. `cell`, `units`: the
    memory. `target`: stop once the mean return on the selection seeds reaches it in three evaluations in a row (None:
    the task's). `evaluate_every`: steps between evaluations (None: the task's). `device`: cpu, cuda or auto. `teacher`:
    imitate a script that reads the emulator's memory (`ram`, Atari only), or learn the right answers of a memory task
    (`oracle`), instead of learning from rewards.
    `start`: begin with the weights of this policy (`zoo:NAME` or a native file of the same shape). Atari policies that
    learn from rewards keep its feature net.
    """

    env: str
    steps: int | None = None
    seed: int = 0
    max_minutes: float | None = None
    cell: Literal["gru", "lstm"] = "gru"
    units: int = 32
    target: float | None = None
    evaluate_every: int | None = None
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    tensorboard: bool = False
    teacher: Literal["ram", "oracle"] | None = None
    start: str | None = None
    ppo: PPOSettings | None = None
    imitation: ImitationSettings | None = None

    def __post_init__(self) -> None:
        """Refuse values that nothing can be trained with."""
        given = {name: getattr(self, name) for name in ("steps", "max_minutes", "evaluate_every", "units")}
        wrong = [name for name, value in given.items() if value is not None and value <= 0]
        if wrong or self.seed < 0:
            name = wrong[0] if wrong else "seed"
            raise OptionError(
                f"--{name.replace('_', '-')} of a training must be positive and is {getattr(self, name)}."
            )


class TaskDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What a task needs: steps, evaluation interval, hyper-parameters, and two returns.

    `target`: what a held-out mean should reach. `stop_at`: the mean on the selection seeds at which training ends; it
    is the higher, because the best of many checkpoints looks better on the seeds that it was chosen by.
    """

    steps: int
    evaluate_every: int
    target: float | None
    stop_at: float | None
    ppo: PPOSettings
    imitation: ImitationSettings = ImitationSettings()


_TASKS: dict[str, TaskDefaults] = {
    "CartPole-v1": TaskDefaults(steps=400_000, evaluate_every=16_384, target=500.0, stop_at=500.0, ppo=PPOSettings()),
    "Acrobot-v1": TaskDefaults(
        steps=1_000_000,
        evaluate_every=32_768,
        target=-85.0,
        stop_at=-78.0,
        ppo=PPOSettings(n_envs=16, gamma=0.99, gae_lambda=0.94, n_epochs=4, batch_size=1024, ent_coef=0.001),
    ),
    "ALE/Freeway-v5": TaskDefaults(
        steps=100_000,
        evaluate_every=25_600,
        target=21.0,
        stop_at=None,
        ppo=PPOSettings(gamma=0.99),
        imitation=ImitationSettings(averaging=0.0),
    ),
    "ALE/Bowling-v5": TaskDefaults(
        steps=200_000, evaluate_every=51_200, target=45.0, stop_at=None, ppo=PPOSettings(gamma=0.99)
    ),
    "ALE/Breakout-v5": TaskDefaults(
        steps=400_000,
        evaluate_every=51_200,
        target=60.0,
        stop_at=90.0,
        ppo=PPOSettings(gamma=0.99),
        imitation=ImitationSettings(channels=(8, 16, 16, 16), units=64, batches=3),
    ),
    "ALE/ChopperCommand-v5": TaskDefaults(
        steps=200_000, evaluate_every=51_200, target=1500.0, stop_at=6000.0, ppo=PPOSettings(gamma=0.99)
    ),
    "ALE/Boxing-v5": TaskDefaults(
        steps=160_000,
        evaluate_every=40_000,
        target=80.0,
        stop_at=90.0,
        ppo=PPOSettings(gamma=0.99),
        imitation=ImitationSettings(channels=(8, 16, 32, 16), batches=5, notes=0.5),
    ),
    "ALE/Pong-v5": TaskDefaults(
        steps=400_000,
        evaluate_every=50_000,
        target=18.0,
        stop_at=None,
        ppo=PPOSettings(gamma=0.99),
        # A pupil of sticky games alone lost the plain game 0 to 21.
        imitation=ImitationSettings(
            plain=4,
            body="places",
            channels=(16, 8),
            batches=40,
            batch_size=32,
            learning_rate=2e-3,
            notes=4.0,
            settle=0.05,
        ),
    ),
    "ALE/SpaceInvaders-v5": TaskDefaults(
        steps=300_000,
        evaluate_every=51_200,
        target=600.0,
        stop_at=None,
        ppo=PPOSettings(gamma=0.99),
        imitation=ImitationSettings(channels=(8, 16, 16, 16), batches=3),
    ),
    "LunarLander-v3": TaskDefaults(
        steps=4_000_000,
        evaluate_every=65_536,
        target=200.0,
        stop_at=245.0,
        ppo=PPOSettings(
            n_envs=16,
            n_steps=256,
            batch_size=1024,
            n_epochs=4,
            gamma=0.999,
            gae_lambda=0.98,
            ent_coef=0.01,
            learning_rate=1e-3,
        ),
    ),
}


def training_request(env: str) -> EnvironmentRequest:
    """Return the environment that a policy is trained and chosen in: that of the held-out protocol."""
    if env.startswith("ALE/"):
        return EnvironmentRequest(id=env, sticky=ATARI_STICKY, noops=ATARI_NOOPS)
    return EnvironmentRequest(id=env)


def selection_seeds(request: EnvironmentRequest, *, started: bool = False) -> range:
    """Return the seeds that checkpoints are chosen by: 30, or 6 where a game takes thousands of steps.

    24 of them where learning from rewards begins with a policy (`started`): what is left to lose is one game in ten.
    """
    if not request.is_atari:
        return SELECTION_SEEDS
    return SELECTION_SEEDS[:24] if started else SELECTION_SEEDS[:6]


_STARTED = PPOSettings(
    n_envs=24,
    n_steps=256,
    batch_size=1536,
    n_epochs=3,
    learning_rate=1e-4,
    clip_range=0.1,
    ent_coef=0.003,
    target_kl=0.03,
    settled=True,
    sharpness=16.0,
    critic_first=0.01,
    critic_rate=10.0,
    clip_apart=True,
    plain=6,
)


def defaults_for(env: str, *, started: bool = False) -> TaskDefaults:
    """Return the defaults of a task, those of no task in particular where it has none of its own.

    `started`: of learning from rewards with a policy to begin with. An Atari policy then keeps its feature net: found
    on Pong (docs/training.md).
    """
    nothing = TaskDefaults(steps=1_000_000, evaluate_every=50_000, target=None, stop_at=None, ppo=PPOSettings())
    found = _TASKS.get(env, nothing)
    if started and env.startswith("ALE/"):
        return msgspec.structs.replace(found, steps=2_000_000, evaluate_every=200_000, stop_at=None, ppo=_STARTED)
    return found
