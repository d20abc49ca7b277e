"""The bundled policies: each plays as its card says, and none is a copy of a published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moorelens.envs.playing import play
from moorelens.pipelines.zoo import list_zoo, show, zoo_table
from moorelens.policies.base import identity
from moorelens.policies.load import open_policy
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.training.config import HELD_OUT_SEEDS
from moorelens.policies.zoo.files import zoo_file, zoo_names

REFERENCE = Path(__file__).parents[2] / "../shared/reference"
LIMIT = 600 * 1024


def test_the_zoo_has_the_demos_policy() -> None:
    assert "cartpole" in zoo_names()
    rows = {row["name"]: row for row in list_zoo()}
    assert rows["cartpole"]["score"]["mean"] == 500.0
    assert set(rows["cartpole"]) == {"name", "env", "algorithm", "cell", "steps", "score"}
    assert set(rows["cartpole"]["score"]) == {"mean", "low", "high", "n"}


def test_the_readme_shows_the_table_of_the_cards() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- zoo:begin", 1)[1].split("-->\n", 1)[1].split("<!-- zoo:end -->", 1)[0]
    assert shown == zoo_table()
    for name in zoo_names():
        assert f"| {name} | {show(name).env} |" in shown


@pytest.mark.parametrize("name", zoo_names())
def test_an_entry_plays_as_its_card_says(name: str) -> None:
    card, loaded = show(name), open_policy(f"zoo:{name}")
    assert (card.name, card.identity) == (name, identity(loaded.policy))
    assert card.held_out.seeds == list(HELD_OUT_SEEDS)
    assert card.held_out.score.mean == pytest.approx(np.mean(card.held_out.returns))
    few = slice(0, 1 if card.env.startswith("ALE/") else 10)
    replayed = play(card.held_out.request, card.held_out.seeds[few], PolicyPlayer(loaded.policy)).returns
    assert replayed.tolist() == card.held_out.returns[few]
    assert zoo_file(name).stat().st_size < LIMIT


@pytest.mark.skipif(not REFERENCE.exists(), reason="the published checkpoints are not on this machine")
@pytest.mark.parametrize("name", zoo_names())
def test_no_tensor_is_a_published_one(name: str) -> None:
    published = []
    for path in sorted(REFERENCE.glob("*.p")):
        published += list(torch.load(path, map_location="cpu", weights_only=True).values())
    for tensor in open_policy(f"zoo:{name}").policy.tensors().values():
        for other in published:
            constant = tensor.numel() < 4 or bool((tensor == tensor.flatten()[0]).all())
            assert constant or tensor.shape != other.shape or not torch.equal(tensor, other)
