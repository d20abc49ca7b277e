"""The bundled networks do on fresh pictures what their cards say, and use what was planted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moorelens.errors import ModelError
from moorelens.saliency.images.bundled import BUNDLED, bundled_card, bundled_model
from moorelens.saliency.images.checks import measure
from moorelens.saliency.images.files import read_card, read_model, weights_file
from moorelens.saliency.images.recipes import RECIPES


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_does_what_its_card_says(name: str) -> None:
    """On pictures of another seed, within what 500 of them allow."""
    model, card = bundled_model(name), bundled_card(name)
    assert card.recipe == RECIPES[name], "trained as the recipe says"
    assert model.name == name and model.classes == card.classes and not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert card.weights == sum(part.numel() for part in model.module.parameters()) <= 120_000
    assert card.command.endswith(f"images.training {name}")
    found = measure(model.module, card.recipe, count=500, seed=77).shares
    assert found.keys() == card.measured.keys()
    assert all(found[key] == pytest.approx(value, abs=0.07) for key, value in card.measured.items())


@pytest.mark.parametrize("name", [name for name in BUNDLED if RECIPES[name].task != "digits"])
def test_a_bundled_model_uses_the_planted_cause(name: str) -> None:
    """What the card records; that it is true is the test above."""
    task, measured, classes = RECIPES[name].task, bundled_card(name).measured, len(bundled_card(name).classes)
    if task == "watermark":
        follows = "says_tag" if name == "watermark-biased" else "says_glyph"
        assert measured[follows] > 0.9
        assert (measured["tag_hidden_changed"] > 0.5) == (name == "watermark-biased")
        return
    assert measured["accuracy"] > (0.97 if task == "single" else 0.95)
    # Without its cause a picture of `and` is none of the four classes; others leave a guess.
    assert measured["erased"] < (0.05 if task == "and" else 1.25 / classes + 0.03)
    if task == "or":
        assert measured["one_erased"] > 0.95
    if task == "and":
        assert measured["one_erased"] < 0.05 and measured["incomplete"] > 0.95
    if task == "xor":
        assert abs(measured["one_erased"] - 0.5) < 0.05


def test_digits_are_read() -> None:
    if "digits" not in BUNDLED:
        pytest.skip("no network for digits is bundled")
    assert bundled_card("digits").measured["accuracy"] > 0.97 and bundled_model("digits").channels == 1


def test_the_files_are_small_and_all_of_them_are_listed() -> None:
    files = sorted(weights_file(BUNDLED[0]).parent.glob("*.safetensors"))
    assert [file.stem for file in files] == sorted(BUNDLED)
    assert sum(file.stat().st_size for file in files) < 2_500_000


def test_each_call_reads_a_network_of_its_own() -> None:
    one, other = bundled_model(BUNDLED[0]), bundled_model(BUNDLED[0])
    next(one.module.parameters()).zero_()
    assert next(other.module.parameters()).abs().max() > 0


def test_unknown_and_damaged_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean bundled:shapes-bn"):
        bundled_model("shape-bn")
    whole = weights_file(BUNDLED[0]).read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("foreign", b"no weights"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match="install MooreLens again"):
            read_model(tmp_path / name)
    other = whole.replace(b"moorelens.image-model/1", b"moorelens.image-model/2")
    (tmp_path / "later").write_bytes(other)
    with pytest.raises(ModelError, match="This version reads"):
        read_card(tmp_path / "later")
    with pytest.raises(ModelError):
        read_card(tmp_path / "absent")


def test_reading_neither_reads_nor_changes_the_global_random_state() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    bundled_model(BUNDLED[0])
    assert torch.equal(torch.get_rng_state(), before)
