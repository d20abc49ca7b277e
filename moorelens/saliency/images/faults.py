"""Whose fault it is: errors that a model's own forward raised, told from those of the code that called it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from moorelens.errors import ModelFailure, MooreLensError
from moorelens.saliency.images.models import ImageModel


@contextmanager
def blaming(*models: ImageModel, name: str) -> Iterator[None]:
    """Turn what the forward of one of `models` raises while picture `name` is explained into a `ModelFailure`."""
    try:
        yield
    except ModelFailure as error:
        if name in str(error):
            raise
        raise ModelFailure(f"While {name} was explained: {error}") from error
    except (MooreLensError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        model = next((one for one in models if raised_in(error, one)), None)
        if model is None:
            raise
        text = " ".join(str(error).split())[:200]
        raise ModelFailure(
            f"A model answers any number of pictures at a time, and {model.name} failed while {name} was explained "
            f"({type(error).__name__}: {text}): call it on a batch of pictures in Python to see where."
        ) from error


def raised_in(error: BaseException, model: ImageModel) -> bool:
    """Say whether an error passed through the model's own module on its way."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_locals.get("self") is model.module:
            return True
        trace = trace.tb_next
    return False
