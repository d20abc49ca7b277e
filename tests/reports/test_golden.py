"""The page of a fixed run, line by line: what the renderers say changes only where someone meant it to.

`python -m tests.reports.test_golden` writes the golden files anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from moorelens.reports.comparison import render_comparison
from moorelens.reports.data import ReportData
from moorelens.reports.html import render_html
from tests.reports.samples import cart_pole_report

FOLDER = Path(__file__).parent / "golden"


def scrubbed(page: bytes) -> str:
    """Return a page without what other software decides: drawings, pictures, hashes, and the assets themselves."""
    text = page.decode("utf-8")
    text = re.sub(r"<style>.*?</style>", "<style/>", text, flags=re.DOTALL)
    text = re.sub(r"<script>.*?</script>", "<script/>", text, flags=re.DOTALL)
    text = re.sub(r"sha256-[A-Za-z0-9+/=]+", "sha256-HASH", text)
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "data:PNG", text)
    text = re.sub(r"(<svg[^>]*>).*?</svg>", "<svg/>", text, flags=re.DOTALL)
    text = re.sub(r'(<script type="application/json" id="report-data">)(.*?)(</script>)', _block, text, flags=re.DOTALL)
    # Learned rules and their shares may move in the last digit with the version of the library.
    text = re.sub(r"-?\u2212?\d+\.\d+", "0.0", text)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def _block(found: re.Match[str]) -> str:
    """Return what the script is given as its outline: keys, kinds and lengths."""
    return found[1] + "\n" + json.dumps(_outline(json.loads(found[2])), indent=1) + "\n" + found[3]


def _outline(value: object) -> object:
    if isinstance(value, dict):
        keys = {re.sub(r"\d+$", "N", key) for key in value}
        return {key: _outline(next(value[k] for k in value if re.sub(r"\d+$", "N", k) == key)) for key in sorted(keys)}
    if isinstance(value, list):
        return [_outline(value[0])] if value else []
    return type(value).__name__


def pages(data: ReportData) -> dict[str, str]:
    return {"report.txt": scrubbed(render_html(data)), "comparison.txt": scrubbed(render_comparison(data, data))}


def test_the_pages_are_those_that_were_read_and_kept(cart_pole: ReportData) -> None:
    for name, text in pages(cart_pole).items():
        kept = (FOLDER / name).read_text("utf-8")
        assert text.splitlines() == kept.splitlines(), (
            "run `python -m tests.reports.test_golden` and read the difference"
        )


if __name__ == "__main__":
    for name, text in pages(cart_pole_report()).items():
        (FOLDER / name).write_text(text, "utf-8")
