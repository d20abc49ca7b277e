"""What an image classifier is, and how one is opened by its reference."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from moorelens.errors import ModelError
from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images import ImageModel, open_model
from moorelens.saliency.images.models import identity
from tests.saliency.images import factories

HERE = "tests.saliency.images.factories"


def test_a_factory_may_return_the_whole_description() -> None:
    model = open_model(f"{HERE}:lights")
    assert (model.classes, model.channels, model.size, model.name) == (factories.CLASSES, 3, (32, 32), "lights")


def test_a_bare_module_is_put_into_eval_mode_and_described_by_what_it_shows() -> None:
    model = open_model(f"{HERE}:bare")
    assert (model.classes, model.channels, model.size, model.name) == (("0", "1", "2"), 3, None, "bare")
    assert model.normaliser == Normaliser(mean=(0.0,) * 3, std=(1.0,) * 3)
    assert not model.module.training
    assert open_model(f"{HERE}:grey").channels == 1


def test_what_a_module_says_of_itself_as_timms_do_is_used() -> None:
    model = open_model(f"{HERE}:configured")
    assert (model.channels, model.size) == (3, (48, 40))
    assert model.normaliser == Normaliser(mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.1))


def test_what_is_asked_for_replaces_what_the_model_says() -> None:
    model = open_model(f"{HERE}:configured", mean=[0.5], std=[1.0, 2.0, 3.0], size=(64, 32), classes=["a", "b", "c"])
    assert model.normaliser == Normaliser(mean=(0.5,) * 3, std=(1.0, 2.0, 3.0))
    assert (model.size, model.classes) == ((64, 32), ("a", "b", "c"))


def test_a_factory_is_given_arguments() -> None:
    assert open_model(f"{HERE}:sized", arguments={"channels": 1, "scale": 2}).channels == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "failed (KeyError: 'no\\\\nweights here')"),
        ("leaves", "failed (SystemExit: 7)"),
        ("text", "returned a str"),
        ("number", "is a int"),
        ("absent", "cannot be imported"),
        ("sized", "--model-args"),
        ("nan", "NaN"),
        ("one_logit", "returns two"),
        ("probabilities", "before its softmax"),
        ("pair", "a tuple"),
        ("maps", "a tensor (1, 3, 4, 4)"),
        ("wrong_names", "3 outputs and 2 names"),
    ],
)
def test_what_is_no_classifier_is_refused_in_one_sentence(name: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        open_model(f"{HERE}:{name}")
    assert words.replace("\\\\", "\\") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reference", ["", "nothing", "a.b:", ":c", "bundled:nothing", "no.such.package:factory"])
def test_a_reference_that_names_nothing_is_refused(reference: str) -> None:
    with pytest.raises(ModelError):
        open_model(reference)


def test_a_size_that_the_network_cannot_read_is_refused() -> None:
    with pytest.raises(ModelError, match="--input-size"):
        open_model(f"{HERE}:bare", size=(4, 4))


@pytest.mark.parametrize(
    "change",
    [
        {"module": "a network"},
        {"classes": ()},
        {"classes": (1, 2, 3)},
        {"channels": 0},
        {"channels": 1},
        {"size": (0, 8)},
        {"normaliser": Normaliser(mean=(0.0,) * 3, std=(1.0, 0.0, 1.0))},
        {"normaliser": Normaliser(mean=(float("nan"),) * 3, std=(1.0,) * 3)},
    ],
)
def test_a_description_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        dataclasses.replace(factories.lights(), **change)  # type: ignore[arg-type]


def test_a_network_in_training_mode_is_refused() -> None:
    with pytest.raises(ModelError, match="eval"):
        ImageModel(
            module=nn.Linear(3, 3),
            normaliser=Normaliser(mean=(0.0,), std=(1.0,)),
            classes=("a",),
            channels=1,
            size=None,
            name="trained",
        )


def test_the_identity_is_of_all_that_a_map_depends_on() -> None:
    model = factories.lights()
    assert identity(model) == identity(factories.lights())
    other = factories.lights()
    with torch.no_grad():
        next(other.module.parameters()).view(-1)[0] += 1e-6
    others = [
        other,
        dataclasses.replace(model, size=(48, 48)),
        dataclasses.replace(model, normaliser=Normaliser(mean=(0.0,) * 3, std=(2.0,) * 3)),
        dataclasses.replace(model, classes=("a", "b", "c")),
    ]
    assert len({identity(each) for each in [model, *others]}) == 5


def test_weights_are_chosen_for_hubs_alone() -> None:
    with pytest.raises(ModelError, match="leave --weights out"):
        open_model(f"{HERE}:bare", weights="pretrained")


def test_a_hub_is_asked_for_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def hub_model(reference: str, *, weights: str) -> ImageModel:
        asked.append((reference, weights))
        return factories.lights()

    monkeypatch.setattr("moorelens.saliency.images.hub.hub_model", hub_model)
    open_model("timm:resnet18")
    open_model("torchvision:resnet18", weights="none")
    assert asked == [("timm:resnet18", "pretrained"), ("torchvision:resnet18", "none")]
