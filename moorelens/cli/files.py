"""Machine files that commands read, and the files they write: never over another file without `--force`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from moorelens.errors import MachineFileError, OptionError, RunFolderError
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine
from moorelens.runs.atomic import is_full, write_atomic


def read_any_machine(name: str) -> MooreMachine | ReducedMachine:
    """Read a machine or a reduced machine, whichever the file says it is.

    Raises: MachineFileError where the file is missing, damaged or neither.
    """
    data = _read(Path(name))
    return decode_reduced(data) if _format(data).startswith("moorelens.reduced/") else decode_machine(data)


def read_machine(name: str) -> MooreMachine:
    """Read a machine that is not reduced.

    Raises: MachineFileError where the file is missing, damaged or a reduced machine.
    """
    machine = read_any_machine(name)
    if isinstance(machine, ReducedMachine):
        raise MachineFileError(
            f"This needs a machine as extracted or folded, and {name} is a reduced one: give the run's machine.json."
        )
    return machine


def beside(name: str, ending: str) -> Path:
    """Return where the result of a command on the file `name` goes: beside it, with another `ending`.

    A run folder holds what its manifest lists and nothing else: results on its files go to the current folder, under
    the run's name (`runs/explain-cartpole/machine.json` and `.svg` give `explain-cartpole-machine.svg`).
    """
    path = Path(name)
    new = path.name.removesuffix(".json") + ending
    if (path.parent / "manifest.json").exists():
        return Path(f"{path.absolute().parent.name}-{new}")
    return path.with_name(new)


def write_result(path: Path, data: bytes, *, force: bool) -> Path:
    """Write a command's result; the same bytes may be written again, other ones only with `force`.

    Raises: OptionError where another file is there, RunFolderError where the folder cannot be written, StorageError.
    """
    if path.is_dir():
        raise OptionError(f"--out must be a file, and {path} is a folder: add a file name.")
    if path.exists() and not force and path.read_bytes() != data:
        raise OptionError(
            f"{path} exists and holds something else: choose another --out, or give --force to replace it."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if not is_full(error):
            raise RunFolderError(
                f"The folder {path.parent} cannot be made ({error.strerror}): choose another --out."
            ) from error
    write_atomic(path, data)
    return path


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise MachineFileError(f"A machine is a file, and {path} is a folder: give {path / 'machine.json'}.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise MachineFileError(f"{path} cannot be read ({error.strerror}): check how the path is written.") from error


def _format(data: bytes) -> str:
    try:
        document: Any = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return str(document.get("format", "")) if isinstance(document, dict) else ""
