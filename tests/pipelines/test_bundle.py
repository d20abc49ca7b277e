"""Putting a finished training into the zoo."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from moorelens.errors import RunFolderError
from moorelens.pipelines.bundle import acts_alike, bundle, rounded
from moorelens.pipelines.zoo import show
from moorelens.policies.base import identity
from moorelens.policies.native import read_native
from moorelens.policies.training.card import decode_card, encode_card
from moorelens.policies.zoo.files import zoo_file


def finished(folder: Path) -> Path:
    """A folder with the weights and a card (of two held-out games) of the bundled CartPole policy."""
    folder.mkdir()
    (folder / "policy.safetensors").write_bytes(zoo_file("cartpole").read_bytes())
    card = show("cartpole")
    few = msgspec.structs.replace(card.held_out, seeds=card.held_out.seeds[:2], returns=card.held_out.returns[:2])
    (folder / "card.json").write_bytes(encode_card(msgspec.structs.replace(card, held_out=few)))
    return folder


def test_weights_are_halved_only_where_no_action_changes(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    card = bundle(finished(tmp_path / "run"), zoo=zoo)
    kept, _ = read_native(zoo / "cartpole.safetensors")
    original, _ = read_native(zoo_file("cartpole"))
    halved = acts_alike(original, rounded(original), card)
    assert card.identity == identity(kept) == identity(rounded(original) if halved else original)
    assert decode_card((zoo / "cartpole.json").read_bytes()) == card
    with torch.no_grad():
        original.actor.weight.neg_()
    assert not acts_alike(kept, original, card)


def test_an_unfinished_training_does_not_join(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    (folder / "card.json").unlink()
    with pytest.raises(RunFolderError, match="lacks one of them"):
        bundle(folder, zoo=tmp_path)
