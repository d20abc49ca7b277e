"""The pictures of an explanation as PNG: what the model saw, the map over it, and the layers of the page."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from moorelens.pipelines.images.measuring import Measured
from moorelens.reports.image import MapFacts
from moorelens.reports.image_html import DOUBTFUL

Bytes = npt.NDArray[np.uint8]
SIDE, THUMB = 448, 96  # pixels of an overlay's longer side at least, and of a thumbnail's at most
# From what matters little to what matters most: in favour of the class, and against it.
_FOR = ((120, 20, 0), (255, 110, 0), (255, 228, 90))
_AGAINST = ((0, 30, 110), (20, 130, 220), (140, 225, 255))
_OUTLINE = (0, 230, 255, 255)
_CLEAREST = 99.5  # percentile of a signed map that is drawn at full strength: single pixels would dim all others


@dataclass(frozen=True, kw_only=True)
class Layers:
    """PNGs at the size that the model read: `picture`, `hidden` (the baseline), `heat` (transparent where nothing).

    `steps`: at which step of the curves a pixel is moved, as 256 red + green; `overlay`: the picture in grey tones
    under the heat, enlarged.
    """

    picture: bytes
    hidden: bytes
    heat: bytes
    steps: bytes
    overlay: bytes


def draw_layers(measured: Measured, raw: Tensor) -> Layers:
    """Draw what was measured of the picture `raw (C, H, W)` in [0, 1]."""
    picture = as_rgb(raw)
    heat = heat_of(measured.saliency, measured.explanation.map)
    steps = measured.steps.numpy()
    parts = np.stack([steps // 256, steps % 256, np.zeros_like(steps)], axis=2).astype(np.uint8)
    return Layers(
        picture=png(Image.fromarray(picture)),
        hidden=png(Image.fromarray(as_rgb(measured.hidden))),
        heat=png(Image.fromarray(heat)),
        steps=png(Image.fromarray(parts)),
        overlay=png(enlarged(overlaid(picture, heat, strength=1.0 if measured.explanation.explainable else DOUBTFUL))),
    )


def heat_of(saliency: Tensor, facts: MapFacts) -> Bytes:
    """Return a map (H, W) as colours (H, W, 4): nothing is drawn of a flat one.

    Signed maps are drawn from 0, orange for the class and blue against it; others from their smallest value.
    """
    values = saliency.numpy().astype(np.float64)
    if facts.flat:
        return np.zeros((*values.shape, 4), dtype=np.uint8)
    if facts.kind == "signed":
        top = float(np.percentile(np.abs(values), _CLEAREST)) or float(np.abs(values).max())
        strength = np.clip(np.abs(values) / top, 0, 1)
    else:
        strength = (values - facts.low) / (facts.high - facts.low)
    against = (values < 0) & (facts.kind == "signed")
    colours = np.where(against[..., None], _ramp(strength, _AGAINST), _ramp(strength, _FOR))
    alpha = 255 * np.minimum(1, 1.15 * strength**0.8)
    return np.concatenate([colours, alpha[..., None]], axis=2).round().astype(np.uint8)


def _ramp(strength: npt.NDArray[np.float64], stops: tuple[tuple[int, int, int], ...]) -> npt.NDArray[np.float64]:
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(strength, places, [stop[channel] for stop in stops]) for channel in range(3)], axis=2)


def outline_of(truth: Tensor) -> bytes:
    """Return the PNG of the edge of a mask (H, W) bool: its own pixels that touch others, the rest transparent."""
    mask = truth.numpy().astype(bool)
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    colours = np.zeros((*mask.shape, 4), dtype=np.uint8)
    colours[mask & ~inside] = _OUTLINE
    return png(Image.fromarray(colours))


def overlaid(picture: Bytes, heat: Bytes, *, strength: float = 1.0) -> Image.Image:
    """Return the picture in grey tones, a little darker, under the heat at `strength`, 0 to 1."""
    tones = (picture @ np.array([0.299, 0.587, 0.114]))[..., None] * 0.8
    alpha = heat[..., 3:] / 255 * strength
    mixed = tones * (1 - alpha) + heat[..., :3] * alpha
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def enlarged(image: Image.Image, *, side: int = SIDE) -> Image.Image:
    """Return a small image in larger pixels, a whole number of times."""
    factor = max(1, -(-side // max(image.size)))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def thumbnail(data: bytes) -> bytes:
    """Return a PNG scaled down to fit a list."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return png(small.quantize(128))


def as_rgb(raw: Tensor) -> Bytes:
    """Return (C, H, W) in [0, 1], C 1 or 3, as bytes (H, W, 3)."""
    bytes_: Bytes = (raw.expand(3, *raw.shape[1:]).permute(1, 2, 0).numpy() * 255).round().clip(0, 255).astype(np.uint8)
    return bytes_


def png(image: Image.Image) -> bytes:
    """Return the PNG of an image."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
