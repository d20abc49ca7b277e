"""A policy without a memory is called that, wherever a report speaks of memory."""

from __future__ import annotations

import msgspec

from moorelens.reports.data import ReportData
from moorelens.reports.html import render_html
from moorelens.reports.page import build_page


def test_a_policy_without_memory_is_called_that(cart_pole: ReportData) -> None:
    data = cart_pole
    subject = msgspec.structs.replace(data.subject, cell="NONE", memory_units=2)
    page = build_page(msgspec.structs.replace(data, subject=subject))
    assert ("Memory", "no memory") in page.facts
    (verdict,) = (entry for entry in page.verdicts if entry.key == "memory")
    assert verdict.answer.startswith("It has no memory:") and "Yes" not in verdict.answer
    html = render_html(msgspec.structs.replace(data, subject=subject)).decode()
    assert "no memory" in html and "NONE" not in html
