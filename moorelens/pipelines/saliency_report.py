"""What a run found of saliency, as its summary and its report hold it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from moorelens.pipelines.saliency import FOLDER, RECORDS
from moorelens.pipelines.saliency_pictures import branch_ending
from moorelens.pipelines.summarise import Summary, interval
from moorelens.reports.build import stored_picture
from moorelens.reports.data import DecisionPoint, Picture, SaliencyPart, SaliencyRow
from moorelens.reports.summary import SaliencyTotals
from moorelens.saliency.differential.records import BranchRecord, SaliencyRecords
from moorelens.stats import wilson

_COMPARED = (
    "Each observation at a decision point is given the most salient part of one from the other branch, or as much "
    "of what is not salient; counted is how often the run then takes the other branch."
)
_ALONE = (
    "Each observation at a decision point is given the only feature of one from the other branch; counted is how often "
    "the run then takes the other branch. There is no other feature to compare with."
)


def read_records(data: bytes) -> SaliencyRecords:
    """Read `saliency/saliency.json`."""
    return msgspec.json.decode(data, type=SaliencyRecords)


def with_saliency(found: Summary, data: bytes) -> Summary:
    """Return the summary with the intervention test over all explained decision points."""
    records = read_records(data)
    salient, other, pairs = records.shares()
    block = SaliencyTotals(
        decision_points=len(records.branches), flip_salient=salient, flip_other=other, pairs=pairs or None
    )
    intervals = dict(found.intervals)
    if pairs:
        flipped = sum(row.flips_salient for row in records.branches)
        intervals["saliency.flip_salient"] = interval(wilson(flipped, pairs))
        if records.flips_other is not None:
            intervals["saliency.flip_other"] = interval(wilson(records.flips_other, pairs))
    return dataclasses.replace(
        found, summary=msgspec.structs.replace(found.summary, saliency=block), intervals=intervals
    )


def saliency_part(data: bytes, decisions: Sequence[DecisionPoint], states: Mapping[str, int]) -> SaliencyPart:
    """Return the table of the intervention test; `states`: the machine's state behind each decision of the report."""
    keys = {state: key for key, state in states.items()}
    records = read_records(data)
    shown = {decision.key for decision in decisions}
    rows = tuple(
        _row(record, keys[record.state])
        for record in records.branches
        if record.state in keys and keys[record.state] in shown
    )
    return SaliencyPart(rows=rows, note=" ".join([_note(records), *records.notes]))


def with_pictures(
    decisions: Sequence[DecisionPoint],
    pictures: dict[str, Picture],
    *,
    read: Callable[[str], bytes],
    names: Collection[str],
    states: Mapping[str, int],
) -> tuple[DecisionPoint, ...]:
    """Return the decisions with what was drawn of them; pictures of images are added to `pictures`.

    `read` and `names`: the files of the run, and what they are called. `states`: as for `saliency_part`.
    """
    records = {record.state: record for record in read_records(read(RECORDS)).branches}
    return tuple(_pictured(one, records.get(states[one.key]), pictures, read, names) for one in decisions)


def _pictured(
    decision: DecisionPoint,
    record: BranchRecord | None,
    pictures: dict[str, Picture],
    read: Callable[[str], bytes],
    names: Collection[str],
) -> DecisionPoint:
    if record is None:
        return decision
    stem = FOLDER + record.key
    if f"{stem}.svg" in names:
        return msgspec.structs.replace(decision, saliency=read(f"{stem}.svg").decode())
    # The two branches taken most often come first in both.
    branches = list(decision.branches)
    for place, target in enumerate(record.targets[: len(branches)]):
        ending = branch_ending(target)
        if stem + ending in names:
            key = f"{decision.key}{ending}"
            pictures[key] = stored_picture(read(stem + ending), alt="What decides, in orange.")
            branches[place] = msgspec.structs.replace(branches[place], saliency=key)
    return msgspec.structs.replace(decision, branches=tuple(branches))


def _row(record: BranchRecord, key: str) -> SaliencyRow:
    compared = record.compared
    return SaliencyRow(
        decision=key,
        pairs=compared,
        skipped=record.skipped,
        flip_salient=record.flips_salient / compared if compared else None,
        flip_other=record.flips_other / compared if compared and record.flips_other is not None else None,
    )


def _note(records: SaliencyRecords) -> str:
    note = _ALONE if records.flips_other is None else _COMPARED
    objects = [row for row in records.branches if row.on_objects is not None and row.object_area is not None]
    if objects:
        share = sum(row.on_objects or 0.0 for row in objects) / len(objects)
        area = sum(row.object_area or 0.0 for row in objects) / len(objects)
        note += f" {share:.0%} of the saliency lies on the game's objects, which cover {area:.1%} of the picture."
    for row in records.branches:
        if row.hidden is not None:
            note += (
                f" With the salient part hidden from S{row.state} on, the return is {row.hidden.salient_hidden:.4g} "
                f"instead of {row.hidden.seen:.4g}"
            )
            other = row.hidden.other_hidden
            note += "." if other is None else f"; with as much of the rest hidden, {other:.4g}."
    return note
