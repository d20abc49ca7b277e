"""Pictures as files, of any size and mode, read into what a model looks at; what was done to them is said."""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import ImageError, ModelError
from moorelens.runs.manifest import MANIFEST, decode_manifest
from moorelens.saliency.images.decoding import Unreadable, decode
from moorelens.saliency.images.models import ImageModel

Fit = Literal["crop", "stretch"]
MAX_BYTES = 1 << 29
MOST_FILES = 100_000  # that are looked at below a folder: twice the largest collection that is usual for testing
_OF_THE_SYSTEM = ("/proc", "/sys")  # where files stand for processes and devices
LONGEST = 512  # of a picture shown to a model that takes any size
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture as the model is shown it: `raw (C, H, W)` in [0, 1], before the normaliser.

    `name`: of the file, with its folders below the one that was given; `width`, `height`, `mode`: of the file;
    `notes`: what was done on the way, in words.
    """

    raw: Tensor
    name: str
    width: int
    height: int
    mode: str
    notes: tuple[str, ...] = ()

    def input(self, model: ImageModel) -> Tensor:
        """Return the picture in model-input space, (1, C, H, W)."""
        return model.normaliser(self.raw[None])


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file of a folder that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What was found: pictures, and files that are none."""

    pictures: tuple[Picture, ...]
    skipped: tuple[Skipped, ...] = ()

    def inputs(self, model: ImageModel) -> Tensor:
        """Return all pictures in model-input space, (N, C, H, W); raises `ImageError` where their sizes differ."""
        sizes = {tuple(picture.raw.shape[1:]) for picture in self.pictures}
        if len(sizes) > 1:
            raise ImageError(
                f"Pictures of one batch have one size, and these have {len(sizes)}, as {model.name} takes any: open it "
                "with a size, or take them one by one."
            )
        return torch.cat([picture.input(model) for picture in self.pictures])


def load_images(path: str | Path, model: ImageModel, *, fit: Fit = "crop") -> Pictures:
    """Read a picture, or all pictures in a folder and the folders below it, in the order of their names.

    `fit`: see `read_picture`. Files of a folder that are no pictures are left out and said.
    Raises `ImageError` where `path` cannot be read or holds no picture, `ModelError` for a model of other channels.
    """
    path = Path(path)
    if not path.is_dir():
        return Pictures(pictures=(read_picture(file_bytes(path), name=path.name, model=model, fit=fit),))
    found: list[Picture] = []
    skipped: list[Skipped] = []
    for name in picture_files(path):
        try:
            found.append(_shown(_read(path / name), name=name, model=model, fit=fit))
        except Unreadable as reason:
            skipped.append(Skipped(name=name, reason=str(reason)))
    check_found(path, len(found), skipped)
    return Pictures(pictures=tuple(found), skipped=tuple(skipped))


def read_picture(data: bytes, *, name: str, model: ImageModel, fit: Fit = "crop") -> Picture:
    """Return the picture in the bytes of a file, at the size and with the channels of `model`.

    `fit`: `crop` scales the shorter side and cuts out the middle (how most classifiers were trained), `stretch` scales
    both sides. A model of any size sees the picture at its own, up to 512 pixels. Grey pictures are shown to a model of
    3 channels in grey, coloured ones to a model of 1 by their luma.
    Raises `ImageError` where the bytes are no picture, `ModelError` for a model of other channels than 1 or 3.
    """
    try:
        return _shown(data, name=name, model=model, fit=fit)
    except Unreadable as reason:
        raise _unreadable(name, reason) from reason


def file_bytes(path: Path) -> bytes:
    """Return the bytes of a picture's file; raises `ImageError` where it cannot be read."""
    try:
        return _read(path)
    except Unreadable as reason:
        raise _unreadable(path, reason) from reason


def picture_files(folder: Path) -> list[str]:
    """Return the names of all files below `folder`, as `sub/name`, sorted.

    Hidden ones, linked folders and run folders are left out: what was made of pictures is not explained in turn.

    Raises `ImageError` where the folder cannot be read, is one of the system's own, or holds more than `MOST_FILES`.
    """
    if _is_of_the_system(folder):
        raise ImageError(
            f"A folder of pictures holds files, and in {folder} the system shows its processes and devices as such: "
            "check how it is written."
        )
    problems: list[OSError] = []
    names: list[str] = []
    for parent, folders, files in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and _is_walked(Path(parent) / name))
        below = Path(parent).relative_to(folder)
        names += [(below / name).as_posix() for name in files if not name.startswith(".")]
        if len(names) > MOST_FILES:
            raise ImageError(
                f"A folder of pictures holds at most {MOST_FILES:,} files, those of the folders in it included, and "
                f"{folder} holds more: name the folder that holds the pictures alone, or a part of them."
            )
    if problems and not names:
        raise ImageError(f"A folder of pictures is read, and {folder} is not ({problems[0].strerror}): check its mode.")
    return sorted(names)


def _is_of_the_system(folder: Path) -> bool:
    return os.name == "posix" and f"{os.path.realpath(folder)}/".startswith(tuple(f"{one}/" for one in _OF_THE_SYSTEM))


def _is_walked(folder: Path) -> bool:
    return not (_is_of_the_system(folder) or _is_run(folder))


def _is_run(folder: Path) -> bool:
    try:
        return decode_manifest((folder / MANIFEST).read_bytes()) is not None
    except OSError:
        return False


def check_found(folder: Path, count: int, skipped: list[Skipped]) -> None:
    """Raise `ImageError` where `count` pictures of a folder are none."""
    if count:
        return
    if not skipped:
        raise ImageError(
            f"A folder of pictures holds one or more, and {folder} holds no file: check how it is written."
        )
    raise ImageError(
        f"A folder of pictures holds one or more, and of the {len(skipped)} files in {folder} none can be read "
        f"({skipped[0].name} {skipped[0].reason}): check how it is written."
    )


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is no file")
        if status.st_size > MAX_BYTES:
            raise Unreadable(f"has {status.st_size:,} bytes, where {MAX_BYTES:,} are read at most")
        if status.st_size == 0:
            raise Unreadable("is empty")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(f"cannot be read ({reason})") from error


def _unreadable(name: str | Path, reason: Unreadable) -> ImageError:
    return ImageError(
        f"A picture is a file such as PNG, JPEG, TIFF or WebP, and {name} {reason}: check how it is written, or give "
        "another one."
    )


def _shown(data: bytes, *, name: str, model: ImageModel, fit: Fit) -> Picture:
    if model.channels not in (1, 3):
        raise ModelError(
            f"A file holds 1 or 3 channels, and {model.name} reads {model.channels}: explain tensors in Python "
            "(docs/images.md), or wrap the model."
        )
    decoded = decode(data)
    raw, size = _channels(decoded.values, model.channels), model.size
    notes = list(decoded.notes)
    if decoded.values.shape[0] == 3 and model.channels == 1:
        notes.append("shown in grey, as the model reads one channel")
    raw, resized = _fitted(raw, size or _own_size(raw), fit)
    return Picture(
        raw=raw, name=name, width=decoded.width, height=decoded.height, mode=decoded.mode, notes=(*notes, *resized)
    )


def _channels(values: Tensor, channels: int) -> Tensor:
    if values.shape[0] == channels:
        return values
    if channels == 3:
        return values.expand(3, *values.shape[1:])
    return (values * values.new_tensor(_LUMA)[:, None, None]).sum(dim=0, keepdim=True)


def _own_size(raw: Tensor) -> tuple[int, int]:
    height, width = raw.shape[1:]
    factor = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _fitted(raw: Tensor, size: tuple[int, int], fit: Fit) -> tuple[Tensor, list[str]]:
    """Return (C, H, W) at `size`, and what that took."""
    height, width = raw.shape[1:]
    if (height, width) == size:
        return raw.clamp(0, 1).contiguous(), []
    notes = []
    if fit == "crop":
        # The largest part in the middle that has the model's proportions; then it is scaled.
        part = min(height / size[0], width / size[1])
        tall, wide = max(1, round(size[0] * part)), max(1, round(size[1] * part))
        top, left = (height - tall) // 2, (width - wide) // 2
        if (tall, wide) != (height, width):
            notes.append(f"cut to the middle {wide} × {tall} pixels")
        raw = raw[:, top : top + tall, left : left + wide]
    if tuple(raw.shape[1:]) != size:
        notes.append(f"scaled to {size[1]} × {size[0]} pixels")
        raw = functional.interpolate(raw[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    return raw.clamp(0, 1).contiguous(), notes


def shown_name(name: str) -> str:
    """Return a file's name as it can be written anywhere: what is no character, or steers a terminal or the direction
    of a line, becomes the sign for an unknown one."""
    known = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in ("Cc", "Cf") else sign for sign in known
    )
