"""report.pdf has the same content as the page, set the same way every time."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess

import msgspec
import pytest

from moorelens.errors import MissingToolError
from moorelens.reports.data import ReportData
from moorelens.reports.format import share
from moorelens.reports.pdf import paper_views, pdf_content, render_pdf
from moorelens.reports.summary import RunSummary, walk_numbers
from moorelens.reports.verdicts import verdicts


def words(pdf: bytes, *, last: int | None = None) -> str:
    """The text of a PDF up to page `last`, without any space."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (Debian's poppler-utils) is not installed, so the text of the PDF cannot be read back")
    done = subprocess.run(
        ["pdftotext", *([] if last is None else ["-l", str(last)]), "-raw", "-", "-"],
        input=pdf,
        capture_output=True,
        check=True,
    )
    return squeezed(done.stdout.decode("utf-8"))


def squeezed(text: str) -> str:
    """Text without any space: a PDF keeps no thin spaces and breaks lines where it likes."""
    return "".join(text.split())


def test_the_same_data_gives_the_same_bytes(cart_pole: ReportData, pong: ReportData) -> None:
    for data in (cart_pole, pong):
        first = render_pdf(data)
        assert first.startswith(b"%PDF-")
        assert render_pdf(data) == first


def test_every_finding_and_every_number_of_the_tables_is_set(cart_pole: ReportData) -> None:
    text = words(render_pdf(cart_pole))
    for verdict in verdicts(cart_pole):
        assert squeezed(verdict.answer) in text
    for path, number in walk_numbers(cart_pole.summary):
        if path.startswith("fidelity."):
            assert squeezed(share(number)) in text


def test_names_from_outside_stay_text(hostile: ReportData, hostile_names: tuple[str, ...]) -> None:
    pdf = render_pdf(hostile)
    text = words(pdf)
    assert all(squeezed(name) in text for name in hostile_names)


def test_strings_reach_typst_as_data_only(hostile: ReportData, hostile_names: tuple[str, ...]) -> None:
    content, files = pdf_content(hostile)
    assert (content["name"], content["env"]) == hostile_names[:2]
    assert all(name.endswith(".svg") for name in files)


def test_a_report_without_anything_measured_is_set(cart_pole: ReportData) -> None:
    bare = ReportData(subject=cart_pole.subject, summary=RunSummary(policy="p", env="e"), actions=())
    assert render_pdf(bare).startswith(b"%PDF-")


def test_letters_that_the_shipped_fonts_lack_do_not_stop_it(cart_pole: ReportData) -> None:
    subject = msgspec.structs.replace(cart_pole.subject, policy_name="策略 א 🂡\x07")
    assert render_pdf(msgspec.structs.replace(cart_pole, subject=subject)).startswith(b"%PDF-")


def test_without_typst_the_message_says_what_to_install(cart_pole: ReportData, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, package: str | None = None) -> None:
        assert name == "typst"

    monkeypatch.setattr("moorelens.reports.typesetting.find_spec", absent)
    assert importlib.util.find_spec("typst") is not None
    with pytest.raises(MissingToolError, match="pip install typst"):
        render_pdf(cart_pole)


def test_steps_in_between_are_for_the_screen_and_a_large_machine_is_printed_as_its_decisions(
    cart_pole: ReportData,
) -> None:
    reduced, machine = cart_pole.views
    huge = reduced.svg
    assert huge is not None
    svg = re.sub(r'viewBox="[^"]*"', 'viewBox="0 0 9000 9000"', huge, count=1)
    skeleton = msgspec.structs.replace(machine, key="skeleton", title="Decision skeleton")
    between = msgspec.structs.replace(machine, key="chains", title="Join chains")
    data = msgspec.structs.replace(
        cart_pole, views=(msgspec.structs.replace(reduced, svg=svg), machine, skeleton, between)
    )
    assert [view.key for view in paper_views(data)] == ["skeleton", "machine"]
    assert "reduced" in pdf_content(data)[0]["views-left"]
    assert [view.key for view in paper_views(cart_pole)] == ["reduced", "machine"]
    assert pdf_content(cart_pole)[0]["views-left"] is None
