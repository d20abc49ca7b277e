"""A run of three tiny stages with everything in it that a kill could break: a checkpoint, many files, a subfolder.

As a program: `toy.py run FOLDER` makes the run; `toy.py die FOLDER K` makes it and kills itself with SIGKILL at its
K-th change to the disk (exit code 0 where there were fewer).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.manifest import Header, make_header
from moorelens.runs.stages import Stage, StageContext, run_stages

STEPS = 2


def header(policy: str = "p1", *, verb: str = "toy") -> Header:
    return make_header(
        verb, identity={"policy": policy, "env": "E"}, config={"n": 5}, threads=1, versions={"numpy": "2"}
    )


def rolls(context: StageContext) -> Mapping[str, bytes]:
    return {"rolls.npz": encode_arrays({"x": np.arange(5.0)})}


def climb(context: StageContext) -> Mapping[str, bytes]:
    """Counts to STEPS, saving each step: what a training loop does."""
    saved = context.checkpoint.load()
    step, value = (int(saved["step"]), float(saved["value"])) if saved else (0, 0.0)
    x = decode_arrays(context.read("rolls.npz"))["x"]
    while step < STEPS:
        step, value = step + 1, value + float(x.sum()) * step
        time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
        context.checkpoint.save({"step": str(step).encode(), "value": repr(value).encode()})
    return {"value.txt": repr(value).encode()}


def paint(context: StageContext) -> Mapping[str, bytes]:
    value = context.read("value.txt")
    return {f"pictures/{i}.txt": value * i for i in range(3)} | {"report.html": b"<p>" + value}


def stages(**config: Any) -> list[Stage]:
    return [
        Stage(name="rollouts", run=rolls, config={"seed": 1, **config}, outputs=("rolls.npz",)),
        Stage(name="climb", run=climb, config={"steps": STEPS}, needs=("rolls.npz",), outputs=("value.txt",)),
        Stage(name="paint", run=paint, needs=("value.txt",), outputs=("pictures/", "report.html")),
    ]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below `folder` with its bytes (folders: None), without the run log."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: path.read_bytes() if path.is_file() else None for name, path in found.items() if name != "run-log.json"
    }


def die_at(change: int) -> None:
    """Make the `change`-th call of a function that changes the disk kill this process, before or after its effect."""
    left = change

    def fatal(name: str) -> None:
        function = getattr(os, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(os, name, counted)

    for name in ("open", "replace", "unlink", "mkdir", "rmdir", "fsync"):
        fatal(name)


if __name__ == "__main__":
    if sys.argv[1] == "die":
        die_at(int(sys.argv[3]))
    print("started", flush=True)
    run_stages(Path(sys.argv[2]), stages(), header=header())
