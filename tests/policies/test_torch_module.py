"""Any torch module with a recurrent layer becomes a policy that computes what the module computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from moorelens.errors import PolicyError
from moorelens.policies import TorchPolicy, from_torch, identity
from moorelens.testing import check_policy
from tests.policies.sb3_models import HERE

F, U = 5, 6


def drawn(module: nn.Module, seed: int = 0) -> Any:
    """Weights of a size that makes every gate work."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def agent(memory: Any, *, read: int = U, **options: Any) -> tuple[TorchPolicy, nn.Module, nn.Module]:
    encoder, actor = drawn(nn.Linear(4, F)), drawn(nn.Linear(read, 2), 1)
    return from_torch("CartPole-v1", encoder=encoder, memory=memory, actor=actor, **options), encoder, actor


def run(policy: TorchPolicy, observations: Tensor) -> Tensor:
    """The logits (T, B, A) of sequences (T, B, 4)."""
    state, logits = policy.initial_state(observations.shape[1]), []
    for row in observations:
        state = policy.core(policy.features(row), state)
        logits.append(policy.heads(state)[0])
    return torch.stack(logits)


@given(
    st.sampled_from(["GRU", "LSTM", "RNN", "relu"]), st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 99)
)
@settings(max_examples=25)
def test_a_wrapped_layer_computes_what_torch_computes(
    kind: str, layers: int, bias: bool, batch_first: bool, seed: int
) -> None:
    extra: dict[str, Any] = {"nonlinearity": "relu"} if kind == "relu" else {}
    build = nn.RNN if kind == "relu" else getattr(nn, kind)
    memory = drawn(build(F, U, num_layers=layers, bias=bias, batch_first=batch_first, **extra), seed)
    # A rectified state may grow without limit.
    if kind == "relu":
        with torch.no_grad():
            for name, weight in memory.named_parameters():
                weight.mul_(0.2 if "hh" in name else 1.0)
    policy, encoder, actor = agent(memory)
    observations = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(seed))
    sequence = encoder(observations)
    output, _ = memory(sequence.transpose(0, 1) if batch_first else sequence)
    wanted = actor(output.transpose(0, 1) if batch_first else output)
    assert torch.allclose(run(policy, observations), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "RNN"])
def test_cells_on_top_of_each_other_are_layers(kind: str) -> None:
    layer = drawn(getattr(nn, kind)(F, U, num_layers=2))
    cells = [getattr(nn, f"{kind}Cell")(size, U) for size in (F, U)]
    for place, cell in enumerate(cells):
        names = {name: getattr(layer, f"{name}_l{place}") for name in cell.state_dict()}
        cell.load_state_dict(names)
    observations = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(run(agent(layer)[0], observations), run(agent(cells)[0], observations))
    assert torch.equal(run(agent(layer)[0], observations), run(agent(nn.ModuleList(cells))[0], observations))


@pytest.mark.parametrize("memory", [nn.GRU(F, U), nn.LSTM(F, U, num_layers=2), nn.RNN(F, U), nn.LSTMCell(F, U)])
@pytest.mark.parametrize("options", [{}, {"heads_read_features": True, "read": U + F}])
def test_it_keeps_the_contract_of_a_policy(memory: Any, options: dict[str, Any]) -> None:
    check_policy(agent(drawn(memory), **options)[0])


def test_the_critic_gives_the_value_and_a_state_may_begin_anywhere() -> None:
    critic, first = drawn(nn.Linear(U, 1)), torch.arange(2.0 * U)
    policy, _, _ = agent(drawn(nn.LSTM(F, U)), critic=critic, initial_state=first)
    start = policy.initial_state(3)
    assert start.tolist() == [first.tolist()] * 3
    value = policy.heads(start)[1]
    assert value is not None and torch.allclose(value, critic(first[:U]).expand(3))


def test_training_goes_on_without_touching_the_policy() -> None:
    memory = drawn(nn.GRU(F, U))
    policy, encoder, _ = agent(memory)
    before = identity(policy)
    assert encoder.training and all(parameter.requires_grad for parameter in memory.parameters())
    drawn(encoder, 8), drawn(memory, 9)
    assert identity(policy) == before
    assert identity(agent(memory)[0]) != before


def test_another_activation_is_another_policy() -> None:
    memory, actor = drawn(nn.GRU(F, U)), nn.Linear(U, 2)
    made = [
        from_torch("CartPole-v1", encoder=nn.Sequential(drawn(nn.Linear(4, F)), activation), memory=memory, actor=actor)
        for activation in (nn.ReLU(), nn.Tanh())
    ]
    assert identity(made[0]) != identity(made[1])


@pytest.mark.parametrize("raw", [False, True])
def test_images_arrive_as_the_agent_was_trained_on_them(raw: bool) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36 * 40, F))
    policy = from_torch(
        f"{HERE}:blobs", encoder=flat, memory=nn.GRU(F, U), actor=nn.Linear(U, 3), raw_bytes=raw, channels_last=True
    )
    image = torch.randint(256, (2, 36, 40, 3), generator=torch.Generator().manual_seed(0))
    wanted = flat((image if raw else image / 255).float().movedim(-1, 1))
    assert torch.allclose(policy.features(image.float() / 255), wanted, rtol=1e-5, atol=1e-4)


class Own(nn.Module):
    """A memory that no torch layer is."""


@pytest.mark.parametrize(
    ("memory", "options", "says"),
    [
        (Own(), {}, "this is Own"),
        ([nn.GRUCell(F, U), nn.LSTMCell(U, U)], {}, "GRUCell, LSTMCell"),
        (nn.LSTM(F, U, bidirectional=True), {}, "goes forward in time"),
        (nn.LSTM(F, U, proj_size=2), {}, "goes forward in time"),
        (nn.GRU(F + 1, U), {}, "makes .* features where its memory reads 6|memory raised"),
        (nn.GRU(F, U + 1), {}, "actor or critic raised"),
        (nn.GRU(F, U), {"initial_state": torch.zeros(3)}, "has 3 where the memory has 6"),
        (nn.GRU(F, U), {"critic": nn.Linear(U + 1, 1)}, "actor or critic raised"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_sentence(memory: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(PolicyError, match=says) as caught:
        agent(memory, **options)
    assert "\n" not in str(caught.value)
