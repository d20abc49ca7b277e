"""Putting a finished training into the zoo: its weights, halved where nothing is lost by it, and its card.

python -m moorelens.pipelines.bundle FOLDER [FOLDER ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import torch

from moorelens.envs.playing import play
from moorelens.errors import RunFolderError
from moorelens.policies.base import identity
from moorelens.policies.native import read_native, write_native
from moorelens.policies.networks import GRUPolicy, LSTMPolicy
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.training.card import Card, decode_card, encode_card
from moorelens.policies.zoo import files
from moorelens.runs.atomic import write_atomic


def bundle(folder: Path, *, zoo: Path | None = None) -> Card:
    """Write weights and card of the finished training in `folder` into the zoo and return the card.

    `zoo`: another folder than the package's own. Raises `RunFolderError` where the training is not finished.
    """
    weights, card_path = folder / "policy.safetensors", folder / "card.json"
    if not weights.exists() or not card_path.exists():
        raise RunFolderError(
            f"A policy joins the zoo with its weights and its card, and {folder} lacks one of them: finish the "
            "training with the command that began it."
        )
    policy, header = read_native(weights)
    card = decode_card(card_path.read_bytes())
    target = zoo or Path(files.__file__).parent
    half = rounded(policy)
    same = same_choices(policy, half) or acts_alike(policy, half, card)
    kept = half if same else policy
    data = write_native(kept, header.request, dtype=torch.float16 if same else torch.float32)
    write_atomic(target / f"{card.name}.safetensors", data)
    card = msgspec.structs.replace(card, identity=identity(kept))
    write_atomic(target / f"{card.name}.json", encode_card(card))
    return card


def rounded(policy: GRUPolicy | LSTMPolicy) -> GRUPolicy | LSTMPolicy:
    """Return a copy of the policy whose weights are those that float16 can hold."""
    copy = type(policy)(policy.spec, policy.architecture)
    copy.load_state_dict({name: tensor.half().float() for name, tensor in policy.tensors().items()})
    return copy.eval()


def same_choices(policy: GRUPolicy | LSTMPolicy, other: GRUPolicy | LSTMPolicy) -> bool:
    """Return whether every weight that a choice depends on is the same: all but those of the critic."""
    ours, theirs = policy.tensors(), other.tensors()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items() if not name.startswith("critic"))


def acts_alike(policy: GRUPolicy | LSTMPolicy, other: GRUPolicy | LSTMPolicy, card: Card) -> bool:
    """Return whether both choose the same actions in every held-out game of the card."""
    for seed in card.held_out.seeds:
        first, second = (play(card.held_out.request, [seed], PolicyPlayer(p)).actions for p in (policy, other))
        if not np.array_equal(first, second):
            return False
    return True


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        print(bundle(Path(name)).name)
