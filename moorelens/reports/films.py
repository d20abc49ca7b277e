"""Recorded frames as PNG strips: few bytes, each frame once, cut out again by the page that plays them.

Letters: N frames of H by W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from moorelens.reports.data import Film, ReportData

# Browsers decode pictures of up to 32 767 pixels a side.
_TALLEST = 32_000
Bytes = npt.NDArray[np.uint8]


def film_of(frames: Iterable[Bytes], *, alt: str, most_bytes: int | None = None) -> tuple[Film | None, tuple[int, ...]]:
    """Return the film of uint8 `frames`, (H, W) or (H, W, 3) each, and the place in it of each frame (N,).

    Equal frames are stored once, without loss where they have at most 256 colours in all. One frame stands below the
    other, so that what did not change since the last one costs next to nothing. Above `most_bytes` there is no film.
    """
    distinct: dict[bytes, int] = {}
    kept: list[Bytes] = []
    places: list[int] = []
    for frame in frames:
        place = distinct.setdefault(frame.tobytes(), len(kept))
        if place == len(kept):
            kept.append(np.array(frame))
        places.append(place)
    if not kept:
        return None, ()
    height, width = kept[0].shape[:2]
    per_strip = max(1, min(_TALLEST // height, 128))
    table = _palette(kept)
    strips = tuple(
        _strip(np.concatenate(kept[at : at + per_strip]), table=table) for at in range(0, len(kept), per_strip)
    )
    if most_bytes is not None and sum(map(len, strips)) > most_bytes:
        return None, ()
    film = Film(strips=strips, width=width, height=height, per_strip=per_strip, frames=len(kept), alt=alt)
    return film, tuple(places)


def with_less_film(data: ReportData, *, most_bytes: int) -> ReportData:
    """Return a report whose films take at most `most_bytes` as stored: of each, one frame in two, four, ... is kept.

    An episode shows the last frame that was kept. Films that are still too large at one frame in 64 are left out.
    """
    every = 1
    films = data.films
    while sum(len(strip) for film in films.values() for strip in film.strips) > most_bytes:
        every *= 2
        films = {key: _thinned(film, every) for key, film in data.films.items()} if every <= 64 else {}
    episodes = tuple(
        msgspec.structs.replace(
            episode,
            film=episode.film if episode.film in films else None,
            shown=tuple(frame // every for frame in episode.shown) if episode.film in films else (),
        )
        for episode in data.episodes
    )
    return msgspec.structs.replace(data, films=films, episodes=episodes)


def _thinned(film: Film, every: int) -> Film:
    frames: list[Bytes] = []
    for strip in film.strips:
        with Image.open(io.BytesIO(strip)) as image:
            pixels = np.array(image.convert("RGB"))
        frames += list(pixels.reshape(-1, film.height, film.width, 3))
    kept, table = frames[::every], _palette(frames[::every])
    strips = tuple(
        _strip(np.concatenate(kept[at : at + film.per_strip]), table=table)
        for at in range(0, len(kept), film.per_strip)
    )
    alt = f"{film.alt} One frame in {every} is stored."
    return msgspec.structs.replace(film, strips=strips, frames=len(kept), alt=alt)


def _numbers(frame: Bytes) -> npt.NDArray[np.uint32]:
    """Return one number a pixel: grey values as they are, colours as 0xrrggbb."""
    if frame.ndim == 2:
        return frame.astype(np.uint32) * 0x010101
    wide = frame.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def _palette(frames: list[Bytes]) -> npt.NDArray[np.uint32] | None:
    """Return all colours of the film in order, None where they are more than 256."""
    colours: set[int] = set()
    for frame in frames:
        colours.update(np.unique(_numbers(frame)).tolist())
        if len(colours) > 256:
            return None
    return np.array(sorted(colours), dtype=np.uint32)


def _strip(pixels: Bytes, *, table: npt.NDArray[np.uint32] | None) -> bytes:
    buffer = io.BytesIO()
    if table is None:
        Image.fromarray(pixels).convert("RGB").quantize(256).save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()
    image = Image.fromarray(np.searchsorted(table, _numbers(pixels)).astype(np.uint8)).convert("P")
    # Grey levels became a palette of greys: give it the film's own.
    image.putpalette([channel for colour in table.tolist() for channel in colour.to_bytes(3, "big")])
    # Four bits a pixel keep the frame before within the 32 KiB that the compression looks back.
    bits = 4 if len(table) <= 16 else 8
    image.save(buffer, format="PNG", bits=bits, optimize=False, compress_level=9)
    return buffer.getvalue()
