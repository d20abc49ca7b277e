"""Everything a report shows, typed and finished: HTML and PDF format this record and compute nothing.

Letters used below: S states, E edges, T steps of an episode, D features. Shares and fidelities are in 0..1.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.errors import RunFolderError
from moorelens.reports.checks import check_report_data
from moorelens.reports.summary import Record, RunSummary, encode_record

REPORT_FORMAT: Literal["moorelens.report-data/1"] = "moorelens.report-data/1"

ViewKey = str
PictureKey = str


class Interval(Record, frozen=True, kw_only=True):
    """95 % interval of one number of the summary over `n` units; `bound` is the rule-of-three limit."""

    low: float | None
    high: float | None
    n: int
    bound: float | None = None


class Named(Record, frozen=True, kw_only=True):
    """One setting or version as shown: which group it belongs to, its name, its value and why it matters."""

    group: str
    name: str
    value: str
    note: str = ""


class Subject(Record, frozen=True, kw_only=True):
    """What was analysed: the policy, the environment, and the names that the report uses for their parts."""

    policy: str
    policy_name: str
    identity: str
    env: str
    env_kind: Literal["control", "atari", "custom"]
    action_names: tuple[str, ...]
    feature_names: tuple[str, ...] | None = None
    feature_units: tuple[str, ...] | None = None
    algorithm: str | None = None
    cell: str | None = None
    memory_units: int | None = None
    parameters: int | None = None
    max_steps: int | None = None
    reward_threshold: float | None = None
    preset: str | None = None


class ActionMark(Record, frozen=True, kw_only=True):
    """How one action looks everywhere in the report: name, fill, stroke (`#rrggbb`) and shape."""

    index: int
    name: str
    fill: str
    stroke: str
    shape: str


class SeedReturns(Record, frozen=True, kw_only=True):
    """Returns of one player seed by seed, under one protocol; `seeds` and `values` have equal length."""

    protocol: Literal["held_out", "published", "assisted"]
    player: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]


class Merge(Record, frozen=True, kw_only=True):
    """What one step of the reduction made one: `into` is the result, `parts` what it was made of, in order."""

    into: str
    parts: tuple[str, ...]


class ReductionStep(Record, frozen=True, kw_only=True):
    """Size after one step of the reduction; `merged` says in a few words what it brought together.

    `merges` are the largest of `merge_total`; `view` is the picture of the machine after this step.
    """

    key: str
    title: str
    states: int | None = None
    symbols: int | None = None
    edges: int | None = None
    decisions: int | None = None
    merged: str = ""
    view: ViewKey | None = None
    merges: tuple[Merge, ...] = ()
    merge_total: int = 0


class Bin(Record, frozen=True, kw_only=True):
    """One bar of a histogram: how often a value in `low..high` (both included) was seen."""

    low: int
    high: int
    count: int


class SymbolCount(Record, frozen=True, kw_only=True):
    """How often one symbol was read on an edge."""

    symbol: str
    count: int


class FeatureRange(Record, frozen=True, kw_only=True):
    """Distribution of one named feature at a state: median and the middle 80 % of recorded values."""

    name: str
    low: float
    median: float
    high: float
    unit: str = ""


class Place(Record, frozen=True, kw_only=True):
    """Where in the recorded episodes something happened; steps count from 0."""

    episode: int
    step: int


class StateView(Record, frozen=True, kw_only=True):
    """One drawn state: `node` is its element id in the drawing, `members` the ids of the machine states in it."""

    node: str
    label: str
    word: str
    actions: tuple[int, ...]
    visits: int
    share: float
    members: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()
    decision: str | None = None
    dwell: tuple[Bin, ...] = ()
    features: tuple[FeatureRange, ...] = ()
    pictures: tuple[PictureKey, ...] = ()
    places: tuple[Place, ...] = ()
    value: float | None = None
    note: str = ""


class EdgeView(Record, frozen=True, kw_only=True):
    """One drawn edge: `source` and `target` are nodes; `symbols` the most frequent of `symbol_total`.

    `places`: some of the steps that took it.
    """

    edge: str
    source: str
    target: str
    count: int
    share: float
    symbols: tuple[SymbolCount, ...] = ()
    symbol_total: int = 0
    rule: str | None = None
    stochastic: bool = False
    observed: bool = True
    places: tuple[Place, ...] = ()


class MachineView(Record, frozen=True, kw_only=True):
    """One picture of the machine: the SVG (null where it could not be drawn), its caption, and what can be clicked.

    `whole_of`: the view that shows the most visited states of a machine of which this one holds all; it has no SVG of
    its own, the page draws it as a map.
    """

    key: ViewKey
    title: str
    caption: str
    svg: str | None
    start: str | None
    states: tuple[StateView, ...] = ()
    edges: tuple[EdgeView, ...] = ()
    note: str = ""
    whole_of: ViewKey | None = None


class FeatureValue(Record, frozen=True, kw_only=True):
    """One named value of an observation; `difference` is to the observation of the other branch."""

    name: str
    value: float
    difference: float | None = None
    unit: str = ""
    decisive: bool = False


class Example(Record, frozen=True, kw_only=True):
    """A recorded observation that stands for a branch: the medoid. Control tasks have `values`, frames `picture`."""

    place: Place
    symbol: str
    values: tuple[FeatureValue, ...] = ()
    picture: PictureKey | None = None
    difference: PictureKey | None = None


class RuleView(Record, frozen=True, kw_only=True):
    """A predicate on named features: `coverage` of the branch it holds on, `precision` where it holds."""

    text: str
    coverage: float
    precision: float


class Branch(Record, frozen=True, kw_only=True):
    """One way out of a decision point."""

    target: str
    target_label: str
    action: int | None
    word: str
    count: int
    share: float
    symbol_total: int = 0
    symbols: tuple[SymbolCount, ...] = ()
    rule: RuleView | None = None
    example: Example | None = None
    saliency: PictureKey | None = None
    forced_loss: float | None = None
    forced_interval: Interval | None = None


class DecisionPoint(Record, frozen=True, kw_only=True):
    """A state where the successor depends on the observation, with its branches, most taken first."""

    key: str
    view: ViewKey
    node: str
    label: str
    word: str
    flags: tuple[str, ...]
    weight_bits: float
    visits: int
    share: float
    branches: tuple[Branch, ...]
    unobserved: float | None = None
    dwell: tuple[Bin, ...] = ()
    rule_accuracy: float | None = None
    rule_majority: float | None = None
    note: str = ""
    saliency: str = ""


class Trace(Record, frozen=True, kw_only=True):
    """One named feature of the observations of an episode, step by step (T,)."""

    name: str
    values: tuple[float, ...]
    unit: str = ""


class Film(Record, frozen=True, kw_only=True):
    """Frames of `width` by `height` pixels, one below the other in PNG strips of at most `per_strip` frames."""

    strips: tuple[bytes, ...]
    width: int
    height: int
    per_strip: int
    frames: int
    alt: str


class Episode(Record, frozen=True, kw_only=True):
    """A recorded episode, one entry per step in every list; `nodes` index `MachineView.states` of `view`.

    `number` is what a `Place` calls it. Where known: `states`, the machine state entered at each step; `shown`, the
    frame of `film` that was seen; `traces`, the features that were seen.
    """

    seed: int
    protocol: Literal["fit", "held_out", "published"]
    player: str
    total: float
    ended: Literal["terminated", "truncated"]
    view: ViewKey
    nodes: tuple[int, ...]
    symbols: tuple[str, ...]
    actions: tuple[int, ...]
    rewards: tuple[float, ...]
    values: tuple[float, ...] | None = None
    decisions: tuple[int, ...] = ()
    number: int = 0
    states: tuple[int, ...] = ()
    film: str | None = None
    shown: tuple[int, ...] = ()
    traces: tuple[Trace, ...] = ()


class Picture(Record, frozen=True, kw_only=True):
    """A PNG that the report shows, stored once however often it is shown; `width`, `height` in pixels."""

    png: bytes
    width: int
    height: int
    alt: str


class StabilityRow(Record, frozen=True, kw_only=True):
    """One repeated extraction; `recurring` is None where no decision point was visited."""

    repeat: int
    states: int
    decisions: int
    recurring: float | None
    deciding: float
    agreement: float
    score: float


class StabilityPart(Record, frozen=True, kw_only=True):
    """What repeated extractions found; absent where the run was not repeated."""

    rows: tuple[StabilityRow, ...]
    note: str = ""


class SaliencyRow(Record, frozen=True, kw_only=True):
    """The intervention test at one decision point: shares of branches that flip, over `pairs` pairs.

    `flip_other` is null where an observation has one feature only: there is no other part to replace.
    """

    decision: str
    pairs: int
    skipped: int
    flip_salient: float | None
    flip_other: float | None


class SaliencyPart(Record, frozen=True, kw_only=True):
    """Differential saliency of the decision points; absent where it was not run."""

    rows: tuple[SaliencyRow, ...]
    note: str = ""


class ReportData(Record, frozen=True, kw_only=True):
    """Everything a report shows; `intervals` are by dotted path in `summary`, such as `fidelity.closed_loop`.

    `codes`: the memory code of each machine state, a sign or digit a place, such as `+0-`.
    """

    format: Literal["moorelens.report-data/1"] = REPORT_FORMAT
    subject: Subject
    summary: RunSummary
    actions: tuple[ActionMark, ...]
    intervals: dict[str, Interval] = msgspec.field(default_factory=dict)
    settings: tuple[Named, ...] = ()
    versions: tuple[Named, ...] = ()
    seed_returns: tuple[SeedReturns, ...] = ()
    reductions: tuple[ReductionStep, ...] = ()
    views: tuple[MachineView, ...] = ()
    decisions: tuple[DecisionPoint, ...] = ()
    episodes: tuple[Episode, ...] = ()
    pictures: dict[PictureKey, Picture] = msgspec.field(default_factory=dict)
    films: dict[str, Film] = msgspec.field(default_factory=dict)
    codes: tuple[str, ...] = ()
    stability: StabilityPart | None = None
    saliency: SaliencyPart | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_report_data(self)


def encode_report_data(data: ReportData) -> bytes:
    """Return the bytes of `report-data.json`; raises `InvariantError` for NaN or infinity."""
    return encode_record(data)


def decode_report_data(data: bytes) -> ReportData:
    """Return the report data in `data`, validated; raises `RunFolderError` where it is not that."""
    try:
        return msgspec.json.decode(data, type=ReportData)
    except msgspec.MsgspecError as error:
        raise RunFolderError(
            f"Report data must follow moorelens.report-data/1, but this does not ({error}); "
            "it was changed by hand or written by another version, so run the job again with --force."
        ) from error
