"""Report data holds together, or says which part does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moorelens.errors import InvariantError, RunFolderError
from moorelens.reports.data import Interval, ReportData, decode_report_data, encode_report_data


def changed(record: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(record, **fields)


def test_bytes_and_record_are_the_same_thing(cart_pole: ReportData, pong: ReportData) -> None:
    for data in (cart_pole, pong):
        written = encode_report_data(data)
        assert decode_report_data(written) == data
        assert encode_report_data(decode_report_data(written)) == written


def test_what_is_no_report_data_is_refused() -> None:
    with pytest.raises(RunFolderError, match=r"must follow moorelens\.report-data/1"):
        decode_report_data(b'{"format": "moorelens.report-data/2"}')


def test_an_interval_belongs_to_a_number_of_the_summary(cart_pole: ReportData) -> None:
    with pytest.raises(InvariantError, match=r"'fidelity\.nothing' belongs to no number"):
        changed(cart_pole, intervals={"fidelity.nothing": Interval(low=0.0, high=1.0, n=3)})


def test_a_decision_is_at_a_state_of_its_view(cart_pole: ReportData) -> None:
    first = cart_pole.decisions[0]
    with pytest.raises(InvariantError, match="at the missing state 'nowhere'"):
        changed(cart_pole, decisions=(changed(first, node="nowhere"),))
    with pytest.raises(InvariantError, match="missing view 'other'"):
        changed(cart_pole, decisions=(changed(first, view="other"),))
    with pytest.raises(InvariantError, match="fewer than two branches"):
        changed(cart_pole, decisions=(changed(first, branches=first.branches[:1]),))


def test_an_edge_joins_states_of_its_view(cart_pole: ReportData) -> None:
    view = cart_pole.views[0]
    with pytest.raises(InvariantError, match="between states it does not have"):
        changed(cart_pole, views=(changed(view, edges=(changed(view.edges[0], target="nowhere"),)),))


def test_two_views_or_two_states_do_not_share_a_name(cart_pole: ReportData) -> None:
    view = cart_pole.views[0]
    with pytest.raises(InvariantError, match="two machine views"):
        changed(cart_pole, views=(view, view))
    with pytest.raises(InvariantError, match="two states with the same node"):
        changed(cart_pole, views=(changed(view, states=(view.states[0], *view.states)), cart_pole.views[1]))


def test_the_lists_of_an_episode_are_equally_long(cart_pole: ReportData) -> None:
    episode = cart_pole.episodes[0]
    with pytest.raises(InvariantError, match="episode 0 has lists of different lengths"):
        changed(cart_pole, episodes=(changed(episode, rewards=episode.rewards[1:]),))
    with pytest.raises(InvariantError, match="does not have"):
        changed(cart_pole, episodes=(changed(episode, nodes=(999, *episode.nodes[1:])),))


def test_a_shown_picture_is_stored(pong: ReportData) -> None:
    with pytest.raises(InvariantError, match="shown but not stored"):
        changed(pong, pictures={})


def test_seeds_and_returns_come_in_pairs(cart_pole: ReportData) -> None:
    entry = cart_pole.seed_returns[0]
    with pytest.raises(InvariantError, match="20 seeds and 19 returns"):
        changed(cart_pole, seed_returns=(changed(entry, values=entry.values[1:]),))
