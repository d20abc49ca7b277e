"""Finding what `python:package.module:name` names, in the folder where the command was started too."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moorelens.errors import EnvironmentRequestError


@contextmanager
def importable_from_here() -> Iterator[None]:
    """Let modules of the current folder be imported inside, as `python -m` does; a console script does not."""
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def import_named(reference: str) -> Any:
    """Return what `package.module:name` names; raises whatever its import raises."""
    module, _, name = reference.partition(":")
    with importable_from_here():
        return getattr(importlib.import_module(module), name)


def factory_of(reference: str) -> Any:
    """Return the callable that `python:package.module:name` names, or raise `EnvironmentRequestError`."""
    try:
        factory = import_named(reference.removeprefix("python:"))
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise EnvironmentRequestError(
            f"An environment factory is written python:package.module:factory and {reference!r} cannot be imported "
            f"({type(error).__name__}: {text}): check the spelling, and that the module is in this folder or on the "
            "Python path."
        ) from error
    if not callable(factory):
        raise EnvironmentRequestError(
            f"An environment factory must be callable and {reference!r} is not: name a function."
        )
    return factory
