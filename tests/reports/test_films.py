"""Films: every frame once, without loss, in strips that a browser can decode."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from moorelens.reports.data import Film, ReportData
from moorelens.reports.films import film_of, with_less_film


def cut_out(film: Film, place: int) -> npt.NDArray[np.uint8]:
    """A frame of a film as the page cuts it out."""
    strip = Image.open(io.BytesIO(film.strips[place // film.per_strip])).convert("RGB")
    top = (place % film.per_strip) * film.height
    return np.asarray(strip.crop((0, top, film.width, top + film.height)))


@pytest.mark.parametrize("colours", [2, 16, 17, 200])
@pytest.mark.parametrize("grey", [False, True])
def test_frames_come_back_as_they_were(colours: int, grey: bool) -> None:
    rng = np.random.default_rng(colours)
    table = rng.permutation(256)[:colours, None].repeat(3, axis=1) if grey else rng.integers(0, 256, (colours, 3))
    frames = table.astype(np.uint8)[rng.integers(0, colours, size=(300, 21, 16))]
    given = frames[..., 0] if grey else frames
    film, places = film_of(given, alt="noise")
    assert film is not None
    assert (film.width, film.height, film.frames) == (16, 21, 300)
    for place in (0, 127, 128, 299):
        assert np.array_equal(cut_out(film, places[place]), frames[place])


def test_equal_frames_are_stored_once() -> None:
    frames = [np.full((4, 4), value, dtype=np.uint8) for value in (1, 2, 1, 1, 3, 2)]
    film, places = film_of(frames, alt="steps")
    assert film is not None
    assert film.frames == 3
    assert places == (0, 1, 0, 0, 2, 1)


def test_what_hardly_changes_costs_hardly_anything() -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 16, size=(210, 160)).astype(np.uint8)
    frames = []
    for step in range(100):
        frame = still.copy()
        frame[step, step] = 16 - frame[step, step] % 2
        frames.append(frame % 16)
    film, _ = film_of(frames, alt="a dot")
    one, _ = film_of(frames[:1], alt="a dot")
    assert film is not None
    assert one is not None
    assert len(film.strips[0]) < 3 * len(one.strips[0])


def test_a_film_that_is_too_long_is_none() -> None:
    frames = np.random.default_rng(0).integers(0, 256, size=(50, 40, 40)).astype(np.uint8)
    assert film_of(frames, alt="noise", most_bytes=1000) == (None, ())
    assert film_of([], alt="nothing") == (None, ())


def test_no_strip_is_taller_than_a_browser_decodes() -> None:
    frames = np.arange(40, dtype=np.uint8)[:, None, None].repeat(2000, axis=1).repeat(2, axis=2)
    film, _ = film_of(frames, alt="tall")
    assert film is not None
    assert film.per_strip * film.height <= 32767
    assert len(film.strips) == -(-40 // film.per_strip)


def test_a_film_is_thinned_evenly_until_it_fits(pong: ReportData) -> None:
    (film,) = pong.films.values()
    size = sum(map(len, film.strips))
    assert with_less_film(pong, most_bytes=size) == pong
    less = with_less_film(pong, most_bytes=size // 2)
    (thin,) = less.films.values()
    assert sum(map(len, thin.strips)) <= size // 2
    every = -(-film.frames // thin.frames)
    assert f"One frame in {every}" in thin.alt
    # What an episode shows is the frame that was seen, or one that was seen shortly before.
    before, after = cut(film), cut(thin)
    for old, new in zip(pong.episodes[0].shown, less.episodes[0].shown, strict=True):
        assert np.array_equal(after[new], before[old // every * every])


def test_where_no_film_fits_an_episode_plays_without_pictures(pong: ReportData) -> None:
    bare = with_less_film(pong, most_bytes=0)
    assert not bare.films
    assert bare.episodes[0].film is None and bare.episodes[0].shown == ()
    assert bare.episodes[0].states == pong.episodes[0].states


def cut(film: Film) -> list[npt.NDArray[np.uint8]]:
    """The frames of a film, as a page cuts them out."""
    strips = [np.array(Image.open(io.BytesIO(strip)).convert("RGB")) for strip in film.strips]
    return [frame for strip in strips for frame in strip.reshape(-1, film.height, film.width, 3)]
