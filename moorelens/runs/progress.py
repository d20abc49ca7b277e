"""How far a long computation is: a protocol, and what shows it on a terminal, in a log, or nowhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from moorelens.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

Clock = Callable[[], float]


class TaskProgress(Protocol):
    """One task under way; leaving the context ends it."""

    def advance(self, n: int = 1) -> None:
        """Say that `n` more units are done."""
        ...

    def note(self, text: str) -> None:
        """Say one sentence about the task, for example the loss so far."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """What a long computation tells its progress to; tasks may be nested."""

    def task(self, name: str, total: int | None = None) -> TaskProgress:
        """Begin a task of `total` units (None: unknown)."""
        ...


class _Task:
    def advance(self, n: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class NullProgress:
    """Shows nothing: the default of library functions and of `--quiet`."""

    def task(self, name: str, total: int | None = None) -> TaskProgress:
        """Begin a task that nobody watches."""
        return _Task()


class _PlainTask(_Task):
    """Says where it stands now and then, with the newest note: of many, the last one is what counts."""

    def __init__(self, owner: PlainProgress, name: str, total: int | None) -> None:
        self._owner, self._name, self._total = owner, name, total
        self._done, self._began = 0, owner.clock()
        self._said, self._note = self._began, ""
        self._told = owner.told_s

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = self._owner.clock()
        due = now - self._said >= max(self._owner.every_s, (now - self._began) / 10)
        if due and self._done != self._total:
            self._said = now
            self._say(_position(self._done, self._total, now - self._began))

    def note(self, text: str) -> None:
        self._note = text

    def _say(self, *parts: str) -> None:
        self._owner.say(f"{self._name}: {'; '.join([*parts, *filter(None, [self._note])])}")
        self._note = ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = self._owner.clock() - self._began
        rest = seconds - (self._owner.told_s - self._told)  # without tasks of its own that said how long they took
        if kind is None and rest >= max(self._owner.quiet_s, seconds / 5):
            self._say(f"done in {duration(seconds)}")
            self._owner.told_s = self._told + seconds
        elif self._note:
            self._say()


class PlainProgress:
    """One line every `every_s` seconds, and one for each task that took longer than `quiet_s`: for logs and pipes."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        every_s: float = 10.0,
        quiet_s: float = 2.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.every_s, self.quiet_s, self.clock = every_s, quiet_s, clock
        self._stream = sys.stderr if stream is None else stream
        self.told_s = 0.0  # of tasks that were said to be done

    def task(self, name: str, total: int | None = None) -> TaskProgress:
        """Begin a task of `total` units (None: unknown)."""
        return _PlainTask(self, name, total)

    def say(self, line: str) -> None:
        """Write one line now."""
        print(printable(line), file=self._stream, flush=True)


class _RichTask(_Task):
    def __init__(self, bars: RichBars, name: str, total: int | None) -> None:
        self._bars, self._name = bars, name
        self._id: TaskID = bars.add_task(name, total=total, note="")

    def advance(self, n: int = 1) -> None:
        self._bars.advance(self._id, n)

    def note(self, text: str) -> None:
        self._bars.update(self._id, note=printable(text))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.remove_task(self._id)


class RichProgress:
    """Bars with an estimate on a terminal (stderr); a context manager, so that the cursor always comes back."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichBars

        self._escape = escape
        self._bars = RichBars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )

    def task(self, name: str, total: int | None = None) -> TaskProgress:
        """Begin a task of `total` units (None: unknown)."""
        return _RichTask(self._bars, self._escape(printable(name)), total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


def duration(seconds: float) -> str:
    """Write a duration the way people say it: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _position(done: int, total: int | None, seconds: float) -> str:
    if not total:
        return f"{done} done in {duration(seconds)}"
    left = seconds * max(0, total - done) / max(1, done)
    return f"{min(100, 100 * done // total)} % ({done} of {total}), about {duration(left)} left"
