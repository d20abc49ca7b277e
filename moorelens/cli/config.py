"""What the commands on single files are asked for; jobs on policies have theirs in `moorelens.pipelines.config`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from moorelens.pipelines.config import Device, require


class DrawConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`draw`: a machine file as a picture."""

    machine: str
    """A machine.json, folded.json or reduced.json."""
    out: str | None = None
    """File to write; beside the machine where none is given."""
    format: Literal["svg", "pdf", "png", "dot"] = "svg"
    """Kind of picture; the ending of --out decides where it is one of these."""
    detail: Literal["auto", "labels", "plain", "top"] = "auto"
    """Edge labels, none, or the most visited states only; auto goes by the size."""
    horizontal: bool = False
    """Lay it out from left to right."""
    seconds: float = 20.0
    """Give the layout up after so long."""
    force: bool = False
    """Replace a file that is there."""

    def __post_init__(self) -> None:
        """Refuse a time that no layout can keep; raises `OptionError`."""
        require(0.0 < self.seconds < 1e6, "seconds", "a positive number of seconds", self.seconds)


class MachineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that makes another file out of a machine file."""

    machine: str
    """A machine.json."""
    out: str | None = None
    """File to write; beside the machine where none is given."""
    force: bool = False
    """Replace a file that is there."""


class ReduceConfig(MachineConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reduce`: which of the steps that lose something to a reader are taken too."""

    chains: Literal["same_action", "sequence"] = "same_action"
    """Join states passed in turn where they act alike, or always."""
    bisimulation: bool = False
    """Merge states that no word tells apart, too."""


class FoldConfig(MachineConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`fold`: how much a merge must rest on."""

    min_evidence: int = 0
    """Transitions that must confirm a merge; 0 is the published behaviour, 1 merges only what was seen to agree."""

    def __post_init__(self) -> None:
        """Refuse a negative number; raises `OptionError`."""
        require(self.min_evidence >= 0, "min_evidence", "a whole number from 0 on", self.min_evidence)


class MinimizeConfig(MachineConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`minimize`: what may be merged, and how long the proof may take."""

    method: Literal["strict", "exact"] = "strict"
    """strict keeps undefined words undefined; exact may fill them in and asks a SAT solver (extra `sat`)."""
    seconds: float = 60.0
    """exact: give the search up after so long, and keep the bound that was proven."""
    max_states: int = 400
    """exact: do not begin with a larger machine."""

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing to do; raises `OptionError`."""
        require(0.0 < self.seconds < 1e6, "seconds", "a positive number of seconds", self.seconds)
        require(self.max_states >= 1, "max_states", "a whole number from 1 on", self.max_states)


class ExportConfig(MachineConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`export`: which tool the machine is for."""

    format: Literal["dot", "mermaid", "graphml", "kiss2", "prism", "aalpy"] = "dot"
    """Drawings and graphs (dot, mermaid, graphml), minimisers (kiss2), model checkers (prism), AALpy's state setup."""


class DiffConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`diff`: two machine files."""

    first: str
    """A machine.json or reduced.json."""
    second: str
    """Another one."""
    match: Literal["auto", "code", "word", "shape"] = "auto"
    """Match states by their codes, by the words that lead to them, or by the shape of the graph."""
    out: str | None = None
    """Draw both machines as one picture: svg, pdf, png or dot by the ending."""
    seconds: float = 20.0
    """Give the layout up after so long."""
    force: bool = False
    """Replace a file that is there."""

    def __post_init__(self) -> None:
        """Refuse a time that no layout can keep; raises `OptionError`."""
        require(0.0 < self.seconds < 1e6, "seconds", "a positive number of seconds", self.seconds)


class ShowConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`zoo show`: one bundled policy."""

    name: str
    """Name of the policy, as `moorelens zoo list` gives it."""


class NothingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that is asked for nothing in particular."""


class ZooListConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`zoo list`."""

    markdown: bool = False
    """Print the table of the README instead."""


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`train`: `moorelens.policies.training.config.TrainConfig` with its folder, and settings as JSON."""

    env: str
    """A Gymnasium id such as CartPole-v1."""
    out: str | None = None
    """Folder for the policy, which the same command continues; runs/train-ENV-SEED where none is given."""
    steps: int | None = None
    """Environment steps at most; else the task's."""
    seed: int = 0
    """Seed of weights, actions and training episodes."""
    cell: Literal["gru", "lstm"] = "gru"
    """The memory."""
    units: int = 32
    """Width of the memory."""
    target: float | None = None
    """Stop at this mean return on the selection seeds; else the task's."""
    evaluate_every: int | None = None
    """Steps between evaluations; else the task's."""
    ppo: dict[str, Any] = {}
    """Settings of PPO that differ from the task's, for example {"gamma": 0.999}."""
    teacher: Literal["ram", "oracle"] | None = None
    """Not rewards but answers: of a script that reads the memory of an Atari game (ram), or the right ones of a memory
    task such as moorelens/Tracker-v0 (oracle)."""
    imitation: dict[str, Any] = {}
    """Settings of the imitation that differ from the usual ones."""
    start: str | None = None
    """Begin with the weights of this policy, zoo:NAME or a native file of the same shape."""
    device: Device = "cpu"
    """Where the network runs."""
    tensorboard: bool = False
    """Write TensorBoard logs too (needs the extra `tb`)."""
    force: bool = False
    """Start over, even in a folder of another training."""
    max_minutes: float | None = None
    """Stop in order after so many minutes; the same command goes on."""


class ReportConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report`: a run or a training whose report is set again, or two runs that are compared."""

    runs: tuple[str, ...]
    """The folder of a run, of two, or of a training with a MachineCallback."""
    out: str | None = None
    """File to write, .html or .pdf; else RUN-report.html and .pdf, or A-and-B.html and .pdf, in the current folder."""
    film_mb: float | None = None
    """Megabytes that the films of a game may take in the page; frames are left out evenly until they fit."""
    force: bool = False
    """Replace a file that is there."""

    def __post_init__(self) -> None:
        """Refuse more than two runs and files of another kind; raises `OptionError`."""
        require(len(self.runs) in (1, 2), "runs", "one run folder or two", len(self.runs))
        fits = self.out is None or self.out.lower().endswith((".html", ".pdf"))
        require(fits, "out", "a file that ends in .html or .pdf", self.out)
        require(self.film_mb is None or self.film_mb >= 0, "film_mb", "0 or more megabytes", self.film_mb)
