"""What an explainer returns: a map for each row, with the scores, the costs and the settings that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

from moorelens.errors import InvariantError
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.saliency import registry

Kind = Literal["keep_mask", "signed", "nonneg"]
_TENSORS = ("values", "native", "f_x", "f_b", "explainable")
_FACTS = ("kind", "score", "n_forward", "n_backward", "largest_batch", "method", "seed")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """Maps (B, H, W) of images or (B, F) of vectors, on their raw scale: nothing is stretched to 0..1.

    `kind`: `signed` (positive speaks for the score), `nonneg`, or `keep_mask` (1 shows a pixel: low = important);
    `native`: the map at the method's own resolution and channels; `score`: what was explained, in words;
    `f_x`, `f_b` (B,): the score of the input and of the baseline; `explainable` (B,) bool: whether f_x - f_b is
    positive and at least `min_gap` (a setting, by default a tenth) of |f_x|; a map of a row that is not is noise;
    `n_forward`, `n_backward`, `largest_batch`: rows through the model; `seconds`: wall time, None once stored;
    `seed`: of the generator, which makes the same map again when it is fresh; `diagnostics`: what the method says of
    itself, tensors (B, ...) or plain values.
    """

    values: Tensor
    kind: Kind
    native: Tensor
    score: str
    f_x: Tensor
    f_b: Tensor
    explainable: Tensor
    n_forward: int
    n_backward: int
    largest_batch: int
    seconds: float | None
    method: str
    config: msgspec.Struct
    seed: int
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a map that is not finite or does not fit its scores."""
        if len(self.values) != len(self.f_x) or not bool(torch.isfinite(self.values).all()):
            raise InvariantError(
                f"A map has one finite value for each pixel of each row and {self.method} returned another shape or "
                "NaN: this is a bug in the explainer."
            )

    @property
    def gap(self) -> Tensor:
        """What there is to explain, f_x - f_b (B,)."""
        return self.f_x - self.f_b

    def saliency(self, *, magnitude: bool = False) -> Tensor:
        """Return the maps with one polarity, larger = more important; with `magnitude`, of either sign alike."""
        if self.kind == "keep_mask":
            return 1 - self.values
        return self.values.abs() if magnitude else self.values

    def to_bytes(self) -> bytes:
        """Return the attribution as `.npz`, the same bytes for the same content; the wall time is left out."""
        arrays = {name: getattr(self, name).detach().cpu().numpy() for name in _TENSORS}
        plain: dict[str, Any] = {}
        for name, value in self.diagnostics.items():
            if isinstance(value, Tensor):
                arrays[f"diagnostics.{name}"] = value.detach().cpu().numpy()
            else:
                plain[name] = value
        facts = {name: getattr(self, name) for name in _FACTS}
        facts |= {"config": msgspec.to_builtins(self.config), "diagnostics": plain}
        arrays["facts"] = np.frombuffer(msgspec.json.encode(facts, order="sorted"), dtype=np.uint8)
        return encode_arrays(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Attribution:
        """Return the attribution that `to_bytes` wrote."""
        arrays = decode_arrays(data)
        facts: dict[str, Any] = msgspec.json.decode(arrays["facts"].tobytes())
        diagnostics: dict[str, Any] = facts.pop("diagnostics")
        for name, array in arrays.items():
            if name.startswith("diagnostics."):
                diagnostics[name.removeprefix("diagnostics.")] = torch.from_numpy(array.copy())
        config = msgspec.convert(facts.pop("config"), registry.config_type(facts["method"]))
        tensors: dict[str, Any] = {name: torch.from_numpy(arrays[name].copy()) for name in _TENSORS}
        return cls(**tensors, **facts, config=config, diagnostics=diagnostics, seconds=None)
