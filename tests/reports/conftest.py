"""Report data made once for all tests of the reports."""

from __future__ import annotations

import pytest

from moorelens.reports.data import ReportData
from tests.reports.samples import cart_pole_report, pong_report

HOSTILE = (
    "<script>alert(1)</script>",
    '</script><img src=x onerror="alert(2)">',
    '#eval("1") $x$ *bold* \\ {{ 7 * 7 }} {% raw %}',
)


@pytest.fixture(scope="session")
def cart_pole() -> ReportData:
    return cart_pole_report()


@pytest.fixture(scope="session")
def pong() -> ReportData:
    return pong_report()


@pytest.fixture(scope="session")
def large() -> ReportData:
    """A machine of which a drawing shows the most visited states only."""
    return pong_report(states=260)


@pytest.fixture(scope="session")
def hostile() -> ReportData:
    """Names that would run, load or vanish if they were ever taken for markup."""
    return cart_pole_report(name=HOSTILE[0], env=HOSTILE[1], rename=(HOSTILE[2], HOSTILE[1]))


@pytest.fixture(scope="session")
def hostile_names() -> tuple[str, ...]:
    return HOSTILE
