"""The JSON Schemas of what runs write, such as `summary.json` and `report-data.json`, shipped as files.

`python -m moorelens.reports.schema FOLDER` writes them anew.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from moorelens.reports.data import ReportData
from moorelens.reports.evaluation import Evaluation
from moorelens.reports.growth import Training
from moorelens.reports.image import Explanation, ImagesSummary
from moorelens.reports.pruning import Pruning
from moorelens.reports.study import CountSummary, CrosstestSummary
from moorelens.reports.summary import RunSummary
from moorelens.saliency.sets.sag import SAG

RECORDS: dict[str, type[msgspec.Struct]] = {
    "summary": RunSummary,
    "report-data": ReportData,
    "evaluation": Evaluation,
    "pruning": Pruning,
    "growth": Training,
    "image": Explanation,
    "images": ImagesSummary,
    "sag": SAG,
    "image-count": CountSummary,
    "image-crosstest": CrosstestSummary,
}


def make_schema(name: str) -> bytes:
    """Return the JSON Schema of a record of `RECORDS` as it follows from it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(RECORDS[name])}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def load_schema(name: str) -> dict[str, Any]:
    """Return the shipped JSON Schema of a record of `RECORDS`."""
    path = resources.files("moorelens.reports") / "schemas" / f"{name}.schema.json"
    schema: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return schema


if __name__ == "__main__":
    for record in RECORDS:
        (Path(sys.argv[1]) / f"{record}.schema.json").write_bytes(make_schema(record))
