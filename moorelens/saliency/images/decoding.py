"""Bytes of a picture's file to numbers in [0, 1], whatever the mode; nothing but pictures is opened."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

# Beyond it decoding needs gigabytes; Pillow begins to suspect a bomb at 89 million.
MAX_PIXELS = 80_000_000
# Nothing that starts another program (EPS) and no documents (PDF).
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "ICO")
_BEGINNINGS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n": "PNG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
_WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ENOUGH = 2048  # pixels on the shorter side; more are averaged before they become floats


class Unreadable(Exception):
    """Why a file is no picture, as the rest of a sentence that begins with its name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """`values (C, H, W)` in [0, 1] with C 1 or 3, upright; size and mode of the file; what was done, in words."""

    values: Tensor
    width: int
    height: int
    mode: str
    notes: tuple[str, ...]


def decode(data: bytes) -> Decoded:
    """Return what the bytes show: upright, on white where they are transparent, the first of several frames.

    Raises `Unreadable`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged side data, which is not what is looked at
            return _decoded(data)
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        kind = next((name for begin, name in _BEGINNINGS.items() if data.startswith(begin)), None)
        if kind is not None:
            raise Unreadable(f"begins like a {kind} file and is cut short or damaged") from error
        raise Unreadable("is no picture") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(f"claims more than {MAX_PIXELS:,} pixels") from error
    except MemoryError as error:
        raise Unreadable("is too large for this machine's memory") from error
    except Exception as error:  # each format's reader has its own ways of giving up on damaged files
        text = " ".join(str(error).split())[:120] or type(error).__name__
        if "truncated" in text.lower():  # the word of all of Pillow's readers
            raise Unreadable("is cut short: it ends in the middle of the picture") from error
        raise Unreadable(f"is damaged ({text})") from error


def _decoded(data: bytes) -> Decoded:
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    with Image.open(io.BytesIO(data), formats=formats) as image:
        width, height, mode = image.width, image.height, image.mode
        if width * height > MAX_PIXELS:
            raise Unreadable(f"has {width:,} × {height:,} pixels, where {MAX_PIXELS:,} are read at most")
        notes = []
        if (frames := int(getattr(image, "n_frames", 1))) > 1:
            notes.append(f"the first of {frames} frames")
        image.load()
        turn = _TURNS.get(_orientation(image))
        if turn is not None:
            notes.append("turned upright, as its EXIF data says")
        upright = image if turn is None else image.transpose(turn)
        if mode.startswith(_WIDE):
            values, scaled = _wide(np.asarray(upright))
        else:
            values, scaled = _bytes(upright)
    return Decoded(values=values, width=width, height=height, mode=mode, notes=(*notes, *scaled))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data says nothing, and the picture beside it may be sound
        return 1


def _bytes(image: Image.Image) -> tuple[Tensor, list[str]]:
    notes = []
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        if np.asarray(whole)[..., 3].min() < 255:
            notes.append("transparent parts shown on white")
        paper = Image.new("RGBA", whole.size, "white")
        paper.alpha_composite(whole)
        grey = image.mode in ("LA", "La", "L", "1")
        image = paper.convert("L" if grey else "RGB")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        if image.mode != "RGB":
            notes.append(f"converted from {image.mode} to RGB")
        image = image.convert("RGB")
    if (factor := min(image.size) // _ENOUGH) > 1:
        image = image.reduce(factor)
    values = torch.from_numpy(np.array(image, dtype=np.float32)) / 255
    return (values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous()), notes


def _wide(pixels: np.ndarray[Any, Any]) -> tuple[Tensor, list[str]]:
    """Return one channel of more than 8 bits in [0, 1]: by the range of its type where it fits, else by its own."""
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise Unreadable("holds NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        scaled, note = values, "numbers from 0 to 1 taken as they are"
    elif low >= 0 and high <= 65535 and pixels.dtype.kind in "iu":
        scaled, note = values / 65535, "16 bits scaled to 0 to 1"
    else:
        scaled = (values - low) / ((high - low) or 1.0)
        note = f"numbers from {low:g} to {high:g} scaled to 0 to 1"
    return torch.from_numpy(scaled.astype(np.float32))[None], [note]
