"""What must hold between the parts of a report: every reference leads somewhere, every list has its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from moorelens.errors import InvariantError
from moorelens.reports.summary import walk_numbers

if TYPE_CHECKING:
    from moorelens.reports.data import DecisionPoint, Episode, MachineView, ReportData


def check_report_data(data: ReportData) -> None:
    """Raise `InvariantError` naming the first part of `data` that refers to something it does not hold."""
    for problem in _problems(data):
        raise InvariantError(
            f"The parts of a report must agree, but {problem}; the step that filled the report left them different."
        )


def _problems(data: ReportData) -> Iterator[str]:
    views = {view.key: view for view in data.views}
    if len(views) != len(data.views):
        yield "two machine views have the same key"
    yield from _interval_problems(data)
    yield from _seed_problems(data)
    yield from _picture_problems(data)
    for view in data.views:
        yield from _view_problems(view)
        if view.whole_of is not None and view.whole_of not in views:
            yield f"view {view.key!r} is the whole of the missing view {view.whole_of!r}"
    for decision in data.decisions:
        yield from _decision_problems(decision, views)
    for number, episode in enumerate(data.episodes):
        yield from _episode_problems(f"episode {number}", episode, views)
        yield from _film_problems(f"episode {number}", episode, data)
    for step in data.reductions:
        if step.view is not None and step.view not in views:
            yield f"the reduction {step.key!r} shows the missing view {step.view!r}"


def _interval_problems(data: ReportData) -> Iterator[str]:
    known = {path for path, _ in walk_numbers(data.summary)}
    for path in data.intervals:
        if path not in known:
            yield f"the interval {path!r} belongs to no number of the summary"


def _seed_problems(data: ReportData) -> Iterator[str]:
    for entry in data.seed_returns:
        if len(entry.seeds) != len(entry.values):
            yield f"{entry.player!r} has {len(entry.seeds)} seeds and {len(entry.values)} returns"


def _picture_problems(data: ReportData) -> Iterator[str]:
    for key in _picture_keys(data):
        if key not in data.pictures:
            yield f"the picture {key!r} is shown but not stored"


def _picture_keys(data: ReportData) -> Iterator[str]:
    for view in data.views:
        for state in view.states:
            yield from state.pictures
    for branch in (branch for decision in data.decisions for branch in decision.branches):
        yield from _present([branch.saliency])
        if branch.example is not None:
            yield from _present([branch.example.picture, branch.example.difference])


def _present(keys: Iterable[str | None]) -> Iterator[str]:
    return (key for key in keys if key is not None)


def _view_problems(view: MachineView) -> Iterator[str]:
    nodes = {state.node for state in view.states}
    if len(nodes) != len(view.states):
        yield f"view {view.key!r} has two states with the same node"
    for edge in view.edges:
        if edge.target not in nodes or edge.source not in nodes | {view.start}:
            yield f"view {view.key!r} has the edge {edge.edge!r} between states it does not have"


def _decision_problems(decision: DecisionPoint, views: dict[str, MachineView]) -> Iterator[str]:
    view = views.get(decision.view)
    if view is None:
        yield f"decision point {decision.key!r} belongs to the missing view {decision.view!r}"
    elif decision.node not in {state.node for state in view.states}:
        yield f"decision point {decision.key!r} is at the missing state {decision.node!r}"
    if len(decision.branches) < 2 and "stochastic" not in decision.flags:
        yield f"decision point {decision.key!r} has fewer than two branches"


def _film_problems(name: str, episode: Episode, data: ReportData) -> Iterator[str]:
    film = None if episode.film is None else data.films.get(episode.film)
    if episode.film is not None and film is None:
        yield f"{name} is shown by the missing film {episode.film!r}"
    if film is not None and any(not 0 <= frame < film.frames for frame in episode.shown):
        yield f"{name} shows a frame that its film does not have"
    if data.codes and any(not 0 <= state < len(data.codes) for state in episode.states):
        yield f"{name} visits a machine state without a memory code"


def _episode_problems(name: str, episode: Episode, views: dict[str, MachineView]) -> Iterator[str]:
    steps = len(episode.nodes)
    lengths = {len(episode.symbols), len(episode.actions), len(episode.rewards), steps}
    optional = (episode.values or (), episode.states, episode.shown, *(trace.values for trace in episode.traces))
    if len(lengths) > 1 or any(len(entries) != steps for entries in optional if entries):
        yield f"{name} has lists of different lengths"
    view = views.get(episode.view)
    if view is None:
        yield f"{name} runs through the missing view {episode.view!r}"
    elif any(not 0 <= node < len(view.states) for node in episode.nodes):
        yield f"{name} visits a state that view {episode.view!r} does not have"
