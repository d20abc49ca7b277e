"""Observations that are images, as pictures for a report: bytes, whatever their range and wherever their channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_CHANNELS = 4  # a first axis of at most so many is one of channels: no image is that low


def coloured(frame: Array) -> npt.NDArray[np.uint8]:
    """Return a uint8 image (H, W), (C, H, W) or (H, W, C) as (H, W, 3) where it has three channels, else as (H, W)."""
    channels = _channels_last(frame)
    return channels if channels.shape[-1] == 3 else grey(frame)


def grey(frame: Array) -> npt.NDArray[np.uint8]:
    """Return a uint8 image (H, W), (C, H, W) or (H, W, C) as (H, W): the mean of its channels."""
    return np.asarray(_channels_last(frame).mean(axis=-1).round().astype(np.uint8))


def as_bytes(*frames: Array) -> tuple[npt.NDArray[np.uint8], ...]:
    """Return images as bytes; images of numbers are stretched over them, all alike so that they can be compared."""
    if all(frame.dtype == np.uint8 for frame in frames):
        return frames
    low = min(float(frame.min()) for frame in frames)
    span = max(float(frame.max()) for frame in frames) - low or 1.0
    return tuple(((frame - low) * (255.0 / span)).round().astype(np.uint8) for frame in frames)


def _channels_last(frame: Array) -> npt.NDArray[np.uint8]:
    if frame.ndim == 2:
        return frame[..., None]
    return np.moveaxis(frame, 0, -1) if frame.shape[0] <= _CHANNELS else frame
