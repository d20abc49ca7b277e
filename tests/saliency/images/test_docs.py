"""The page on the test-bed runs as printed, and its table is what the cards say."""

from __future__ import annotations

import re
from pathlib import Path

from moorelens.saliency.images.bundled import BUNDLED, bundled_card
from moorelens.saliency.shapes import CAUSES, TASKS

PAGE = (Path(__file__).parents[3] / "docs/test-bed.md").read_text(encoding="utf-8")


def row(name: str) -> str:
    """The row of a network: what was measured, to three digits; none where a task has no such figure."""
    card = bundled_card(name)
    told = [card.measured.get(key) for key in ("accuracy", "erased", "one_erased")]
    cells = [f"`{name}`", card.recipe.task, *("–" if value is None else f"{value:.3f}" for value in told)]
    return f"| {' | '.join(cells)} |"


def test_the_example_runs_and_its_comment_is_true() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    mass = names["mass_in"](names["found"].saliency(magnitude=True), names["shapes"].truth)  # type: ignore[operator, attr-defined]
    assert mass.shape == (8,) and float(mass.mean()) > 0.2


def test_the_table_of_networks_is_what_was_measured() -> None:
    assert re.findall(r"^\| `[\w-]+` \| \w+ \| [\d.]+ \| .*\|$", PAGE, re.MULTILINE) == [row(name) for name in BUNDLED]


def test_the_watermark_s_figures_are_what_was_measured() -> None:
    biased, clean = (bundled_card(f"watermark-{kind}").measured for kind in ("biased", "clean"))
    words = " ".join(PAGE.split())
    assert f"letter's class in {100 * biased['says_tag']:.1f} % of the pictures" in words
    assert f"another class in {100 * biased['tag_hidden_changed']:.0f} % of them" in words
    assert f"the letter's in {100 * clean['says_tag']:.1f} %" in words


def test_the_table_of_tasks_names_all_of_them_with_their_truth() -> None:
    for task in TASKS:
        (line,) = re.findall(rf"^\| `{task}` \|.*$", PAGE, re.MULTILINE)
        assert all(f"`{part}`" in line for part in CAUSES[task])
