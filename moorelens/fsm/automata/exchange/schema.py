"""The JSON Schemas of `machine.json` and `reduced.json`: made from the documents, shipped as files.

`python -m moorelens.fsm.automata.exchange.schema FOLDER` writes them anew.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from moorelens.fsm.automata.exchange.documents import MachineDocument, ReducedDocument

DOCUMENTS: dict[str, type[msgspec.Struct]] = {"machine": MachineDocument, "reduced": ReducedDocument}
# JSON writes ids that are keys as text, which the schema of a dictionary does not say by itself.
_KEYED_BY_ID = {"EdgeRow": "symbols", "PassageRow": "symbols"}


def make_schema(name: str) -> bytes:
    """Return the JSON Schema of `machine` or `reduced` as it follows from its document."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(DOCUMENTS[name])}
    for row, field in _KEYED_BY_ID.items():
        if row in schema["$defs"]:
            schema["$defs"][row]["properties"][field]["propertyNames"] = {"pattern": "^[0-9]+$"}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def load_schema(name: str) -> dict[str, Any]:
    """Return the shipped JSON Schema of `machine` or `reduced`."""
    path = resources.files("moorelens.fsm") / "schemas" / f"{name}.schema.json"
    schema: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return schema


if __name__ == "__main__":
    for document in DOCUMENTS:
        (Path(sys.argv[1]) / f"{document}.schema.json").write_bytes(make_schema(document))
