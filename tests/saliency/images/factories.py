"""Classifiers of pictures for tests: one that looks for light on the left or right, and ones that are none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images.models import ImageModel

CLASSES = ("left", "right", "nothing")


class Lights(nn.Module):
    """Says where the brightest patch of 8 x 8 pixels is: on the left, on the right, or (all dark) nowhere."""

    def __init__(self, channels: int = 3) -> None:
        """Take pictures (N, channels, H, W) of any size from 16 on, in [0, 1]."""
        super().__init__()
        self.patches = nn.Conv2d(channels, 2, 8, stride=8)
        with torch.no_grad():
            self.patches.weight.fill_(1 / (64 * channels))
            self.patches.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 3)."""
        maps = self.patches(x)
        half = maps.shape[3] // 2
        left, right = maps[:, 0, :, :half].amax(dim=(1, 2)), maps[:, 1, :, half:].amax(dim=(1, 2))
        return torch.stack([12 * left, 12 * right, torch.full_like(left, 4.0)], dim=1)


def lights() -> ImageModel:
    """The whole description."""
    return ImageModel(
        module=Lights().eval(),
        normaliser=Normaliser(mean=(0.0,) * 3, std=(1.0,) * 3),
        classes=CLASSES,
        channels=3,
        size=(32, 32),
        name="lights",
    )


def bare() -> nn.Module:
    """A module that says nothing of itself."""
    return Lights()


def grey() -> nn.Module:
    """A module of one channel."""
    return Lights(channels=1)


def seven() -> nn.Module:
    """A module of seven channels."""
    return Lights(channels=7)


def sized(channels: int, *, scale: float = 1.0) -> nn.Module:
    """A factory that needs arguments."""
    return nn.Sequential(Lights(channels=channels), nn.Linear(3, 3))


class Configured(Lights):
    """Says of itself what timm's models do."""

    pretrained_cfg: dict[str, Any] = {  # noqa: RUF012
        "input_size": (3, 48, 40),
        "mean": (0.5, 0.4, 0.3),
        "std": (0.25, 0.2, 0.1),
        "num_classes": 3,
    }


def configured() -> nn.Module:
    """As timm.create_model returns them, in training mode."""
    return Configured().train()


class Answers(nn.Module):
    """Answers whatever it was made with."""

    def __init__(self, answer: Any) -> None:
        """Take a tensor for one row, or anything else."""
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        """Return the answer, once for each row where it is a tensor (1, ...)."""
        return self.answer.expand(len(x), *self.answer.shape[1:]) if isinstance(self.answer, Tensor) else self.answer


def constant() -> nn.Module:
    """Says the same of every picture."""
    return Answers(torch.tensor([[1.0, 2.0, 0.0]]))


def one_logit() -> nn.Module:
    """Answers with the logit of one class against the rest."""
    return Answers(torch.full((1, 1), 0.3))


def probabilities() -> nn.Module:
    """Answers with probabilities."""
    return Answers(torch.tensor([[0.2, 0.5, 0.3]]))


def nan() -> nn.Module:
    """Answers NaN."""
    return Answers(torch.full((1, 3), torch.nan))


def pair() -> nn.Module:
    """Answers a tuple."""
    return Answers((torch.zeros(1, 3), None))


def maps() -> nn.Module:
    """Answers a picture."""
    return Answers(torch.zeros(1, 3, 4, 4))


class SometimesNaN(Lights):
    """Answers bright pictures with NaN."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        found = super().forward(x)
        return torch.where(x.mean(dim=(1, 2, 3))[:, None] > 0.9, torch.nan, found)


def sometimes_nan() -> nn.Module:
    """Passes the first trial and fails on white."""
    return SometimesNaN()


class SometimesRaises(Lights):
    """Refuses bright pictures."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        if float(x.mean()) > 0.9:
            raise RuntimeError("too\nbright")
        return super().forward(x)


def sometimes_raises() -> nn.Module:
    """Passes the first trial and fails on white."""
    return SometimesRaises()


def wrong_names() -> ImageModel:
    """Two names for three outputs."""
    return ImageModel(
        module=Lights().eval(),
        normaliser=Normaliser(mean=(0.0,) * 3, std=(1.0,) * 3),
        classes=("a", "b"),
        channels=3,
        size=None,
        name="wrong names",
    )


def twins() -> ImageModel:
    """Two classes of one name."""
    return ImageModel(
        module=Lights().eval(),
        normaliser=Normaliser(mean=(0.0,) * 3, std=(1.0,) * 3),
        classes=("crane", "crane", "Left"),
        channels=3,
        size=(32, 32),
        name="<b>twins</b>",
    )


def raises() -> nn.Module:
    """Fails."""
    raise KeyError("no\nweights here")


def leaves() -> nn.Module:
    """Ends the process."""
    raise SystemExit(7)


def text() -> Any:
    """Returns no model."""
    return "a model"


number = 7


def anysize() -> nn.Module:
    """Reads pictures of any size, a single pixel too."""
    conv, head = nn.Conv2d(3, 2, 1), nn.Linear(2, 3)
    with torch.no_grad():
        for number, part in enumerate((*conv.parameters(), *head.parameters())):
            part.copy_(torch.linspace(-1, 1 + number, part.numel()).reshape(part.shape))
    return nn.Sequential(conv, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


class Blunt(Lights):
    """Spoils the way back: by `no_grad`, `detach`, `compare`, `round`, `numpy`, `in_place`, `hook` or `root`."""

    def __init__(self, how: str) -> None:
        """Take what is done to the picture, or to what is seen of it."""
        super().__init__()
        self.how = how
        if how == "hook":
            self.patches.register_full_backward_hook(self._refuse)

    def _refuse(self, *_: Any) -> None:
        raise ValueError("the hook\nrefuses")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        if self.how == "no_grad":
            with torch.no_grad():
                return super().forward(x)
        if self.how == "numpy":
            return super().forward(torch.from_numpy(x.numpy()))
        changed = {"detach": x.detach, "compare": (x > 0.5).float, "round": x.round}.get(self.how)
        if changed is not None:
            return super().forward(changed())
        found = super().forward(x)
        if self.how == "in_place":
            grown = found.exp()
            squared = grown * grown
            grown.mul_(2)
            return squared.log() / 2 + 0 * grown
        # A root at 0 has an infinite slope, and 0 times infinity is no number.
        return found + (x.amin(dim=(1, 2, 3)) * 0).sqrt()[:, None] if self.how == "root" else found


def blunt(how: str) -> nn.Module:
    """A model without a way back."""
    return Blunt(how)


class Chatty(Lights):
    """Prints whenever it is asked."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        print("asked about", len(x))
        return super().forward(x)


def chatty() -> nn.Module:
    """Prints, too."""
    print("building")
    return Chatty()
