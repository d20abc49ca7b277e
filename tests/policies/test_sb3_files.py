"""Files of Stable-Baselines3 that lie, that hide code, that are damaged, or that lie in folders of rl-zoo3."""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from moorelens.envs import EnvironmentRequest, describe, play
from moorelens.errors import PolicyError
from moorelens.policies import PolicyPlayer, identity, open_policy
from moorelens.policies.config import Architecture
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network
from moorelens.policies.sb3 import MemorylessPolicy, from_sb3
from moorelens.policies.sb3.inert import array_of, read_inert, state_of
from moorelens.policies.sb3.statistics import read_statistics
from moorelens.policies.training.sb3_policy import NativeRecurrentPolicy
from tests.policies.sb3_models import TRAININGS, Training

LSTM = TRAININGS["two layers, separate critic"]
NORMALISED = TRAININGS["normalised"]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return LSTM.train(tmp_path_factory.mktemp("stock"))[0]


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return NORMALISED.train(tmp_path_factory.mktemp("normalised"))[0]


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def rewritten(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Copy a zip with changed members."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def with_data(source: Path, target: Path, **fields: Any) -> Path:
    """Copy a zip with changed fields; a field that is a mapping changes these entries of it only."""

    def change(members: dict[str, bytes]) -> None:
        data = json.loads(members["data"])
        for name, value in fields.items():
            data[name] = {**data[name], **value} if isinstance(value, dict) and name in data else value
        members["data"] = json.dumps(data).encode()

    return rewritten(source, target, change)


class TestHostileFiles:
    """Nothing in a file is run; each payload here is live, as unpickling it shows."""

    def test_pickles_in_a_zip_are_never_opened(self, stock: Path, tmp_path: Path) -> None:
        mark = tmp_path / "ran"
        payload = base64.b64encode(cloudpickle.dumps(Payload(mark))).decode()
        data = json.loads(zipfile.ZipFile(stock).read("data"))
        pickled = [name for name, value in data.items() if isinstance(value, dict) and ":serialized:" in value]
        assert {"policy_class", "policy_kwargs", "observation_space", "action_space"} <= set(pickled)
        changes = {name: {":serialized:": payload} for name in pickled}
        extra = {"one_more": {":type:": "<class 'dict'>", ":serialized:": payload}}
        hostile = with_data(stock, tmp_path / "hostile.zip", **changes, **extra)
        loaded = open_policy(f"sb3:{hostile}", env=LSTM.env)
        assert not mark.exists()
        assert identity(loaded.policy) == identity(open_policy(f"sb3:{stock}", env=LSTM.env).policy)
        with pytest.raises(Exception):  # noqa: B017 -- it fails somewhere after the payload has run
            RecurrentPPO.load(hostile, device="cpu")
        assert mark.exists()

    def test_weights_that_are_no_tensors_are_refused_unread(self, stock: Path, tmp_path: Path) -> None:
        mark = tmp_path / "ran"

        def change(members: dict[str, bytes]) -> None:
            buffer = io.BytesIO()
            torch.save({"weight": Payload(mark)}, buffer)
            members["policy.pth"] = buffer.getvalue()

        hostile = rewritten(stock, tmp_path / "hostile.zip", change)
        for trust in (False, True):
            with pytest.raises(PolicyError, match=r"cannot be read as one \(its policy.pth is a pickle of more than"):
                open_policy(f"sb3:{hostile}", env=LSTM.env, trust=trust)
        assert not mark.exists()

    def test_weights_that_unpack_without_end_are_refused_unpacked(
        self, stock: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("moorelens.policies.sb3.archive._LARGEST_WEIGHTS", 1000)
        with pytest.raises(PolicyError, match="unpacks to more than 2 GiB"):
            open_policy(f"sb3:{stock}", env=LSTM.env)

    def test_a_published_checkpoint_that_is_a_pickle_is_refused_unread(self, tmp_path: Path) -> None:
        mark = tmp_path / "ran"
        torch.save({"weight": Payload(mark)}, tmp_path / "new.p")
        torch.save({"weight": Payload(mark)}, tmp_path / "old.p", _use_new_zipfile_serialization=False)
        (tmp_path / "bare.p").write_bytes(pickle.dumps(Payload(mark)))
        for name in ("new", "old", "bare"):
            with pytest.raises(PolicyError):
                open_policy(f"mmn:{tmp_path / name}.p", env="CartPole-v1")
        assert not mark.exists()
        pickle.loads((tmp_path / "bare.p").read_bytes())
        assert mark.exists()

    @pytest.mark.parametrize("protocol", range(6))
    def test_statistics_that_hide_code_are_refused_unread(
        self, normalised: Path, tmp_path: Path, protocol: int
    ) -> None:
        mark = tmp_path / "ran"
        shutil.copy(normalised, tmp_path / "model.zip")
        wrapper = pickle.loads((normalised.parent / "vecnormalize.pkl").read_bytes())
        wrapper.class_attributes, wrapper.returns = {}, None
        wrapper.metadata = {"more": Payload(mark)}
        (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps(wrapper, protocol=protocol))
        with pytest.raises(PolicyError, match=r"holds [\w.]+\).*--trust"):
            open_policy(f"sb3:{tmp_path / 'model.zip'}", env="CartPole-v1")
        assert not mark.exists()
        assert open_policy(f"sb3:{tmp_path / 'model.zip'}", env="CartPole-v1", trust=True)
        assert mark.exists()

    @pytest.mark.parametrize("name", ["numpy load", "gymnasium.utils.seeding np_random", "numpy.testing runstring"])
    def test_a_known_name_is_not_called_either(self, name: str, tmp_path: Path) -> None:
        module, function = name.split()
        found = read_inert(f"c{module}\n{function}\n(S'x'\nS'y'\ntR.".encode())
        assert (found.origin, found.args, state_of(found)) == ((module, function), ("x", "y"), {})
        with pytest.raises(ValueError):
            array_of(found)

    @pytest.mark.parametrize(
        "line", ["cos\nsystem\n", "cbuiltins\neval\n", "cposix\nsystem\n", "ccopyreg\n_reconstructor\n"]
    )
    def test_another_name_is_refused(self, line: str) -> None:
        with pytest.raises(pickle.UnpicklingError, match="it holds"):
            read_inert(f"{line}(S'true'\ntR.".encode())


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.float64(2.5), np.asfortranarray(np.eye(3, dtype="f4")), np.array(7)]
)
def test_arrays_are_read_as_numpy_wrote_them(array: Any, protocol: int) -> None:
    if protocol < 3:
        pytest.skip("encodes bytes by calling a codec, which an unpickler that runs nothing does not do")
    found = array_of(read_inert(pickle.dumps(array, protocol=protocol)))
    assert found.shape == np.shape(array) and found.tolist() == np.asarray(array).tolist()


def test_statistics_are_those_of_the_wrapper(normalised: Path) -> None:
    found = read_statistics(normalised.parent / "vecnormalize.pkl")
    wrapper = pickle.loads((normalised.parent / "vecnormalize.pkl").read_bytes())
    assert found is not None
    assert found.mean.tolist() == wrapper.obs_rms.mean.tolist() and found.var.tolist() == wrapper.obs_rms.var.tolist()
    assert (found.epsilon, found.clip) == (1e-8, 2.0)


def test_statistics_of_rewards_alone_change_nothing(tmp_path: Path) -> None:
    VecNormalize(DummyVecEnv([LSTM.make]), norm_obs=False).save(tmp_path / "vecnormalize.pkl")
    assert read_statistics(tmp_path / "vecnormalize.pkl") is None


@pytest.mark.parametrize(
    "name", ["model_vecnormalize.pkl", "vecnormalize.pkl", "vec_normalize.pkl", "Env-v0/vecnormalize.pkl"]
)
def test_statistics_beside_a_policy_are_found(normalised: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(normalised, tmp_path / "model.zip")
    before = open_policy(f"sb3:{tmp_path / 'model'}", env="CartPole-v1")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(normalised.parent / "vecnormalize.pkl", tmp_path / name)
    after = open_policy(f"sb3:{tmp_path / 'model'}", env="CartPole-v1")
    assert identity(before.policy) != identity(after.policy)
    assert identity(after.policy) == identity(open_policy(f"sb3:{normalised}", env="CartPole-v1").policy)


def test_statistics_of_another_training_are_refused(normalised: Path, tmp_path: Path) -> None:
    path, _ = TRAININGS["numbered observations"].train(tmp_path)
    shutil.copy(normalised.parent / "vecnormalize.pkl", tmp_path)
    with pytest.raises(PolicyError, match="of another training"):
        open_policy(f"sb3:{path}", env="FrozenLake-v1")


class TestZooFolders:
    """A folder as rl-zoo3 leaves it: the zip, and a folder named like it with settings and statistics."""

    @staticmethod
    def make(source: Path, folder: Path, **settings: str) -> Path:
        (folder / "CartPole-v1").mkdir(parents=True)
        shutil.copy(source, folder / "CartPole-v1.zip")
        shutil.copy(source, folder / "best_model.zip")
        lines = ["!!python/object/apply:collections.OrderedDict", "- - - algo", "    - ppo_lstm"]
        for name, value in {"env": "CartPole-v1", "conf_file": "null", **settings}.items():
            lines += [f"  - - {name}", f"    - {value}"]
        (folder / "CartPole-v1" / "args.yml").write_text("\n".join(lines) + "\n")
        return folder

    def test_says_its_environment_and_brings_its_statistics(self, normalised: Path, tmp_path: Path) -> None:
        folder = self.make(normalised, tmp_path / "CartPole-v1_1")
        shutil.copy(normalised.parent / "vecnormalize.pkl", folder / "CartPole-v1")
        loaded = open_policy(f"sb3:{folder}")
        assert (loaded.name, loaded.request, loaded.card["algorithm"]) == (
            "CartPole-v1",
            EnvironmentRequest(id="CartPole-v1"),
            "RecurrentPPO",
        )
        assert identity(loaded.policy) == identity(open_policy(f"sb3:{normalised}", env="CartPole-v1").policy)
        assert open_policy(f"sb3:{folder / 'best_model.zip'}").name == "best_model"

    def test_whose_settings_would_run_code_in_another_reader(self, stock: Path, tmp_path: Path) -> None:
        mark = tmp_path / "ran"
        evil = f'!!python/object/apply:os.system ["touch {mark}"]'
        folder = self.make(stock, tmp_path / "run", callback=evil)
        assert open_policy(f"sb3:{folder}").request.id == "CartPole-v1"
        assert not mark.exists()

    def test_with_a_wrapper_is_refused_without_an_environment(self, stock: Path, tmp_path: Path) -> None:
        folder = self.make(stock, tmp_path / "run", env_wrapper="rl_zoo3.wrappers.MaskVelocityWrapper")
        with pytest.raises(PolicyError, match=r"env_wrapper .*MaskVelocityWrapper"):
            open_policy(f"sb3:{folder}")
        assert open_policy(f"sb3:{folder}", env="CartPole-v1")

    def test_that_lost_its_statistics_is_refused(self, stock: Path, tmp_path: Path) -> None:
        with pytest.raises(PolicyError, match=r"no vecnormalize\.pkl"):
            open_policy(f"sb3:{self.make(stock, tmp_path / 'run', normalize='true')}")
        rewards = "'{''norm_obs'': False, ''norm_reward'': True}'"
        assert open_policy(f"sb3:{self.make(stock, tmp_path / 'other', normalize=rewards)}")

    def test_without_a_policy_is_refused(self, stock: Path, tmp_path: Path) -> None:
        with pytest.raises(PolicyError, match="holds none"):
            open_policy(f"sb3:{tmp_path}", env="CartPole-v1")
        shutil.copy(stock, tmp_path / "a.zip")
        assert open_policy(f"sb3:{tmp_path}", env="CartPole-v1").name == "a"
        shutil.copy(stock, tmp_path / "b.zip")
        with pytest.raises(PolicyError, match="holds 2 of them"):
            open_policy(f"sb3:{tmp_path}", env="CartPole-v1")


def truncated(members: dict[str, bytes]) -> None:
    members["policy.pth"] = members["policy.pth"][:-300]


def lost(members: dict[str, bytes]) -> None:
    del members["policy.pth"]


def nested(members: dict[str, bytes]) -> None:
    members["data"] = b"[" * 200_000


def nan(members: dict[str, bytes]) -> None:
    tensors = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
    tensors["action_net.bias"][0] = float("nan")
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    members["policy.pth"] = buffer.getvalue()


def another_size(members: dict[str, bytes]) -> None:
    tensors = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
    tensors["action_net.weight"] = tensors["action_net.weight"][:1]
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    members["policy.pth"] = buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (truncated, "cannot be read as one"),
        (lost, "cannot be read as one"),
        (nested, "cannot be read as one"),
        (nan, "NaN"),
        (another_size, "the file is damaged"),
    ],
)
def test_a_damaged_zip_is_refused(
    change: Callable[[dict[str, bytes]], None], says: str, stock: Path, tmp_path: Path
) -> None:
    path = rewritten(stock, tmp_path / "damaged.zip", change)
    with pytest.raises(PolicyError, match=says) as caught:
        open_policy(f"sb3:{path}", env="CartPole-v1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"policy_class": {"__module__": "__main__"}}, r"policy_class of .* \(__main__\): pass --trust"),
        ({"policy_class": None}, "policy_class of .* is missing"),
        ({"policy_kwargs": {"activation_fn": "<function f at 0x1>"}}, "policy_kwargs.activation_fn"),
        ({"policy_kwargs": {"features_extractor_class": "<class 'mine.Net'>"}}, "features_extractor_class"),
        ({"observation_space": {"_shape": None}}, "observation_space"),
        ({"action_space": {":type:": "<class 'gymnasium.spaces.box.Box'>"}}, "is a Box: only Discrete"),
        ({"action_space": {"n": "many"}}, r"action_space\.n"),
    ],
)
def test_what_only_a_pickle_says_is_refused_by_name(
    fields: dict[str, Any], says: str, stock: Path, tmp_path: Path
) -> None:
    path = with_data(stock, tmp_path / "odd.zip", **fields)
    with pytest.raises(PolicyError, match=says) as caught:
        open_policy(f"sb3:{path}", env="CartPole-v1")
    assert "\n" not in str(caught.value)


def test_a_policy_needs_an_environment_that_fits(stock: Path) -> None:
    with pytest.raises(PolicyError, match="add --env"):
        open_policy(f"sb3:{stock}")
    with pytest.raises(PolicyError, match=r"\(4,\) where Acrobot-v1 shows \(6,\)"):
        open_policy(f"sb3:{stock}", env="Acrobot-v1")


class Doubled(BaseFeaturesExtractor):
    """A feature extractor that no stock policy has."""

    def __init__(self, space: Any) -> None:
        super().__init__(space, 4)
        self.layer = nn.Linear(4, 4)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(2.0 * observations)
        return found


class Contrary(ActorCriticPolicy):
    """A policy class that does more than its parts show."""

    def get_distribution(self, obs: Any) -> Any:
        return super().get_distribution(-obs)


def test_a_feature_extractor_of_ones_own_needs_trust(tmp_path: Path) -> None:
    training = Training(**{**vars(LSTM), "kwargs": {"lstm_hidden_size": 8, "features_extractor_class": Doubled}})
    path, model = training.train(tmp_path)
    with pytest.raises(PolicyError, match=r"features_extractor_class .*Doubled.*--trust"):
        open_policy(f"sb3:{path}", env="CartPole-v1")
    loaded = open_policy(f"sb3:{path}", env="CartPole-v1", trust=True)
    played = play(loaded.request, range(4), PolicyPlayer(loaded.policy))
    state: Any = None
    for step, index in enumerate(played.frame_index):
        start = np.array([step in played.offsets])
        action, state = model.predict(played.frames[index][None], state=state, episode_start=start, deterministic=True)
        assert action[0] == played.actions[step]


def test_a_policy_class_that_does_more_than_its_parts_is_refused() -> None:
    model = PPO(Contrary, gymnasium.make("CartPole-v1"), n_steps=8, batch_size=8, seed=0, device="cpu")
    with pytest.raises(PolicyError, match="do not choose as the whole does"):
        from_sb3(model, "CartPole-v1")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_our_own_cells_trained_by_sb3_come_back_as_native_policies(cell: Any, tmp_path: Path) -> None:
    env = describe(EnvironmentRequest(id="CartPole-v1"))
    network = build_network(
        env_id=env.id,
        observation_shape=env.observation_shape,
        observation_dtype=env.observation_dtype,
        action_names=env.action_names,
        architecture=Architecture(cell=cell, units=6),
    )
    model = RecurrentPPO(
        NativeRecurrentPolicy,
        DummyVecEnv([LSTM.make]),
        policy_kwargs={"spec": network.spec, "architecture": network.architecture, "seed": 0},
        n_steps=32,
        batch_size=32,
        device="cpu",
    )
    model.learn(32)
    model.save(tmp_path / "ours.zip")
    policy = open_policy(f"sb3:{tmp_path / 'ours.zip'}", env="CartPole-v1").policy
    assert isinstance(policy, GRUPolicy if cell == "gru" else LSTMPolicy)
    theirs = model.policy.native()
    for name, tensor in policy.tensors().items():
        assert torch.equal(tensor, theirs.tensors()[name]), name


def test_the_chance_of_an_action_is_that_of_the_training(tmp_path: Path) -> None:
    """A memoryless state holds the greedy action only; what was sampled from is read from the features."""
    path, model = TRAININGS["A2C"].train(tmp_path / "a2c")
    policy = open_policy(f"sb3:{path}", env="CartPole-v1").policy
    assert isinstance(policy, MemorylessPolicy)
    seen = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    theirs = model.policy.get_distribution(seen).distribution.probs
    assert torch.allclose(policy.logits_of(policy.features(seen)).softmax(dim=-1), theirs, atol=1e-6)
    request = EnvironmentRequest(id="CartPole-v1")
    sampled = play(request, range(40), PolicyPlayer(policy, greedy=False, seed=1, record=("features",)))
    wanted = policy.logits_of(torch.tensor(sampled.extras["features"])).softmax(dim=-1)[:, 1]
    # The sum of independent coin tosses lies within four deviations of its mean.
    deviation = float((wanted * (1 - wanted)).sum().sqrt())
    assert abs(int(sampled.actions.sum()) - float(wanted.sum())) < 4 * deviation
    path, model = TRAININGS["DQN"].train(tmp_path / "dqn")
    policy = open_policy(f"sb3:{path}", env="CartPole-v1").policy
    chances = policy.logits_of(policy.features(seen)).softmax(dim=-1)
    rate = model.exploration_rate
    assert chances.max(dim=-1).values.tolist() == pytest.approx([1 - rate / 2] * 7)
    for rate in (float("nan"), -0.1, "often", True):
        odd = with_data(path, tmp_path / "odd.zip", exploration_rate=rate)
        with pytest.raises(PolicyError, match="explores with a chance between 0 and 1"):
            open_policy(f"sb3:{odd}", env="CartPole-v1")
    assert re.fullmatch("DQN|A2C", open_policy(f"sb3:{path}", env="CartPole-v1").card["algorithm"])
