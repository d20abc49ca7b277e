"""The page on how a machine grew."""

from __future__ import annotations

import re

from moorelens.reports.growth import Growth, Stage, headline, plot, plots, render_growth

ROWS = [
    Growth(steps=1000, states=3, symbols=4, decisions=1, policy=20.0, machine=19.0, loss=1.0, gain=0.1),
    Growth(steps=2000, note="A policy answers in numbers, and <this> one did not."),
    Growth(steps=3000, states=9, symbols=12, decisions=5, policy=480.5, machine=470.0, loss=10.5, gain=0.25),
]


def page(stages: list[Stage]) -> str:
    return render_growth(stages, policy="<b>PPO</b>", env="Task-v0", settings="").decode()


def test_everything_that_was_measured_is_on_the_page() -> None:
    html = page([Stage(growth=row, changes="S1 became <S2>" if row.steps == 3000 else "") for row in ROWS])
    assert "From 1\u202f000 to 3\u202f000 steps the machine went from 3 to 9 states" in html
    assert "&lt;this&gt; one did not." in html and "S1 became &lt;S2&gt;" in html and "<b>PPO" not in html
    cells = re.findall(r'<td class="right">([^<]*)</td>', html)
    assert len(cells) == 30 and cells[:4] == ["1\u202f000", "3", "4", "1"] and cells[11] == "not measured"
    assert html.count('<figure class="plot">') == 3
    assert html == page([Stage(growth=row, changes="S1 became <S2>" if row.steps == 3000 else "") for row in ROWS])


def test_lines_go_through_their_points_and_their_names_do_not_touch() -> None:
    svg = plot("x", [0, 100], {"a": [0.0, 10.0], "b": [None, 10.0]})
    assert 'points="44.0,146.0 464.0,26.0"' in svg
    heights = [float(y) for y in re.findall(r'<text x="472.0" y="([\d.]+)"', svg)]
    assert len(heights) == 2 and abs(heights[0] - heights[1]) >= 13


def test_a_single_or_no_machine_draws_no_lines() -> None:
    assert plots(ROWS[:1]) == [] and headline([]).startswith("No machine")
    assert headline(ROWS[:1]) == "After 1\u202f000 steps the machine has 3 states."
    assert "No machine could be extracted" in page([Stage(growth=ROWS[1])])
