"""`report`: the pages of a run or of a training set again, or two runs on one page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from moorelens.cli.config import ReportConfig
from moorelens.cli.files import write_result
from moorelens.cli.parsing import parse
from moorelens.cli.printing import print_json
from moorelens.errors import InvariantError, MissingToolError, MooreLensError, OptionError, RunFolderError
from moorelens.reports.data import ReportData, decode_report_data

DATA = "report-data.json"
_GROWTH = "growth.json"
Made = list[tuple[Path, bytes]]


def report(arguments: list[str]) -> int:
    """Run `moorelens report`; the runs themselves are read and not changed."""
    description = "Set the report of a run or of a training again, or compare two runs on one page."
    config, output = parse(ReportConfig, arguments, verb="report", description=description)
    with _as_damaged(config.runs[0]):
        if len(config.runs) == 2:
            made = _two(config)
        else:
            made = _training(config) if _is_training(config.runs[0]) else _one(config)
    files = [str(write_result(path, data, force=config.force)) for path, data in made]
    if output.json:
        print_json(msgspec.json.encode({"files": files}))
    else:
        print("\n".join(files))
    return 0


def _one(config: ReportConfig) -> Made:
    from moorelens.reports.films import with_less_film
    from moorelens.reports.html import render_html
    from moorelens.reports.pdf import render_pdf

    data = _read(config.runs[0])
    if config.film_mb is not None:
        # In the page a film is base64: four letters for three bytes.
        data = with_less_film(data, most_bytes=int(config.film_mb * 750_000))
    name = f"{_name(config.runs[0])}-report"
    return _both(config, name, html=lambda: render_html(data), pdf=lambda: render_pdf(data))


def _two(config: ReportConfig) -> Made:
    from moorelens.reports.comparison import render_comparison
    from moorelens.reports.comparison_pdf import render_comparison_pdf

    for run in config.runs:
        if _is_training(run):
            raise OptionError(
                f"Two runs are compared, and {run} is a training: give it alone, or two folders of `moorelens explain`."
            )
    first, second = (_read(run) for run in config.runs)
    name = "-and-".join(_name(run) for run in config.runs)
    return _both(
        config,
        name,
        html=lambda: render_comparison(first, second),
        pdf=lambda: render_comparison_pdf(first, second),
    )


def _training(config: ReportConfig) -> Made:
    from moorelens.pipelines.growth_pages import read_training, stages_of
    from moorelens.reports.growth import render_growth, render_growth_pdf

    training, machines = read_training(_folder(config.runs[0]))
    stages = stages_of(training, machines)
    words = {"policy": training.policy, "env": training.env, "settings": training.settings}
    name = f"{_name(config.runs[0])}-report"
    return _both(
        config, name, html=lambda: render_growth(stages, **words), pdf=lambda: render_growth_pdf(stages, **words)
    )


@contextmanager
def _as_damaged(run: str) -> Iterator[None]:
    """Say of what no run wrote, a drawing that is none, that the run's file was changed."""
    try:
        yield
    except (InvariantError, ArithmeticError) as error:
        raise RunFolderError(
            f"{_folder(run) / DATA} holds what no report shows ({error}): it was changed by hand, so run the job again "
            "with --force."
        ) from error


def _both(config: ReportConfig, name: str, *, html: Callable[[], bytes], pdf: Callable[[], bytes]) -> Made:
    """Return the file that was asked for, or the page and, where Typst is there, the PDF."""
    if config.out is not None:
        path = Path(config.out)
        return [(path, pdf() if path.suffix.lower() == ".pdf" else html())]
    made = [(Path(f"{name}.html"), html())]
    try:
        made.append((Path(f"{name}.pdf"), pdf()))
    except MissingToolError as error:
        print(f"moorelens: {error}", file=sys.stderr)
    return made


def _folder(run: str) -> Path:
    path = Path(run)
    return path.parent if path.name in (DATA, _GROWTH) else path


def _is_training(run: str) -> bool:
    folder = _folder(run)
    return (folder / _GROWTH).is_file() and not (folder / DATA).is_file()


def _refuse_pictures(folder: Path) -> None:
    """Say of a folder of `moorelens image` that its page is made by the command itself."""
    from moorelens.runs.manifest import MANIFEST, decode_manifest

    try:
        manifest = decode_manifest((folder / MANIFEST).read_bytes())
    except OSError:
        return
    if manifest is not None and manifest.header.verb.startswith("image "):
        page = next((folder / name for name in ("report.html", "index.html") if (folder / name).is_file()), folder)
        raise RunFolderError(
            f"A report is made from a run on a policy, and {folder} is one of `moorelens {manifest.header.verb}`, "
            f"which makes its own page: open {page}, or give that command again, which makes anew what is missing."
        )


def _name(run: str) -> str:
    return _folder(run).absolute().name


def _read(run: str) -> ReportData:
    path = _folder(run) / DATA
    try:
        data = path.read_bytes()
    except OSError as error:
        _refuse_pictures(_folder(run))
        raise RunFolderError(
            f"A report is made from a run's {DATA}, and {path} cannot be read ({error.strerror}): give the folder of a "
            "finished `moorelens explain` or `demo`."
        ) from error
    try:
        return decode_report_data(data)
    except MooreLensError as error:
        raise RunFolderError(f"{path}: {error}") from error
