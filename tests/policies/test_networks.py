"""Native networks, their files, and published checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.playing import play
from moorelens.errors import PolicyError
from moorelens.policies.base import RecurrentPolicy, identity, to_input
from moorelens.policies.batching import evaluate_in_chunks
from moorelens.policies.config import Architecture
from moorelens.policies.load import open_policy
from moorelens.policies.native import read_native, write_native
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise
from moorelens.policies.players import PolicyPlayer

REFERENCE = Path(__file__).parents[2] / "../shared/reference"
CARTPOLE = EnvironmentRequest(id="CartPole-v1")
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="the published checkpoints are not on this machine")


def fresh(*, cell: str = "gru", seed: int = 0, shape: tuple[int, ...] = (4,)) -> GRUPolicy | LSTMPolicy:
    image = len(shape) > 1
    policy = build_network(
        env_id="CartPole-v1",
        observation_shape=shape,
        observation_dtype="uint8" if image else "float32",
        action_names=("push left", "push right"),
        architecture=Architecture(
            body="conv" if image else "mlp",
            sizes=(32, 32, 16, 8) if image else (16, 8),
            cell="lstm" if cell == "lstm" else "gru",
        ),
    )
    initialise(policy, generator=torch.Generator().manual_seed(seed), actor_gain=1.0)
    return policy


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_written_out_cell_is_torchs_cell(cell: str) -> None:
    policy = fresh(cell=cell)
    features, h, c = torch.randn(5, 8), torch.randn(5, 32), torch.randn(5, 32)
    if cell == "gru":
        theirs: nn.Module = nn.GRUCell(8, 32)
        theirs.load_state_dict(policy.cell.state_dict())
        expected, state = theirs(features, h), h
    else:
        theirs = nn.LSTMCell(8, 32)
        theirs.load_state_dict(policy.cell.state_dict())
        expected, state = torch.cat(theirs(features, (h, c)), dim=1), torch.cat([h, c], dim=1)
    assert torch.allclose(policy.core(features, state), expected, atol=1e-6, rtol=0)


def test_the_conv_network_has_the_published_size() -> None:
    policy = build_network(
        env_id="ALE/Pong-v5",
        observation_shape=(1, 80, 80),
        observation_dtype="uint8",
        action_names=("a", "b", "c"),
        architecture=Architecture(body="conv", sizes=(32, 32, 16, 8), hidden="relu"),
    )
    assert policy.spec.feature_size == 200
    assert sum(p.numel() for p in policy.parameters()) == 37_948  # spec-fsm 1.1, A = 3


def test_torch_func_and_autograd_agree() -> None:
    policy = fresh()
    features, state = torch.randn(8), torch.randn(32)

    def value(f: torch.Tensor) -> torch.Tensor:
        return policy.heads(policy.core(f[None], state[None]))[0][0, 0]

    leaf = features.clone().requires_grad_()
    value(leaf).backward()
    assert leaf.grad is not None
    assert torch.allclose(torch.func.grad(value)(features), leaf.grad, atol=1e-6)


def test_weights_are_drawn_from_the_generator_and_from_nothing_else() -> None:
    before = torch.get_rng_state()
    assert identity(fresh(seed=1)) == identity(fresh(seed=1)) != identity(fresh(seed=2))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_native_file_gives_the_policy_back(tmp_path: Path, cell: str) -> None:
    policy = fresh(cell=cell)
    data = write_native(policy, CARTPOLE, card={"steps": 7})
    assert data == write_native(policy, CARTPOLE, card={"steps": 7})
    path = tmp_path / "mine" / "policy.safetensors"  # called after its folder, as every training writes such a file
    path.parent.mkdir()
    path.write_bytes(data)
    again, header = read_native(path)
    assert identity(again) == identity(policy)
    loaded = open_policy(str(path))
    assert (loaded.request, loaded.name, loaded.card, header.card) == (CARTPOLE, "mine", {"steps": 7}, {"steps": 7})
    assert isinstance(loaded.policy, RecurrentPolicy)


def test_bytes_become_fractions_and_floats_stay() -> None:
    assert to_input(np.array([0, 255], np.uint8)).tolist() == [0.0, 1.0]
    assert to_input(np.array([-2.5], np.float32)).tolist() == [-2.5]


@pytest.mark.parametrize("shape", [(4,), (1, 80, 80)])
def test_a_row_does_not_see_its_neighbours(shape: tuple[int, ...]) -> None:
    policy = fresh(shape=shape)
    rows = torch.rand(21, *shape, generator=torch.Generator().manual_seed(0))
    together = evaluate_in_chunks(policy.features, rows, chunk=8)[0]
    for subset in ([20], [3, 19], list(range(20, -1, -1))):
        assert torch.equal(evaluate_in_chunks(policy.features, rows[subset], chunk=8)[0], together[subset])


@pytest.mark.parametrize("greedy", [True, False])
def test_an_episode_is_the_same_in_every_batch(greedy: bool) -> None:
    record = ("hidden", "logits", "values", "features")
    player = PolicyPlayer(fresh(), greedy=greedy, seed=5, record=record)
    batch = play(CARTPOLE, [0, 1, 2], player)
    alone = play(CARTPOLE, [0], player)
    first = slice(batch.offsets[0], batch.offsets[1])
    assert np.array_equal(alone.actions, batch.actions[first])
    for name in record:
        assert np.array_equal(alone.extras[name], batch.extras[name][first])


def test_recorded_states_are_those_of_the_definition() -> None:
    policy = fresh()
    rollouts = play(CARTPOLE, [4], PolicyPlayer(policy, record=("hidden", "logits")))
    state = policy.initial_state(1)
    for t, frame in enumerate(rollouts.frame_index):
        state = policy.core(policy.features(to_input(rollouts.frames[frame : frame + 1])), state)
        logits, _ = policy.heads(state)
        assert np.allclose(state.detach().numpy()[0], rollouts.extras["hidden"][t], atol=1e-5)
        assert int(logits.argmax()) == rollouts.actions[t]


def _files(folder: Path) -> dict[str, Path]:
    good = write_native(fresh(), CARTPOLE)
    broken = fresh()
    with torch.no_grad():
        broken.actor.bias[0] = float("nan")
    contents = {
        "empty": b"",
        "text": b"not a policy",
        "truncated": good[:-100],
        "nan": write_native(broken, CARTPOLE),
    }
    paths = {name: folder / f"{name}.safetensors" for name in contents}
    for name, data in contents.items():
        paths[name].write_bytes(data)
    paths["foreign"] = folder / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, paths["foreign"])
    paths["absent"] = folder / "absent.safetensors"
    return paths


@pytest.mark.parametrize("name", ["empty", "text", "truncated", "nan", "foreign", "absent"])
def test_a_native_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    path = _files(tmp_path)[name]
    with pytest.raises(PolicyError) as caught:
        open_policy(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nonsense", "is none of them"),
        ("zoo:", "is none of them"),
        ("zoo:no-such", "A zoo policy is one of"),
        ("sb3:model.zip", "is a zip with data and policy.pth"),
        ("mmn:absent.p", "does not say which environment"),
        ("python:no.such:factory", "ModuleNotFoundError"),
        ("python:pathlib:Path", "must return a RecurrentPolicy"),
    ],
)
def test_a_reference_that_names_no_policy_is_refused(reference: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        open_policy(reference)


class Memoryless:
    """What a user might write: a policy without torch modules."""

    def __init__(self) -> None:
        self._inner = fresh()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_a_policy_of_another_environment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(write_native(fresh(), CARTPOLE))
    with pytest.raises(PolicyError, match="must fit its environment"):
        open_policy(str(path), env="Acrobot-v1")


def _published(folder: Path, *, layout: str, channels: int = 8) -> Path:
    """A checkpoint of our own weights in one of the published layouts (spec-fsm 1.1)."""
    policy = build_network(
        env_id="x",
        observation_shape=(1, 80, 80),
        observation_dtype="uint8",
        action_names=("a", "b", "c"),
        architecture=Architecture(body="conv", sizes=(32, 32, 16, channels), hidden="relu"),
    )
    initialise(policy, generator=torch.Generator().manual_seed(3))
    tensors = {}
    for name, tensor in policy.state_dict().items():
        part, *rest = name.split(".")
        if part == "body":
            index, kind = rest
            if layout in ("conv", "both"):
                tensors[f"conv{int(index) // 2 + 1}.{kind}"] = tensor
            if layout in ("input_ff", "both"):
                tensors[f"input_ff.{index}.{kind}"] = tensor
        else:
            theirs = {"cell": "gru", "actor": "actor_linear", "critic": "critic_linear"}[part]
            tensors[f"{theirs}.{'.'.join(rest)}"] = tensor
    path = folder / f"{layout}{channels}.p"
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize(("layout", "channels"), [("both", 8), ("conv", 8), ("input_ff", 8), ("both", 4)])
def test_every_published_atari_layout_is_read(tmp_path: Path, layout: str, channels: int) -> None:
    from moorelens.envs.config import EnvironmentSpec
    from moorelens.policies.mmn import read_mmn

    env = EnvironmentSpec(
        id="ALE/Pong-v5",
        kind="atari",
        observation_shape=(1, 80, 80),
        observation_dtype="uint8",
        action_names=("NOOP", "RIGHTFIRE", "LEFTFIRE"),
        feature_names=None,
        max_steps=None,
        reward_threshold=None,
    )
    policy, quantisers = read_mmn(_published(tmp_path, layout=layout, channels=channels), env)
    assert (policy.spec.feature_size, quantisers) == (25 * channels, {})


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not a zip"])
def test_a_published_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.p"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match="cannot be read as one"):
        open_policy(f"mmn:{path}", env="CartPole-v1")


def test_a_foreign_pickle_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.p"
    torch.save(Memoryless, path)
    with pytest.raises(PolicyError, match="never loaded"):
        open_policy(f"mmn:{path}", env="CartPole-v1")
    torch.save({"gru.weight_ih": torch.zeros(3)}, path)
    with pytest.raises(PolicyError, match="lacks"):
        open_policy(f"mmn:{path}", env="CartPole-v1")
    torch.save([torch.zeros(3)], path)
    with pytest.raises(PolicyError, match="holds a list"):
        open_policy(f"mmn:{path}", env="CartPole-v1")


@needs_reference
@pytest.mark.parametrize(
    ("file", "env", "low", "high"),
    [
        ("mmn_cartpole_gru32.p", "CartPole-v1", 500, 500),
        ("dig_cartpole_mmn_4_4.p", "CartPole-v1", 500, 500),
        ("mmn_acrobot_gru32.p", "Acrobot-v1", -75, -68),
    ],
)
def test_published_policies_play_as_published(file: str, env: str, low: float, high: float) -> None:
    loaded = open_policy(f"mmn:{REFERENCE / file}", env=env)
    returns = play(loaded.request, range(20), PolicyPlayer(loaded.policy)).returns
    assert low <= returns.mean() <= high
    assert set(loaded.quantisers) == ({"observation", "state"} if file.startswith("dig") else set())


@needs_reference
def test_a_published_policy_does_not_fit_another_task() -> None:
    for env, says in (("Acrobot-v1", "reads 4 numbers"), ("MountainCar-v0", "reads 4 numbers")):
        with pytest.raises(PolicyError, match=says):
            open_policy(f"mmn:{REFERENCE / 'mmn_cartpole_gru32.p'}", env=env)
    assert describe(CARTPOLE).observation_shape == (4,)
