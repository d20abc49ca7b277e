"""Models of torchvision and timm: with stand-ins for the packages where they are absent, and with the real ones."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from moorelens.errors import MissingToolError, ModelError
from moorelens.saliency.images.hub import hub_model, read_state


def network(outputs: int) -> nn.Module:
    """Its names in order are not in alphabetical order: a .safetensors file forgets the former."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.ModuleDict({"a": nn.Linear(8, outputs)})["a"],
    )


def torchvision_stand_in(asked: list[Any]) -> types.ModuleType:
    told = types.SimpleNamespace(crop_size=[24], mean=[0.4, 0.5, 0.6], std=[0.1, 0.2, 0.3])
    known = types.SimpleNamespace(transforms=lambda: told, meta={"categories": ["cat", "dog", "hen"]})

    def get_model(name: str, *, weights: object, num_classes: int) -> nn.Module:
        asked.append((name, weights))
        if weights is not None:
            raise OSError("no route to host")
        return network(num_classes)

    package = types.ModuleType("torchvision.models")
    package.__dict__.update(
        list_models=lambda module: ["resnet18", "resnet34"],
        get_model_weights=lambda name: types.SimpleNamespace(DEFAULT=known),
        get_model=get_model,
    )
    return package


def timm_stand_in() -> tuple[types.ModuleType, types.ModuleType]:
    def create_model(name: str, *, pretrained: bool, num_classes: int = 2) -> nn.Module:
        module = network(num_classes)
        module.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "input_size": (3, 20, 30)}  # type: ignore[assignment]
        module.num_classes = num_classes  # type: ignore[assignment]
        return module

    class Described:
        def __init__(self, subset: str) -> None:
            self.subset = subset

        def index_to_description(self, number: int) -> str:
            return f"{self.subset} {number}"

    package, data = types.ModuleType("timm"), types.ModuleType("timm.data")
    package.__dict__.update(list_models=lambda: ["tiny"], create_model=create_model)
    data.__dict__.update(
        infer_imagenet_subset=lambda module: "two" if module.num_classes == 2 else None, ImageNetInfo=Described
    )
    return package, data


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", torchvision_stand_in(found))
    package, data = timm_stand_in()
    monkeypatch.setitem(sys.modules, "timm", package)
    monkeypatch.setitem(sys.modules, "timm.data", data)
    return found


def test_a_model_comes_with_its_own_normaliser_size_and_names(asked: list[Any]) -> None:
    model = hub_model("torchvision:resnet18", weights="none")
    assert model.size == (24, 24) and model.channels == 3 and model.classes == ("cat", "dog", "hen")
    assert model.normaliser.mean == (0.4, 0.5, 0.6) and model.normaliser.std == (0.1, 0.2, 0.3)
    assert model.name == "torchvision:resnet18 (random weights)" and asked == [("resnet18", None)]
    assert not model.module.training and not any(part.requires_grad for part in model.module.parameters())
    other = hub_model("timm:tiny.of_somebody", weights="none")
    assert other.size == (20, 30) and other.classes == ("two 0", "two 1") and other.normaliser.std == (0.25,) * 3


def test_random_weights_neither_read_nor_change_the_global_state(asked: list[Any]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = hub_model("torchvision:resnet18", weights="none")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    other = hub_model("torchvision:resnet18", weights="none")
    assert all(torch.equal(*pair) for pair in zip(one.module.parameters(), other.module.parameters(), strict=True))


@pytest.mark.parametrize("reference", ["torchvision:resnet18", "timm:tiny"])
@pytest.mark.parametrize("saved", ["plain", "parallel", "safetensors"])
def test_weights_come_from_a_local_file(tmp_path: Path, asked: list[Any], reference: str, saved: str) -> None:
    wanted = network(5).eval()
    state = {key: part.clone() for key, part in wanted.state_dict().items()}
    file = tmp_path / f"mine.{saved}"
    if saved == "safetensors":
        save_file(state, file)
    else:
        torch.save(state if saved == "plain" else {"state_dict": {f"module.{k}": v for k, v in state.items()}}, file)
    model = hub_model(reference, weights=str(file))
    assert model.classes == ("0", "1", "2", "3", "4") and model.name == reference
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.module(x), wanted(x))


def write_foreign(path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), path)


def write_numbers(path: Path) -> None:
    torch.save([1, 2], path)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (write_foreign, "name the network that they were saved from"),
        (write_numbers, "holds something else"),
        (lambda path: path.write_bytes(b"no weights"), "cannot be read as one"),
        (lambda path: None, "check the path"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, asked: list[Any], write: Callable[[Path], object], says: str
) -> None:
    file = tmp_path / "weights.pth"
    write(file)
    with pytest.raises(ModelError, match=says):
        hub_model("torchvision:resnet18", weights=str(file))


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('ran')",)


def test_a_file_runs_no_code(tmp_path: Path) -> None:
    torch.save({"weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(ModelError, match="weights alone"):
        read_state(tmp_path / "bomb.pth")


def test_what_is_no_model_or_cannot_be_had_is_said(asked: list[Any]) -> None:
    with pytest.raises(ModelError, match=r"did you mean torchvision:resnet18 or torchvision:resnet34\?"):
        hub_model("torchvision:resnet19")
    with pytest.raises(ModelError, match=r"neither"):
        hub_model("hub:resnet18")
    with pytest.raises(ModelError, match=r"downloaded by torchvision .*no route to host.* pass a local file"):
        hub_model("torchvision:resnet18")


@pytest.mark.parametrize("hub", ["torchvision", "timm"])
def test_an_absent_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, hub: str) -> None:
    for name in (hub, f"{hub}.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingToolError, match=r"moorelens\[hub\]"):
        hub_model(f"{hub}:resnet18")


@pytest.mark.parametrize(("hub", "name"), [("torchvision", "squeezenet1_1"), ("timm", "resnet10t")])
def test_the_real_package(hub: str, name: str) -> None:
    pytest.importorskip(hub, reason=f"{hub} is not installed: this is what moorelens[hub] brings")
    model = hub_model(f"{hub}:{name}", weights="none")
    assert model.size is not None and len(model.classes) == 1000 and "goldfish" in model.classes[1]
    with torch.no_grad():
        assert model.module(torch.zeros(1, 3, *model.size)).shape == (1, 1000)
