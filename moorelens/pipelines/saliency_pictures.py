"""Pictures of differential saliency: branches in their two most telling features, or overlays on what was seen."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

from moorelens.envs.games import game_of
from moorelens.pipelines.frames import as_bytes, coloured
from moorelens.pipelines.job import Job
from moorelens.reports.figures import FONT, INK, RULE, SOFT
from moorelens.reports.format import number
from moorelens.saliency.differential.analysis import BranchSaliency, Scene
from moorelens.saliency.differential.records import BranchRecord
from moorelens.text import escape

Bytes = npt.NDArray[np.uint8]
Screens = Mapping[int, tuple[Bytes, Bytes]]
_BRANCH = ("#1f6f9f", "#a04400")
_ROWS, _SHOWN, _DOTS = 3, 8, 120
_WIDTH, _GAP, _HEAD = 240, 12, 44
_HEAT = (255.0, 120.0, 0.0)


def pictures_of(
    job: Job, scene: Scene, found: BranchSaliency, record: BranchRecord, screens: Screens
) -> dict[str, bytes]:
    """Return the pictures of two compared branches by how their names end: one of both, and of images one of each."""
    if scene.observations.ndim == 2:
        names = job.env.feature_names or tuple(f"x{i}" for i in range(scene.observations.shape[1]))
        return {".svg": feature_picture(scene, record, names=names, actions=job.action_names).encode()}
    half, first = len(found.pairs.first), _shown_pairs(found)[0]
    each = {
        branch_ending(target): _png(_tile(job, scene, found, screens, place))
        for target, place in zip(found.pairs.targets, (first, first + half), strict=True)
    }
    return {".png": contact_sheet(job, scene, found, screens), **each}


def branch_ending(target: int) -> str:
    """Return how the name of one branch's picture ends."""
    return f"-to-S{target}.png"


def branch_titles(scene: Scene, targets: Sequence[int], actions: Sequence[str]) -> tuple[str, ...]:
    """Return what each branch is called: the state that it leads to, and what is done there."""
    found = (int(scene.machine.actions[target]) for target in targets)
    return tuple(
        f"to S{target}" + (f", {actions[action]}" if action >= 0 else "")
        for target, action in zip(targets, found, strict=True)
    )


def feature_picture(scene: Scene, record: BranchRecord, *, names: Sequence[str], actions: Sequence[str]) -> str:
    """Return an SVG: how much each feature decides, and the recorded observations of both branches in the best two."""
    bars = _bars(record, names)
    points = _scatter(scene, record, names=names, titles=branch_titles(scene, record.targets, actions))
    alt = f"What tells the branches of S{record.state} apart: {names[record.top[0]]} most of all."
    head = 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 300" width="720" height="300" role="img"'
    paper = '<rect width="720" height="300" fill="#ffffff"/>'
    return f'<svg {head} aria-label="{escape(alt, quote=True)}">{paper}{bars}{points}</svg>\n'


def _text(
    words: str, *, x: float, y: float, anchor: str = "start", size: float = 11, fill: str = SOFT, turn: str = ""
) -> str:
    font = f'font-family="{FONT}, sans-serif" font-size="{size:g}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {font} fill="{fill}"{turn}>{escape(words)}</text>'


def _bars(record: BranchRecord, names: Sequence[str]) -> str:
    assert record.mean is not None and record.spread is not None
    shown = list(record.top[:_SHOWN])
    low = min(0.0, *(record.mean[i] - record.spread[i] for i in shown))
    high = max(1e-9, *(record.mean[i] + record.spread[i] for i in shown))

    def x(value: float) -> float:
        return 150 + 170 * (value - low) / (high - low)

    parts = [_text(f"What decides at S{record.state}", x=12, y=24, size=13, fill=INK)]
    parts.append(f'<line x1="{x(0):.1f}" y1="40" x2="{x(0):.1f}" y2="{44 + 26 * len(shown)}" stroke="{RULE}"/>')
    for place, feature in enumerate(shown):
        y, value, spread = 46 + 26 * place, record.mean[feature], record.spread[feature]
        left, right = sorted((x(0), x(value)))
        parts.append(_text(names[feature], x=142, y=y + 12, anchor="end", fill=INK))
        parts.append(f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="16" fill="#d9884a"/>')
        ends = f'x1="{x(value - spread):.1f}" x2="{x(value + spread):.1f}" y1="{y + 8}" y2="{y + 8}"'
        parts.append(f'<line {ends} stroke="{INK}" stroke-width="1.2"/>')
    y = 46 + 26 * len(shown) + 16
    parts.append(_text("mean attribution, and its deviation over the pairs", x=12, y=y, size=10))
    if record.compared:
        parts += _proof(record)
    return "".join(parts)


def _proof(record: BranchRecord) -> list[str]:
    features = "best feature" if record.parts == 1 else f"best {record.parts} features"
    if record.flips_other is None:
        second = "with its only feature: there is no other to compare with."
    else:
        second = f"with its {features}, by {record.flips_other} with as many of the others."
    first = f"The other branch is taken by {record.flips_salient} of {record.compared}"
    return [_text(first, x=12, y=262, size=10), _text(second, x=12, y=276, size=10)]


def _scatter(scene: Scene, record: BranchRecord, *, names: Sequence[str], titles: Sequence[str]) -> str:
    across, up = (record.top[0], record.top[1]) if len(record.top) > 1 else (record.top[0], record.top[0])
    clouds = [_cloud(scene, record.state, target)[:, [across, up]] for target in record.targets]
    every = np.concatenate(clouds)
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    left, top, width, height = 400.0, 40.0, 300.0, 200.0
    parts = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="{RULE}"/>']
    for which, cloud in enumerate(clouds):
        places = (cloud - low) / span
        for px, py in places.tolist():
            cx, cy = left + 8 + px * (width - 16), top + height - 8 - py * (height - 16)
            parts.append(_mark(which, cx, cy))
        parts.append(_mark(which, left + 8 + 150 * which, 20, opacity=1.0))
        parts.append(_text(titles[which], x=left + 18 + 150 * which, y=24, fill=INK))
    for value, x, anchor in ((low[0], left, "start"), (high[0], left + width, "end")):
        parts.append(_text(number(float(value), digits=2), x=x, y=top + height + 14, anchor=anchor, size=9.5))
    for value, y in ((low[1], top + height), (high[1], top + 10)):
        parts.append(_text(number(float(value), digits=2), x=left - 6, y=y, anchor="end", size=9.5))
    parts.append(_text(names[across], x=left + width / 2, y=top + height + 30, anchor="middle", fill=INK))
    middle = top + height / 2
    parts.append(
        _text(
            names[up],
            x=left - 34,
            y=middle,
            anchor="middle",
            fill=INK,
            turn=f' transform="rotate(-90 {left - 34} {middle})"',
        )
    )
    return "".join(parts)


def _mark(which: int, x: float, y: float, opacity: float = 0.55) -> str:
    """Return a dot or a cross: branches differ in shape as well as in colour."""
    if which == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_BRANCH[0]}" fill-opacity="{opacity:g}"/>'
    path = f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"
    return f'<path d="{path}" stroke="{_BRANCH[1]}" stroke-width="1.4" stroke-opacity="{opacity:g}" fill="none"/>'


def _cloud(scene: Scene, state: int, target: int) -> npt.NDArray[np.float64]:
    rows = np.flatnonzero((scene.before == state) & (scene.traces.states == target))
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), _DOTS)).astype(int)]
    cloud: npt.NDArray[np.float64] = scene.observations[chosen].astype(np.float64)
    return cloud


def contact_sheet(job: Job, scene: Scene, found: BranchSaliency, screens: Screens) -> bytes:
    """Return a PNG: a row a pair, the screens of both branches, with what each has that decides laid over them."""
    half = len(found.pairs.first)
    pairs = _shown_pairs(found)
    titles = branch_titles(scene, found.pairs.targets, job.action_names)
    tiles = [[_tile(job, scene, found, screens, place) for place in (pair, pair + half)] for pair in pairs]
    height = max(tile.height for row in tiles for tile in row)
    sheet = Image.new("RGB", (2 * _WIDTH + 3 * _GAP, _HEAD + len(tiles) * (height + _GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((_GAP, 4), f"S{found.pairs.state}: what decides where it goes", fill=INK, font=font)
    for column, title in enumerate(titles):
        draw.text((_GAP + column * (_WIDTH + _GAP), 24), title, fill=_BRANCH[column], font=font)
    for line, row in enumerate(tiles):
        for column, tile in enumerate(row):
            sheet.paste(tile, (_GAP + column * (_WIDTH + _GAP), _HEAD + line * (height + _GAP)))
    return _png(sheet)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _shown_pairs(found: BranchSaliency) -> list[int]:
    """Return the pairs to show: with different observations and a difference, spread over all of them."""
    half = len(found.pairs.first)
    kept = [pair for pair in range(half) if not found.skipped[pair]] or list(range(half))
    distinct = list({(found.maps[pair].numpy().tobytes()): pair for pair in reversed(kept)}.values())[::-1]
    return [distinct[i] for i in sorted(set(np.linspace(0, len(distinct) - 1, min(_ROWS, len(distinct))).astype(int)))]


def _tile(job: Job, scene: Scene, found: BranchSaliency, screens: Screens, place: int) -> Image.Image:
    rows, _, _ = found.pairs.both_ways()
    row = int(rows[place])
    heat = found.maps[place].clamp_min(0).sum(dim=0) if found.maps.ndim == 4 else found.maps[place].clamp_min(0)
    if row in screens:
        picture = screens[row][0]
        cut = game_of(job.env.id).crop
    else:
        picture = coloured(as_bytes(scene.observations[row])[0])
        picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        cut = (slice(None), slice(None))
    return _overlaid(picture, heat, cut)


def _overlaid(picture: Bytes, heat: torch.Tensor, cut: tuple[slice, slice]) -> Image.Image:
    """Return the picture in grey tones with the map in orange over the part `cut` that was observed."""
    shape = picture[cut].shape[:2]
    peak = float(heat.max()) or 1.0
    grown = functional.interpolate((heat / peak)[None, None], size=shape, mode="bilinear", align_corners=False)[0, 0]
    strength = np.zeros((*picture.shape[:2], 1))
    # The root shows weak parts too; the caption's numbers are of the map itself.
    strength[cut] = grown.clamp_min(0).sqrt().numpy()[..., None] * 0.85
    # In grey tones: the games use orange themselves.
    tones = picture.mean(axis=2, keepdims=True) * 0.8
    mixed = tones * (1 - strength) + np.array(_HEAT) * strength
    image = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
    return image.resize((_WIDTH, round(_WIDTH * image.height / image.width)), Image.Resampling.NEAREST)
