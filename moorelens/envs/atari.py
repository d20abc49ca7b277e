"""Episodes of Atari games; the only module that imports ale-py (GPL-2.0-only)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import ale_py
import numpy as np
import numpy.typing as npt
from ale_py import roms

from moorelens.envs import names
from moorelens.envs.config import EnvironmentRequest, EnvironmentSpec
from moorelens.envs.frames import SIZE, Preprocessor, ScreenMemory
from moorelens.envs.games import game_of, rom_name
from moorelens.errors import EnvironmentFailure, EnvironmentRequestError

FRAMESKIP = 4
MAX_FRAMES = 108_000  # half an hour of play, the limit of the ALE/*-v5 environments
_OPTIONS = ("mode", "difficulty")


def specify(request: EnvironmentRequest) -> EnvironmentSpec:
    """Describe a game; raises `EnvironmentRequestError` for one that is unknown or asked for with unknown options."""
    emulator = _emulator(request, seed=0)
    actions = _actions(request, emulator)
    return EnvironmentSpec(
        id=request.id,
        kind="atari",
        observation_shape=(1, SIZE, SIZE),
        observation_dtype="uint8",
        action_names=names.action_names(
            request.id, len(actions), given=request.action_names or tuple(_readable(a.name) for a in actions)
        ),
        feature_names=None,
        max_steps=MAX_FRAMES // FRAMESKIP,
        reward_threshold=None,
    )


class LoadedEmulator:
    """An emulator with a game in it, and how it was before it was played."""

    def __init__(self, key: str, emulator: Any) -> None:
        """Take an emulator as it was loaded; `key` says for which games it will do."""
        self.key, self.emulator = key, emulator
        self._unplayed = emulator.cloneState(include_rng=True)

    def rewind(self) -> None:
        """Make it what it was when it was loaded, its random numbers included."""
        self.emulator.restoreState(self._unplayed)


class Emulators:
    """Loaded emulators that no episode needs now, and the screens that were prepared: what one process keeps.

    Loading takes as long as 400 decisions. Without sticky actions an emulator draws no random numbers, and one that
    was loaded for a seed does for all. At most `limit` are kept, 0.6 MB each.
    """

    def __init__(self, limit: int = 64) -> None:
        """Keep nothing yet."""
        self._limit = limit
        self._idle: list[LoadedEmulator] = []
        self.screens: defaultdict[str, ScreenMemory] = defaultdict(ScreenMemory)

    def take(self, request: EnvironmentRequest, seed: int) -> LoadedEmulator:
        """Return an emulator for an episode, loaded now where none is at hand; see `AtariEpisode`."""
        key = repr((request.id, sorted(request.kwargs.items()), request.sticky, seed if request.sticky else None))
        for i, loaded in enumerate(self._idle):
            if loaded.key == key:
                return self._idle.pop(i)
        return LoadedEmulator(key, _emulator(request, seed=seed))

    def give_back(self, loaded: LoadedEmulator) -> None:
        """Keep an emulator for later episodes, in place of the one kept longest where there are too many."""
        self._idle.append(loaded)
        del self._idle[: -self._limit]


class AtariEpisode:
    """One seeded game with the preprocessing of the papers.

    Frameskip 4 without a maximum over frames, rewards as they are, over when the game is over, no fire reset. The seed
    draws the number of no-op actions before the first observation and drives the sticky actions; without both, all
    seeds play the same game.
    """

    def __init__(
        self, request: EnvironmentRequest, seed: int, *, frames: bool = True, emulators: Emulators | None = None
    ) -> None:
        """Load the game, not played before `reset`; without `frames`, observations are black and cost nothing.

        `emulators`: where loaded ones are kept between episodes, and what other episodes of the game have seen.
        """
        self._id, self._seed, self._noops = request.id, seed, request.noops
        self._emulators = emulators or Emulators()
        self._loaded = self._emulators.take(request, seed)
        self._emulator = self._loaded.emulator
        self._actions = _actions(request, self._emulator)
        self._observe = Preprocessor(game_of(request.id).crop, memory=self._emulators.screens[request.id])
        self._frames = frames
        self._steps = 0

    def reset(self) -> npt.NDArray[np.uint8]:
        """Start the game over from its seed and return its first observation."""
        self._steps = 0
        self._loaded.rewind()
        self._emulator.reset_game()
        for _ in range(int(np.random.default_rng([self._seed, 1]).integers(self._noops + 1))):
            # A no-op is an action like any other, held for four frames: a start between two decisions would show
            # the published policies, trained on whole decisions only, frames that they never saw (Pong: 21 to -1).
            for _ in range(FRAMESKIP):
                self._emulator.act(ale_py.Action.NOOP)
            if self._emulator.game_over():
                self._emulator.reset_game()
        return self._observation()

    def step(self, action: int) -> tuple[npt.NDArray[np.uint8], float, bool, bool]:
        """Hold one action for four frames and return observation, reward, terminated, truncated."""
        self._steps += 1
        if not 0 <= action < len(self._actions):
            raise EnvironmentFailure(
                f"An action of {self._id} is one of 0..{len(self._actions) - 1} and {action} was chosen in the "
                f"episode of "
                f"seed {self._seed} at step {self._steps}: the player does not fit the game."
            )
        emulator, held = self._emulator, self._actions[action]
        reward = 0.0
        for _ in range(FRAMESKIP):
            reward += emulator.act(held)
        truncated = emulator.game_truncated()
        return self._observation(), reward, emulator.game_over() and not truncated, truncated

    def screen(self) -> npt.NDArray[np.uint8]:
        """Return the screen as a person sees it, (210, 160, 3)."""
        return np.asarray(self._emulator.getScreenRGB(), dtype=np.uint8)

    def ram(self) -> npt.NDArray[np.uint8]:
        """Return the emulator's memory, (128,)."""
        return np.array(self._emulator.getRAM(), dtype=np.uint8)

    def close(self) -> None:
        """Let another episode have the emulator; this one must not be played on."""
        self._emulators.give_back(self._loaded)

    def _observation(self) -> npt.NDArray[np.uint8]:
        if not self._frames:
            return np.zeros((1, SIZE, SIZE), dtype=np.uint8)
        return self._observe(self._emulator.getScreen(), self._emulator.getScreenRGB)


def _emulator(request: EnvironmentRequest, *, seed: int) -> Any:
    unknown = sorted(set(request.kwargs) - set(_OPTIONS))
    if unknown:
        raise EnvironmentRequestError(
            f"An Atari game takes the options mode and difficulty and {request.id} was given {unknown[0]!r}: sticky "
            f"actions "
            "and no-op starts have options of their own (--sticky, --noops), and the frameskip is 4."
        )
    name = rom_name(request.id)
    if not request.id.endswith("-v5") or name not in roms.get_all_rom_ids():
        raise EnvironmentRequestError(
            f"An Atari environment is written ALE/Name-v5 with a game that ale-py ships, and {request.id!r} is none: "
            f"check "
            "the spelling, for example ALE/SpaceInvaders-v5."
        )
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    emulator = ale_py.ALEInterface()
    emulator.setInt("random_seed", seed % 2**31)
    emulator.setFloat("repeat_action_probability", request.sticky)
    emulator.setInt("max_num_frames_per_episode", MAX_FRAMES)
    emulator.loadROM(roms.get_rom_path(name))
    for option, available in (
        ("mode", emulator.getAvailableModes()),
        ("difficulty", emulator.getAvailableDifficulties()),
    ):
        if option in request.kwargs:
            if request.kwargs[option] not in available:
                raise EnvironmentRequestError(
                    f"The {option} of {request.id} is one of {list(available)}, not {request.kwargs[option]!r}: "
                    f"change it."
                )
            (emulator.setMode if option == "mode" else emulator.setDifficulty)(request.kwargs[option])
    return emulator


def _actions(request: EnvironmentRequest, emulator: Any) -> list[Any]:
    minimal = list(emulator.getMinimalActionSet())
    chosen = game_of(request.id).actions
    return minimal if chosen is None else [minimal[i] for i in chosen]


def _readable(name: str) -> str:
    # DOWNLEFTFIRE -> down left fire
    if name == "NOOP":
        return "no-op"
    words = []
    while name:
        word = next(w for w in ("UP", "DOWN", "LEFT", "RIGHT", "FIRE") if name.startswith(w))
        words.append(word.lower())
        name = name.removeprefix(word)
    return " ".join(words)
