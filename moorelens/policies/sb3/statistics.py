"""The running statistics of VecNormalize, read from the file beside a policy without running anything from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import PolicyError
from moorelens.policies.sb3.inert import array_of, read_inert, state_of

Array = npt.NDArray[np.float64]
_LARGEST = 1 << 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """How observations were normalised in training: `clip((x - mean) / sqrt(var + epsilon))`, of any shape."""

    mean: Array
    var: Array
    epsilon: float
    clip: float


def beside(path: Path) -> Path | None:
    """Return the file of statistics that belongs to a policy file, None where there is none."""
    return next((found for found in _candidates(path) if found.is_file()), None)


def _candidates(path: Path) -> Iterator[Path]:
    folder, stem = path.parent, path.stem
    for name in (f"{stem}.vecnormalize", f"{stem}_vecnormalize", f"{stem}_vec_normalize"):
        yield folder / f"{name}.pkl"
    # SB3's CheckpointCallback writes model_500_steps.zip and model_vecnormalize_500_steps.pkl.
    checkpoint = re.fullmatch(r"(.+)_(\d+)_steps", stem)
    if checkpoint:
        yield folder / f"{checkpoint[1]}_vecnormalize_{checkpoint[2]}_steps.pkl"
    for name in ("vecnormalize", "vec_normalize"):
        yield folder / f"{name}.pkl"
    # rl-zoo3 keeps them in a folder named like the environment.
    yield from sorted(folder.glob("*/vecnormalize.pkl"))


def read_statistics(path: Path, *, trust: bool = False) -> Statistics | None:
    """Return the observation statistics of a VecNormalize pickle, None where it normalises rewards only.

    Nothing in it is run. Raises `PolicyError` where it is damaged, or holds objects other than SB3's, NumPy's and
    Gymnasium's; with `trust` such a file is unpickled by SB3, which may run code from it.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is larger than any statistics")
        found = state_of(read_inert(path.read_bytes()))
        return _statistics(found, read=state_of) if found.get("norm_obs", True) else None
    except Exception as error:  # an unpickler that is fed another program's bytes may stumble in any way
        if trust:
            return _trusted(path)
        reason = " ".join((str(error) or type(error).__name__).split())[:160]
        raise PolicyError(
            f"VecNormalize statistics are read without running anything, and {str(path)!r} cannot be ({reason}): it is "
            "damaged or holds objects of other programs; if you wrote it yourself, --trust unpickles it."
        ) from error


def _statistics(state: Any, *, read: Any) -> Statistics:
    running = state["obs_rms"]
    if isinstance(running, dict):
        if len(running) != 1:
            raise ValueError(f"it normalises {len(running)} arrays")
        (running,) = running.values()
    inner = read(running)
    mean, var = array_of(inner["mean"]), array_of(inner["var"])
    found = Statistics(mean=mean, var=var, epsilon=_number(state["epsilon"]), clip=_number(state["clip_obs"]))
    if mean.shape != var.shape or not np.isfinite(mean).all() or not (np.isfinite(var).all() and (var >= 0).all()):
        raise ValueError("its numbers are not those of statistics")
    return found


def _number(value: Any) -> float:
    return float(array_of(value))


def _trusted(path: Path) -> Statistics | None:
    from stable_baselines3.common.save_util import load_from_pkl

    try:
        loaded = load_from_pkl(path)
        if not loaded.norm_obs:
            return None
        return statistics_of(loaded)
    except Exception as error:
        raise PolicyError(
            f"VecNormalize statistics can be unpickled by Stable-Baselines3, and {str(path)!r} cannot "
            f"({type(error).__name__}: {' '.join(str(error).split())[:160]}): it is damaged, so save it again."
        ) from error


def statistics_of(wrapper: Any) -> Statistics | None:
    """Return the observation statistics of a live VecNormalize, None where it normalises rewards only."""
    if not wrapper.norm_obs:
        return None
    running = wrapper.obs_rms
    if isinstance(running, dict):
        if len(running) != 1:
            raise PolicyError(
                f"A policy sees one array, and its VecNormalize normalises {len(running)}: flatten the observations "
                "before they are normalised."
            )
        (running,) = running.values()
    return Statistics(
        mean=np.asarray(running.mean, dtype=np.float64),
        var=np.asarray(running.var, dtype=np.float64),
        epsilon=float(wrapper.epsilon),
        clip=float(wrapper.clip_obs),
    )
