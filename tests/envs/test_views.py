"""Spaces of every kind that can be seen as one array and answered by one number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from moorelens.envs import EnvironmentRequest, describe, play
from moorelens.envs.config import FrameStack
from moorelens.envs.control import build
from moorelens.envs.factories import factory_of, import_named
from moorelens.envs.views import Viewed
from moorelens.errors import EnvironmentRequestError

ODD = "python:" + ".".join([*__name__.split(".")[:-1], "odd_environments"])


class Turns:
    """Takes the actions in turn."""

    def __init__(self, count: int) -> None:
        self.count = count

    def start(self, n: int) -> dict[str, int]:
        return {"t": -1}

    def act(self, state: dict[str, int], rows: Any, observations: Any) -> Any:
        state["t"] += 1
        return np.full(len(rows), state["t"] % self.count)


def seen(name: str, **options: Any) -> Any:
    request = EnvironmentRequest(id=f"{ODD}:{name}", **options)
    played = play(request, [0], Turns(len(describe(request).action_names)))
    return played.frames[played.frame_index]


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("vector", (2,), "float32"),
        ("image", (4, 5, 1), "uint8"),
        ("dictionary", (4, 5, 3), "uint8"),
        ("numbered", (4,), "float32"),
    ],
)
def test_what_is_seen_is_one_array(name: str, shape: tuple[int, ...], dtype: str) -> None:
    spec = describe(EnvironmentRequest(id=f"{ODD}:{name}"))
    assert (spec.observation_shape, spec.observation_dtype, spec.kind) == (shape, dtype, "custom")
    frames = seen(name)
    assert frames.shape == (6, *shape) and frames.dtype == dtype


def test_a_numbered_observation_is_one_hot() -> None:
    assert seen("numbered").tolist() == np.eye(4)[[0, 1, 2, 3, 0, 1]].tolist()


def test_several_choices_are_counted_through() -> None:
    request = EnvironmentRequest(id=f"{ODD}:several")
    names = describe(request).action_names
    assert names == ("(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)", "(2, 0)", "(2, 1)")
    played = play(request, [0], Turns(6))
    # The reward of these environments is the sum of the choices.
    assert played.rewards.tolist() == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(("name", "axis"), [("vector", -1), ("image", -1), ("dictionary", -1)])
def test_stacked_frames_are_those_of_stable_baselines(name: str, axis: int) -> None:
    frames = seen(name, stack=FrameStack(frames=3, axis=axis))
    request = EnvironmentRequest(id=f"{ODD}:{name}")
    theirs = VecFrameStack(DummyVecEnv([lambda: Viewed(build(request), request)]), 3, channels_order="last")
    expected = [np.array(theirs.reset()[0])]
    for action in [0, 1, 0, 1, 0]:
        expected.append(np.array(theirs.step(np.array([action]))[0][0]))
    assert frames.tolist() == np.stack(expected).tolist()


def test_the_filling_stands_for_what_came_before() -> None:
    frames = seen("vector", stack=FrameStack(frames=3, fill=(7.0, 8.0)))
    assert frames[:3].tolist() == [[7, 8, 7, 8, 1, 1], [7, 8, 1, 1, 2, 2], [1, 1, 2, 2, 3, 3]]


def test_stacked_features_say_how_long_ago_they_were_seen() -> None:
    spec = describe(EnvironmentRequest(id="MountainCar-v0", stack=FrameStack(frames=3)))
    assert spec.feature_names == (
        "position 2 steps ago",
        "velocity 2 steps ago",
        "position 1 step ago",
        "velocity 1 step ago",
        "position",
        "velocity",
    )


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"id": f"{ODD}:too_many"}, "900 joint actions"),
        ({"id": f"{ODD}:two_entries"}, "FilterObservation"),
        ({"id": f"{ODD}:vector", "stack": {"frames": 2, "axis": 1}}, "along an axis"),
        ({"id": f"{ODD}:vector", "stack": {"frames": 2, "fill": (1.0, 2.0, 3.0)}}, "3 filling"),
        ({"id": f"{ODD}:vector", "stack": {"frames": 1}}, "two frames or more"),
        ({"id": "ALE/Pong-v5", "stack": {"frames": 2}}, "Atari"),
    ],
)
def test_what_cannot_be_viewed_is_refused_in_one_sentence(request_: dict[str, Any], says: str) -> None:
    with pytest.raises(EnvironmentRequestError, match=says) as caught:
        stack = request_.pop("stack", None)
        describe(EnvironmentRequest(**request_, stack=None if stack is None else FrameStack(**stack)))
    assert "\n" not in str(caught.value)


def test_a_factory_is_found_in_the_current_folder_and_the_path_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    Path("lying_here.py").write_text("def made():\n    return 1\n")
    before = list(sys.path)
    assert factory_of("python:lying_here:made")() == 1
    assert sys.path == before
    with pytest.raises(ModuleNotFoundError):
        import_named("not_lying_here:made")
    assert sys.path == before
    sys.modules.pop("lying_here")
