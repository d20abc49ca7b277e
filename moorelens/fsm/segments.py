"""What fine-tuning learns from: short segments of recorded episodes, each with the memory that was there before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from moorelens.fsm.sequences import Sequences


@dataclass(frozen=True, kw_only=True, eq=False)
class Practice:
    """Episodes, and what memory they were gone through with: `codes (T, N, K)`, the state's digits after each step."""

    sequences: Sequences
    codes: Tensor

    @cached_property
    def steps(self) -> tuple[Tensor, Tensor]:
        """Where there is a step: its time (M,) and its episode (M,)."""
        times, episodes = torch.nonzero(self.sequences.mask, as_tuple=True)
        return times, episodes

    @cached_property
    def lengths(self) -> Tensor:
        """How many steps each episode has, (N,)."""
        return self.sequences.mask.sum(dim=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """B segments of L steps, with the memory that was there before them.

    `features (L, B, F)`, the policy's `states (L, B, H)` and `logits (L, B, A)`; `mask (L, B)`, False behind the end of
    an episode; `before (B, K)`, the digits of the memory before the first step; `beginning (B,)`, where there is no
    step before and the start state stands instead.
    """

    features: Tensor
    states: Tensor
    logits: Tensor
    mask: Tensor
    before: Tensor
    beginning: Tensor


def draw(practice: Practice, *, count: int, length: int, generator: torch.Generator) -> Segments:
    """Return `count` segments of `length` steps that begin at any step of any episode, all steps alike.

    Raises `ValueError` where the episodes hold no step.
    """
    played = practice.sequences
    times, episodes = practice.steps
    if not len(times):
        raise ValueError("segments are drawn from episodes of one step or more")
    picked = torch.randint(len(times), (count,), generator=generator)
    first, column = times[picked], episodes[picked]
    reached = first + torch.arange(length)[:, None]
    at = reached.clamp_max(len(played.mask) - 1)
    return Segments(
        features=played.features[at, column],
        states=played.states[at, column],
        logits=played.logits[at, column],
        mask=reached < practice.lengths[column],
        before=practice.codes[(first - 1).clamp_min(0), column],
        beginning=first == 0,
    )


def side_by_side(parts: Sequence[Segments]) -> Segments:
    """Return the segments of all `parts`, which are of one length."""
    joined = {}
    for field in fields(Segments):
        tensors = [getattr(part, field.name) for part in parts]
        joined[field.name] = torch.cat(tensors, dim=0 if field.name in ("before", "beginning") else 1)
    return Segments(**joined)
