"""The curves of an explanation as SVG: the score while the most salient pixels are hidden, or shown, one by one."""

from __future__ import annotations

from collections.abc import Sequence

from moorelens.reports.figures import FONT, INK, RULE, SOFT
from moorelens.reports.format import MINUS, number
from moorelens.reports.image import Explanation
from moorelens.text import escape

DELETION, INSERTION = "#b4432f", "#2f6da8"
SCORES = {"prob": "probability", "logit": "logit", "logprob": "log probability", "margin": "margin"}
_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT = 48.0, 34.0, 400.0, 200.0, 142.0
_LINE = 12.0  # between two lines of words
_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


def curves_svg(found: Explanation, *, paper: bool = True) -> str:
    """Return the plot; `paper`: on white with its key, a file of its own; else as a page needs it."""
    low, high = _range(found)
    parts = [_axes(found, low, high)]
    levels = (("whole picture", _y(found.f_x, low, high)), ("all hidden", _y(found.f_b, low, high)))
    for (name, y), place in zip(levels, _apart(levels[0][1], levels[1][1]), strict=True):
        parts.append(_path(f"M{_LEFT:g} {y:.1f}h{_WIDTH:g}", SOFT, "level", width=0.8, dash="1 3"))
        # In the middle, where the curves seldom meet these levels.
        parts.append(_text(name, x=_x(0.5), y=place, anchor="middle", size=10))
    curves = (
        ("hidden, random", DELETION, "deletion", found.deletion.area, found.random.deletion_score, "4 3"),
        ("shown, random", INSERTION, "insertion", found.insertion.area, found.random.insertion_score, "4 3"),
        ("hidden", DELETION, "deletion", found.deletion.area, found.deletion.score, ""),
        ("shown", INSERTION, "insertion", found.insertion.area, found.insertion.score, ""),
    )
    for _, colour, name, areas, scores, dash in curves:
        points = " ".join(
            f"{_x(area):.1f},{_y(score, low, high):.1f}" for area, score in zip(areas, scores, strict=True)
        )
        parts.append(_line(points, colour, name, dash))
    if paper:
        parts.append(_key(found))
    parts.append(f'<path class="cursor" d="M{_LEFT:g} {_TOP:g}v{_HEIGHT:g}" stroke="none" stroke-width="1.2"/>')
    width, height = _LEFT + _WIDTH + (_RIGHT if paper else 16), _TOP + _HEIGHT + 40
    ground = f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>' if paper else ""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    head = f'{_NAMESPACE} class="figure curves" {size} role="img" aria-label="{escape(_alt(found), quote=True)}"'
    return f"<svg {head}>{ground}{''.join(parts)}</svg>\n"


def scored(value: float | None) -> str:
    """Return a score with three decimals: 0.996 is not 1."""
    return number(value, digits=3)


def fixed(value: float) -> str:
    """Return a score for a column of them: always three decimals, and no minus before nothing."""
    return f"{round(value, 3) + 0.0:,.3f}".replace(",", "\u202f").replace("-", MINUS)


def column_share(value: float) -> str:
    """Return a probability for a column of them: one decimal, and 0 % or 100 % only where it is exactly that."""
    if 0 < value < 0.0005:
        return "<0.1\u202f%"
    return ">99.9\u202f%" if 0.9995 <= value < 1 else f"{100 * value:.1f}\u202f%"


def curve_places(areas: Sequence[float]) -> list[float]:
    """Return where on the plot each step stands, for the page's cursor."""
    return [round(_x(area), 1) for area in areas]


def _alt(found: Explanation) -> str:
    score = SCORES[found.score]
    return (
        f"The {score} of {found.target.name} falls from {scored(found.f_x)} while the most salient pixels are hidden "
        f"(area {scored(found.deletion.auc)}) and rises from {scored(found.f_b)} while they are shown "
        f"(area {scored(found.insertion.auc)})."
    )


def _range(found: Explanation) -> tuple[float, float]:
    if found.score == "prob":
        return 0.0, 1.0
    known = [*found.deletion.score, *found.insertion.score, *found.random.deletion_score, *found.random.insertion_score]
    low, high = min(known), max(known)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _apart(first: float, second: float) -> tuple[float, float]:
    """Return where the words of two levels stand: above their lines, of two that are close on either side of them."""
    alone = [y + (12 if y < _TOP + 14 else -4) for y in (first, second)]
    if abs(alone[0] - alone[1]) >= _LINE:
        return alone[0], alone[1]
    upper, lower = min(first, second) - 4, max(first, second) + 12
    if lower > _TOP + _HEIGHT - 2:  # where the axis begins
        lower = max(first, second) - 4
        upper = min(upper, lower - _LINE)
    return (upper, lower) if first <= second else (lower, upper)


def _x(area: float) -> float:
    return _LEFT + _WIDTH * area


def _y(score: float, low: float, high: float) -> float:
    return _TOP + _HEIGHT * (1 - (score - low) / (high - low))


def _axes(found: Explanation, low: float, high: float) -> str:
    parts = []
    for step in range(5):
        value = low + (high - low) * step / 4
        y = _y(value, low, high)
        parts.append(_path(f"M{_LEFT:g} {y:.1f}h{_WIDTH:g}", RULE, "rule", width=1))
        parts.append(_text(number(value), x=_LEFT - 7, y=y + 3.5, anchor="end"))
        parts.append(_text(f"{25 * step}\u202f%", x=_x(step / 4), y=_TOP + _HEIGHT + 16, anchor="middle"))
    title = f"{SCORES[found.score].capitalize()} of {_short(found.target.name)}"
    parts.append(_text(title, x=2, y=15, size=12.5, ink=True))
    parts.append(
        _text("share of the picture, most salient first", x=_LEFT + _WIDTH / 2, y=_TOP + _HEIGHT + 33, anchor="middle")
    )
    return "".join(parts)


def _key(found: Explanation) -> str:
    x, y = _LEFT + _WIDTH + 14, _TOP + 12
    parts = []
    rows = (
        ("while hidden", found.deletion.auc, found.random.deletion_mean, DELETION, "deletion"),
        ("while shown", found.insertion.auc, found.random.insertion_mean, INSERTION, "insertion"),
    )
    for title, auc, random, colour, name in rows:
        parts.append(_path(f"M{x:g} {y - 4:g}h18", colour, name, width=2.4))
        parts.append(_text(title, x=x + 24, y=y, ink=True, size=11.5))
        parts.append(_text(f"area {scored(auc)}", x=x + 24, y=y + 14))
        parts.append(_path(f"M{x:g} {y + 24:g}h18", colour, name, width=1.3, dash="4 3"))
        parts.append(_text(f"random {scored(random)}", x=x + 24, y=y + 28))
        y += 56
    return "".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= 48 else f"{name[:47]}…"


def _line(points: str, colour: str, name: str, dash: str) -> str:
    width = 1.3 if dash else 2.2
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes} class="{name}"/>'


def _path(d: str, colour: str, name: str, *, width: float, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashes} class="{name}"/>'


def _text(words: str, *, x: float, y: float, anchor: str = "start", size: float = 11, ink: bool = False) -> str:
    colour, name = (INK, "ink") if ink else (SOFT, "soft")
    font = f'text-anchor="{anchor}" font-family="{FONT}, sans-serif" font-size="{size:g}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {font} fill="{colour}" class="{name}">{escape(words)}</text>'
