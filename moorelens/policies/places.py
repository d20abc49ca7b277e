"""Where each channel of a feature map sees what it looks for: a soft arg max with a learned prior of places."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Places and strengths lie in [0, 6], like features after ReLU6: the decoders of observation quantisers reach that far.
_SPAN = 6.0
_PRIOR_GAIN = 5.0
_FLAT = 0.05


class Places(nn.Module):
    """Maps (B, C, H, W) to features (B, 3C): rows, columns and strengths, all in [0, 6] (levine2016visuomotor).

    Every map is first brought to mean 0 and deviation 1, so that a filter that is still weak points as sharply as a
    strong one: without that, two of three trainings on Pong did not begin to learn in their first minute. `rows` (C, H)
    and `columns` (C, W) add a learned preference, because two paddles look alike and only one is the player's.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        """Allocate the weights; see `initialise`."""
        super().__init__()
        self.sharpness = nn.Parameter(torch.empty(channels))
        self.rows = nn.Parameter(torch.empty(channels, height))
        self.columns = nn.Parameter(torch.empty(channels, width))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the features (B, 3C) of maps (B, C, H, W)."""
        centred = maps - maps.mean(dim=(2, 3), keepdim=True)
        spread = torch.sqrt(centred.square().mean(dim=(2, 3), keepdim=True) + _FLAT**2)
        seen = centred / spread * self.sharpness[:, None, None]
        prior = _PRIOR_GAIN * (self.rows[:, :, None] + self.columns[:, None, :])
        attention = torch.softmax((seen + prior).flatten(2), dim=2).reshape(maps.shape)
        rows = attention.sum(dim=3) @ _positions(self.rows)
        columns = attention.sum(dim=2) @ _positions(self.columns)
        strength = torch.sigmoid((attention * seen).sum(dim=(2, 3)) / 10.0)
        return _SPAN * torch.cat([rows, columns, strength], dim=1)


def _positions(preference: Tensor) -> Tensor:
    return torch.linspace(0.0, 1.0, preference.shape[1], dtype=preference.dtype, device=preference.device)
