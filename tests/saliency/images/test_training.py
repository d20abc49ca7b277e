"""Training a network of the test-bed: it learns, it learns nothing from wrong labels, and it can be done again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from moorelens.errors import OptionError
from moorelens.saliency.images import training
from moorelens.saliency.images.bundled import bundled_model
from moorelens.saliency.images.checks import measure, predict
from moorelens.saliency.images.classifiers import Architecture, build
from moorelens.saliency.images.digits import load_digits
from moorelens.saliency.images.files import read_model
from moorelens.saliency.images.recipes import RECIPES, Recipe
from moorelens.saliency.images.training import bundle, class_names, train, training_pictures, untrained

TINY = Recipe(task="digits", architecture="bn", steps=40, batch=64, rate=1e-2)


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("architecture", ["bn", "gn", "none", "attention"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_network_answers_rows_of_logits_one_by_one(architecture: Architecture, channels: int) -> None:
    model = build(architecture, channels=channels, classes=5, size=56, hidden=7).eval()
    x = torch.randn(6, channels, 56, 56, generator=seeded())
    with torch.no_grad():
        whole, single = model(x), torch.cat([model(row[None]) for row in x])
    assert whole.shape == (6, 5) and torch.allclose(whole, single, atol=1e-5), "no row depends on its neighbours"
    last = [part for part in model.modules() if isinstance(part, nn.Conv2d)][-1]
    caught: list[torch.Tensor] = []
    last.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    model(x)
    assert caught[0].shape == (6, 64, 7, 7), "what Grad-CAM reads by default is a grid over the picture"


def test_patches_are_embedded_one_by_one() -> None:
    """Changing one patch changes one token before attention, and all of them after it."""
    model = untrained(RECIPES["shapes-attention"], seeded()).eval()
    x = torch.randn(1, 3, 56, 56, generator=seeded())
    other = x.clone()
    other[..., 16:24, 8:16] += 1
    with torch.no_grad():
        changed = (model.embedding(x) - model.embedding(other)).abs().sum(dim=1)[0] > 0
        tokens = [model.blocks(model.embedding(part).flatten(2).transpose(1, 2)) for part in (x, other)]
    assert torch.nonzero(changed).tolist() == [[2, 1]]
    assert ((tokens[0] - tokens[1]).abs().sum(dim=2) > 0).all()
    assert 80_000 < sum(part.numel() for part in model.parameters()) < 120_000


def test_a_short_training_learns_and_wrong_labels_teach_nothing() -> None:
    found = load_digits(test=False)
    learned = measure(train(TINY), TINY).shares["accuracy"]
    shuffled = found.y[torch.randperm(len(found.y), generator=seeded())]
    misled = measure(train(TINY, pictures=(found.x, shuffled)), TINY).shares["accuracy"]
    assert learned > 0.85 and misled < 0.3


def test_the_same_recipe_gives_the_same_weights() -> None:
    quick = msgspec.structs.replace(TINY, steps=5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, other = train(quick), train(quick)
    third = train(msgspec.structs.replace(quick, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(third.parameters()))
    assert not one.training and not any(part.requires_grad for part in one.parameters())


def test_a_training_may_begin_with_the_weights_of_another() -> None:
    begun, known = untrained(RECIPES["and-bn"], seeded()).state_dict(), bundled_model("shapes-bn").module.state_dict()
    assert RECIPES["and-bn"].start == "shapes-bn"
    same = {key for key, part in known.items() if part.shape == begun[key].shape and torch.equal(part, begun[key])}
    assert set(known) - same == {"11.weight", "11.bias"}, "all but the head, which has one more class"
    assert begun["11.weight"].shape == (5, 64)


def test_pictures_of_or_and_and_teach_their_logic() -> None:
    recipe = msgspec.structs.replace(RECIPES["and-bn"], pictures=300)
    x, y = training_pictures(recipe, seeded())
    assert x.shape == (300, 3, 56, 56) and 0.4 < float((y == 4).float().mean()) < 0.6
    assert class_names("and")[4] == "incomplete" and set(y.tolist()) == {0, 1, 2, 3, 4}
    either, classes = training_pictures(msgspec.structs.replace(RECIPES["or-bn"], pictures=300), seeded())
    assert either.shape == (300, 3, 56, 56) and set(classes.tolist()) == {0, 1, 2, 3}


def test_digits_are_split_once_and_for_all() -> None:
    train_set, test_set = load_digits(test=False), load_digits(test=True)
    assert (len(train_set.y), len(test_set.y)) == (1437, 360)
    assert train_set.x.shape[1:] == (1, 32, 32) and float(train_set.x.max()) == 1 and float(train_set.x.min()) == 0
    assert set(test_set.y.tolist()) == set(range(10))
    known = {picture.numpy().tobytes() for picture in train_set.x}
    assert sum(picture.numpy().tobytes() in known for picture in test_set.x) == 0


def test_one_command_writes_a_model_that_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "RECIPES", {"digits": msgspec.structs.replace(TINY, steps=20)})
    monkeypatch.setattr(training, "weights_file", lambda name, folder=None: tmp_path / f"{name}.safetensors")
    threads = torch.get_num_threads()
    try:
        assert training.main([]) == 0
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.startswith("digits float")
    model, card = read_model(tmp_path / "digits.safetensors")
    assert card.recipe.steps == 20 and card.command == "python -m moorelens.saliency.images.training digits"
    found = load_digits(test=True)
    accuracy = float((predict(model, found.x) == found.y).float().mean())
    assert accuracy == pytest.approx(card.measured["accuracy"], abs=1e-3)
    first = (tmp_path / "digits.safetensors").read_bytes()
    bundle("digits")
    assert (tmp_path / "digits.safetensors").read_bytes() == first, "made again, byte for byte"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(OptionError, match="shapes-bn"):
        bundle("shapes")
