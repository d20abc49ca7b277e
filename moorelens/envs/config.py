"""What an environment is asked for, and what it turned out to be: two frozen, JSON-able records."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from moorelens.errors import EnvironmentRequestError

Kind = Literal["control", "atari", "custom"]


class FrameStack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the last observations are put side by side, as frame-stacking wrappers do: the newest last, along `axis`.

    `frames`: how many, 2 or more. `fill`: what stands for observations before the first, one number or one per entry.
    """

    frames: int
    axis: int = -1
    fill: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        """Refuse what is no stack."""
        if self.frames < 2:
            raise EnvironmentRequestError(f"A frame stack has two frames or more, not {self.frames}: leave it out.")


class EnvironmentRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to build one environment; equal requests and seeds give equal episodes.

    `id`: a Gymnasium id, or `python:package.module:factory` (a callable that returns a Gymnasium environment).
    `kwargs`: passed to the constructor. `sticky`: chance in [0, 1] that Atari repeats the last action (default 0).
    `noops`: an Atari episode starts with 0..noops no-op actions drawn from its seed (0: none).
    `preset`: how Atari frames are prepared; `mmn`, the only way, is that of Koul et al. 2019 (frameskip 4, 80 x 80).
    `action_names`, `feature_names`: replace the built-in names (`--names FILE`). `stack`: the policy sees the last few
    observations at once.
    Raises `EnvironmentRequestError` where a value is out of range.
    """

    id: str
    kwargs: dict[str, Any] = {}
    sticky: float = 0.0
    noops: int = 0
    preset: Literal["mmn"] | None = None
    action_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    stack: FrameStack | None = None

    def __post_init__(self) -> None:
        """Refuse values that no environment can be built from."""
        if not self.id.strip():
            raise EnvironmentRequestError(
                "An environment needs an id and this one is empty: pass one such as CartPole-v1."
            )
        if not 0.0 <= self.sticky <= 1.0:
            raise EnvironmentRequestError(
                f"The sticky-action probability lies in [0, 1], not {self.sticky}: pass one such as 0.25."
            )
        if self.noops < 0:
            raise EnvironmentRequestError(
                f"The number of no-op starts is 0 or more, not {self.noops}: pass one such as 30."
            )
        if not self.is_atari and (self.sticky or self.noops or self.preset):
            raise EnvironmentRequestError(
                f"Sticky actions, no-op starts and presets belong to Atari games and {self.id} is none (their ids "
                "begin with 'ALE/'): leave --sticky, --noops and the preset out."
            )
        if self.is_atari and self.stack is not None:
            raise EnvironmentRequestError(
                f"Frame stacks are for environments that are not prepared as Atari games are, and {self.id} is one: "
                "build it with the wrappers of the training in a python: factory."
            )

    @property
    def is_atari(self) -> bool:
        """Whether the id names a game of the Arcade Learning Environment."""
        return self.id.startswith("ALE/")


class EnvironmentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a built environment offers: shapes and names, and the limits that its designers set.

    `observation_shape`: of one observation, without a batch axis. `max_steps`: the time limit in decisions, or None.
    `reward_threshold`: the return at which its designers call it solved, or None. `feature_names`: one per entry of a
    vector observation, None for images.
    """

    id: str
    kind: Kind
    observation_shape: tuple[int, ...]
    observation_dtype: Literal["float32", "uint8"]
    action_names: tuple[str, ...]
    feature_names: tuple[str, ...] | None
    max_steps: int | None
    reward_threshold: float | None


def is_code(name: str) -> bool:
    """Say whether building `name` imports a module that it names: `python:...`, or Gymnasium's `module:Id`."""
    return ":" in name


def named_by_file(request: EnvironmentRequest, *, source: str, trust: bool) -> EnvironmentRequest:
    """Return an environment that a file asks for and nobody typed; raises `EnvironmentRequestError` for code.

    Whoever wrote the file would choose what is imported and called.
    """
    if is_code(request.id) and not trust:
        raise EnvironmentRequestError(
            f"An environment that a file names is built only where that runs no code of the file's choice, and "
            f"{source} names {request.id}: pass --env to name it yourself where there is that option, or --trust if "
            "the file is yours."
        )
    return request
