"""Every error a user can meet, as one tree.

    MooreLensError                    exit 1: something broke while running
    ├── RequestError                  exit 2: the request was wrong
    │   ├── OptionError               an option value that cannot be used
    │   ├── PolicyError               a policy that cannot be read or does not fit
    │   ├── EnvironmentRequestError   an environment that does not exist or cannot be built
    │   ├── ModelError                an image model that cannot be read or does not fit
    │   ├── ImageError                a picture that cannot be read
    │   ├── MachineFileError          a machine file that is damaged or of another kind
    │   └── RunFolderError            an output or run folder that cannot be used
    ├── EnvironmentFailure            an environment that died or returned what it must not
    ├── PolicyFailure                 a policy that answered with NaN while it was played
    ├── ModelFailure                  an image model that answered with NaN or raised while it was asked
    ├── StageError                    a stage that could not finish
    ├── StorageError                  a file that could not be written
    ├── LayoutTimeout                 a drawing that Graphviz could not lay out in time
    ├── InvariantError                a result that contradicts its own definition (a bug in MooreLens)
    └── MissingToolError              exit 3: an optional tool is not installed

Messages are one sentence: the rule, the culprit, the likely cause, the next step.
"""

from __future__ import annotations

from typing import ClassVar


class MooreLensError(Exception):
    """Root of all errors that MooreLens raises on purpose."""

    exit_code: ClassVar[int] = 1


class RequestError(MooreLensError):
    """The request was wrong; nothing was run."""

    exit_code: ClassVar[int] = 2


class OptionError(RequestError):
    """An option has a value that cannot be used."""


class PolicyError(RequestError):
    """A policy file or factory cannot be read, or does not fit the environment."""


class EnvironmentRequestError(RequestError):
    """An environment id is unknown, or its factory cannot build it."""


class ModelError(RequestError):
    """An image model cannot be read, its factory failed, or it is no classifier of images."""


class ImageError(RequestError):
    """A picture cannot be read: missing, damaged, too large, or no picture."""


class MachineFileError(RequestError):
    """A machine file is damaged, or is not a machine."""


class RunFolderError(RequestError):
    """A run folder cannot be used: not a run, another run's, or not writable."""


class EnvironmentFailure(MooreLensError):
    """An environment raised, or returned what it must not, while it was being played."""


class PolicyFailure(MooreLensError):
    """A policy answered with numbers that are not finite while it was being played."""


class ModelFailure(MooreLensError):
    """An image model raised, or answered with numbers that are not finite, while a picture was explained."""


class StageError(MooreLensError):
    """A stage of a run could not finish."""


class StorageError(MooreLensError):
    """A file could not be written: the disk is full, or the folder is read-only."""


class LayoutTimeout(MooreLensError):
    """A drawing is too large or too dense to be laid out within its time limit."""


class InvariantError(MooreLensError):
    """A result contradicts its own definition, for example a machine its own traces."""


class MissingToolError(MooreLensError):
    """An optional tool is not installed; the message says which command installs it."""

    exit_code: ClassVar[int] = 3
