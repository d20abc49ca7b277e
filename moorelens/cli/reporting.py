"""`report`: a run's pages set again from its data, or two runs on one page."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from moorelens.cli.config import ReportConfig
from moorelens.cli.files import write_result
from moorelens.cli.parsing import parse
from moorelens.cli.printing import print_json
from moorelens.errors import MissingToolError, RunFolderError
from moorelens.reports.data import ReportData, decode_report_data

DATA = "report-data.json"


def report(arguments: list[str]) -> int:
    """Run `moorelens report`; the runs themselves are read and not changed."""
    description = "Set the report of a run again, or compare two runs on one page."
    config, output = parse(ReportConfig, arguments, verb="report", description=description)
    made = _one(config) if len(config.runs) == 1 else _two(config)
    files = [str(write_result(path, data, force=config.force)) for path, data in made]
    if output.json:
        print_json(msgspec.json.encode({"files": files}))
    else:
        print("\n".join(files))
    return 0


def _one(config: ReportConfig) -> list[tuple[Path, bytes]]:
    from moorelens.reports.html import render_html
    from moorelens.reports.pdf import render_pdf

    data = _read(config.runs[0])
    if config.out is not None:
        path = Path(config.out)
        return [(path, render_pdf(data) if path.suffix.lower() == ".pdf" else render_html(data))]
    name = _name(config.runs[0])
    made = [(Path(f"{name}-report.html"), render_html(data))]
    try:
        made.append((Path(f"{name}-report.pdf"), render_pdf(data)))
    except MissingToolError as error:
        print(f"moorelens: {error}", file=sys.stderr)
    return made


def _two(config: ReportConfig) -> list[tuple[Path, bytes]]:
    from moorelens.reports.comparison import render_comparison

    page = render_comparison(*(_read(run) for run in config.runs))
    first, second = (_name(run) for run in config.runs)
    return [(Path(config.out or f"{first}-and-{second}.html"), page)]


def _folder(run: str) -> Path:
    path = Path(run)
    return path.parent if path.name == DATA else path


def _name(run: str) -> str:
    return _folder(run).absolute().name


def _read(run: str) -> ReportData:
    path = _folder(run) / DATA
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFolderError(
            f"A report is made from a run's {DATA}, and {path} cannot be read ({error.strerror}): give the folder of a "
            "finished `moorelens explain` or `demo`."
        ) from error
    return decode_report_data(data)
