"""The pages of a training: what a callback left in its folder, drawn and compared from one checkpoint to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from moorelens import graphviz
from moorelens.errors import LayoutTimeout, MissingToolError, RunFolderError
from moorelens.fsm.automata.difference import diff
from moorelens.fsm.automata.difference_formats import difference_text
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.drawing import draw_machine
from moorelens.reports.growth import Growth, Stage, Training

GROWTH = "growth.json"
_LAYOUT_SECONDS = 20.0


def machine_file(steps: int) -> str:
    """Return the name of the file that holds the machine after so many steps of a training."""
    return f"machine-{steps}.json"


def stage_of(growth: Growth, machine: MooreMachine | None, before: MooreMachine | None, *, place: int) -> Stage:
    """Return a checkpoint with its drawing and what changed since the machine `before`; `place` is its number."""
    if machine is None:
        return Stage(growth=growth)
    changes = "" if before is None else difference_text(diff(before, machine), before, machine)
    drawing = draw_machine(machine, prefix=f"c{place}-", legend=place == 0)
    try:
        svg = graphviz.render(drawing.dot, timeout_s=_LAYOUT_SECONDS).decode("utf-8")
    except (MissingToolError, LayoutTimeout) as error:
        note = " ".join(str(error).split())
        return Stage(growth=msgspec.structs.replace(growth, note=note), changes=changes)
    return Stage(growth=growth, svg=svg, changes=changes)


def stages_of(training: Training, machines: Mapping[int, MooreMachine]) -> Sequence[Stage]:
    """Return the checkpoints of a training, each beside the last one that has a machine."""
    found: list[Stage] = []
    before: MooreMachine | None = None
    for place, growth in enumerate(training.checkpoints):
        machine = machines.get(growth.steps)
        found.append(stage_of(growth, machine, before, place=place))
        before = machine or before
    return found


def read_training(folder: Path) -> tuple[Training, dict[int, MooreMachine]]:
    """Read what `MachineCallback` wrote into `folder`: the numbers of each checkpoint, and its machines by steps.

    Raises: RunFolderError where `growth.json` or a machine that it names is missing or damaged.
    """
    path = folder / GROWTH
    try:
        training = msgspec.json.decode(path.read_bytes(), type=Training)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RunFolderError(
            f"A training's {GROWTH} must follow moorelens.growth/1, and {path} does not ({why}); it was changed by "
            "hand or written by another version, so train again with this MachineCallback."
        ) from error
    steps = [growth.steps for growth in training.checkpoints if growth.states is not None]
    return training, {step: _machine(folder / machine_file(step)) for step in steps}


def _machine(path: Path) -> MooreMachine:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFolderError(
            f"The machine of each checkpoint must lie beside {GROWTH}, and {path} cannot be read ({error.strerror}): "
            "restore it, or train again."
        ) from error
    return decode_machine(data)
