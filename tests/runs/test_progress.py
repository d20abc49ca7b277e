"""What a log and a terminal show of a long computation."""

from __future__ import annotations

import io

import pytest

from moorelens.runs.progress import NullProgress, PlainProgress, Progress, RichProgress, duration


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[PlainProgress, Clock, io.StringIO]:
    stream, clock = io.StringIO(), Clock()
    return PlainProgress(stream, clock=clock), clock, stream


def test_a_short_task_is_not_mentioned() -> None:
    progress, clock, stream = plain()
    with progress.task("play", 10) as task:
        clock.now = 1.9
        task.advance(10)
    assert stream.getvalue() == ""


def test_a_long_task_is_a_line_every_ten_seconds_with_an_estimate() -> None:
    progress, clock, stream = plain()
    with progress.task("play", 10) as task:
        for second in range(0, 30, 3):
            clock.now = float(second)
            task.advance()
    assert stream.getvalue().splitlines() == [
        "play: 50 % (5 of 10), about 12 s left",
        "play: 90 % (9 of 10), about 3 s left",
        "play: done in 27 s",
    ]


def test_a_task_of_unknown_length_and_its_notes() -> None:
    progress, clock, stream = plain()
    with pytest.raises(ValueError, match="stop"), progress.task("fit") as task:
        clock.now = 65.0
        task.advance(3)
        task.note("loss 0.1")
        raise ValueError("stop")
    assert stream.getvalue().splitlines() == ["fit: 3 done in 1 min 5 s", "fit: loss 0.1"]


def test_of_many_notes_the_newest_is_said_with_the_position_and_the_last_at_the_end() -> None:
    progress, clock, stream = plain()
    with progress.task("fit", 20) as task:
        for second in range(20):
            clock.now = float(second)
            task.note(f"loss {20 - second}")
            task.advance()
    assert stream.getvalue().splitlines() == [
        "fit: 55 % (11 of 20), about 8 s left; loss 10",
        "fit: done in 19 s; loss 1",
    ]


def test_a_note_of_a_short_task_is_not_lost() -> None:
    progress, _, stream = plain()
    with progress.task("report.pdf") as task:
        task.note("Typst is missing.")
    assert stream.getvalue() == "report.pdf: Typst is missing.\n"


def test_a_task_that_is_all_another_one_is_said_once() -> None:
    progress, clock, stream = plain()
    with progress.task("quantise"), progress.task("quantising"):
        clock.now = 9.0
    with progress.task("evaluate"):
        clock.now = 12.0
        with progress.task("evaluating"):
            clock.now = 20.0
    assert stream.getvalue().splitlines() == [
        "quantising: done in 9 s",
        "evaluating: done in 8 s",
        "evaluate: done in 11 s",
    ]


def test_the_last_unit_is_told_by_the_end_alone() -> None:
    progress, clock, stream = plain()
    with progress.task("play", 1) as task:
        clock.now = 30.0
        task.advance()
    assert stream.getvalue() == "play: done in 30 s\n"


def test_a_task_of_hours_does_not_fill_the_log() -> None:
    progress, clock, stream = plain()
    with progress.task("train", 36_000) as task:
        for second in range(36_000):
            clock.now = float(second)
            task.advance()
    assert len(stream.getvalue().splitlines()) < 80


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3600, "1 h 0 min"), (7503, "2 h 5 min")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with RichProgress() as progress:
        _use(progress)
    captured = capsys.readouterr()
    assert captured.out == ""


def test_nothing_is_shown_where_nothing_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    _use(NullProgress())
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def _use(progress: Progress) -> None:
    with progress.task("outer [bold]", 2) as outer, progress.task("inner") as inner:
        inner.note("[red] text")
        inner.advance()
        outer.advance(2)
