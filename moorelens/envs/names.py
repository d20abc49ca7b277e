"""What the actions and features of well-known control tasks are called."""

from __future__ import annotations

from moorelens.errors import EnvironmentRequestError

_ACTIONS: dict[str, tuple[str, ...]] = {
    "CartPole": ("push left", "push right"),
    "Acrobot": ("torque -1", "torque 0", "torque +1"),
    "LunarLander": ("idle", "left engine", "main engine", "right engine"),
    "MountainCar": ("push left", "coast", "push right"),
    "moorelens/CartPoleNoVelocity": ("push left", "push right"),
    "moorelens/TMaze": ("forward", "turn left", "turn right"),
    **{f"moorelens/{name}": tuple(f"mode {i}" for i in range(4)) for name in ("Amnesia", "Blind", "Tracker")},
    **{f"moorelens/Tomita{which}": ("reject", "accept") for which in (*range(1, 8), "3Later")},
}
_FEATURES: dict[str, tuple[str, ...]] = {
    "CartPole": ("cart position", "cart velocity", "pole angle", "pole angular velocity"),
    "Acrobot": (
        "cos of joint 1",
        "sin of joint 1",
        "cos of joint 2",
        "sin of joint 2",
        "angular velocity of joint 1",
        "angular velocity of joint 2",
    ),
    "LunarLander": (
        "horizontal position",
        "height",
        "horizontal velocity",
        "vertical velocity",
        "tilt",
        "angular velocity",
        "left leg touches",
        "right leg touches",
    ),
    "MountainCar": ("position", "velocity"),
    "moorelens/CartPoleNoVelocity": ("cart position", "pole angle"),
    "moorelens/TMaze": ("sign", "at the fork", "in the corridor"),
    **{f"moorelens/{name}": ("observation",) for name in ("Amnesia", "Blind", "Tracker")},
    **{f"moorelens/Tomita{which}": ("bit",) for which in (*range(1, 8), "3Later")},
}


def action_names(env_id: str, count: int, *, given: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return `count` action names: those given, the built-in ones of the task, or `action 0`, `action 1`, ..."""
    return _names(_ACTIONS, env_id, count, given, "action")


def feature_names(env_id: str, count: int, *, given: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return `count` feature names: those given, the built-in ones of the task, or `feature 0`, `feature 1`, ..."""
    return _names(_FEATURES, env_id, count, given, "feature")


def _names(
    table: dict[str, tuple[str, ...]], env_id: str, count: int, given: tuple[str, ...] | None, what: str
) -> tuple[str, ...]:
    if given is not None:
        if len(given) != count or len(set(given)) != count:
            raise EnvironmentRequestError(
                f"Every {what} of {env_id} needs one name of its own ({count} in all) and {len(set(given))} different "
                "ones were given: correct the names file."
            )
        return given
    known = table.get(env_id.rsplit("-v", 1)[0], ())
    return known if len(known) == count else tuple(f"{what} {i}" for i in range(count))
