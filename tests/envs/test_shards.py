"""Games dealt to worker processes: copies of a player play them, and the recording is that of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.playing import play
from moorelens.envs.pool import Workers
from moorelens.envs.rollouts import concatenate, in_order
from moorelens.envs.shards import Parcel, PortablePlayer
from moorelens.errors import PolicyFailure
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.extract import machine_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from moorelens.fsm.quantisers.qbn import QBNSpec, TernaryQBN
from moorelens.policies.config import Architecture
from moorelens.policies.networks import build_network, initialise
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.reading import FeatureReader

PONG = EnvironmentRequest(id="ALE/Pong-v5", noops=30)
STICKY = msgspec.structs.replace(PONG, sticky=0.25)
SEEDS, STEPS = [5, 6, 7, 8, 9], 30


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def policy() -> Any:
    spec = describe(PONG)
    network = build_network(
        env_id=spec.id,
        observation_shape=spec.observation_shape,
        observation_dtype=spec.observation_dtype,
        action_names=spec.action_names,
        architecture=Architecture(body="conv", sizes=(32, 32, 16, 8), hidden="relu"),
    )
    initialise(network, generator=torch.Generator().manual_seed(3))
    return network


@pytest.fixture(scope="module")
def network(policy: Any) -> MooreMachineNetwork:
    def quantiser(size: int, output: Any) -> TernaryQBN:
        spec = QBNSpec(size=size, hidden=(32,), digits=8, output=output)
        return TernaryQBN(spec, generator=torch.Generator().manual_seed(size))

    sizes = policy.spec.feature_size, policy.spec.state_size
    return MooreMachineNetwork(policy, observation=quantiser(sizes[0], "relu6"), state=quantiser(sizes[1], "tanh"))


@pytest.fixture(scope="module")
def pool() -> Any:
    with Workers(2) as workers:
        yield workers


def test_copies_of_a_policy_record_what_it_would_have_recorded(policy: Any, pool: Workers) -> None:
    def player() -> PolicyPlayer:
        return PolicyPlayer(policy, record=("hidden", "logits", "features"))

    requests = [PONG, *[STICKY] * (len(SEEDS) - 1)]
    here = play(requests, SEEDS, player(), max_steps=STEPS)
    there = play(requests, SEEDS, player(), max_steps=STEPS, workers=pool)
    assert here.to_bytes() == there.to_bytes()
    assert {"hidden", "logits", "features"} == there.extras.keys()


def test_copies_of_networks_and_machines_do_too(network: MooreMachineNetwork, pool: Workers) -> None:
    player = NetworkPlayer(network)
    here = play(PONG, SEEDS, player, max_steps=STEPS)
    assert here.to_bytes() == play(PONG, SEEDS, NetworkPlayer(network), max_steps=STEPS, workers=pool).to_bytes()
    stepper = compile_machine(machine_of(here, player=player)[0])
    alone = play(STICKY, SEEDS, MachinePlayer(stepper, network), max_steps=STEPS)
    dealt = play(STICKY, SEEDS, MachinePlayer(stepper, network), max_steps=STEPS, workers=pool)
    assert alone.to_bytes() == dealt.to_bytes()


def test_the_original_learns_what_its_copies_read(network: MooreMachineNetwork, pool: Workers) -> None:
    reader = FeatureReader(network.policy)
    played = play(PONG, SEEDS, NetworkPlayer(network, features=reader), max_steps=STEPS, workers=pool)
    wanted = FeatureReader(network.policy).read(played.frames)

    def refuse(*_: Any) -> Any:
        raise AssertionError("an image was evaluated although a copy had read it")

    reader._evaluate = refuse  # type: ignore[assignment]
    assert torch.equal(reader.features(played.frames), wanted)


def test_progress_counts_the_games_that_end(policy: Any, pool: Workers) -> None:
    ended: list[int] = []

    class Watching:
        def task(self, name: str, total: int | None = None) -> Any:
            assert total == len(SEEDS)
            return self

        def advance(self, n: int = 1) -> None:
            ended.append(n)

        def note(self, text: str) -> None: ...
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None: ...

    play(PONG, SEEDS, PolicyPlayer(policy), max_steps=5, workers=pool, progress=Watching())
    assert sum(ended) == len(SEEDS)


def test_what_draws_or_cannot_travel_plays_in_this_process(policy: Any, pool: Workers) -> None:
    assert PolicyPlayer(policy, greedy=False, seed=1).parcel() is None  # draws by row
    here = play(PONG, SEEDS, PolicyPlayer(policy, greedy=False, seed=1), max_steps=9)
    there = play(PONG, SEEDS, PolicyPlayer(policy, greedy=False, seed=1), max_steps=9, workers=pool)
    assert here.to_bytes() == there.to_bytes()
    torch.set_num_threads(2)
    assert PolicyPlayer(policy).parcel() is None  # a worker has one thread, which may round otherwise


def _broken(kept: dict[str, Any]) -> PortablePlayer:
    raise ZeroDivisionError


class CopyFails:
    """Plays, but its copies cannot be made."""

    def start(self, n: int) -> None:
        return None

    def act(self, state: Any, rows: Any, observations: Any) -> Any:
        return np.zeros(len(rows), dtype=np.intp)

    def __init__(self, make: Any) -> None:
        self._make = make

    def parcel(self) -> Parcel | None:
        return Parcel(self._make, ())

    def findings(self, frames: Any) -> None:
        return None

    def learn(self, frames: Any, findings: Any) -> None: ...


@pytest.mark.parametrize("make", [_broken, lambda kept: None], ids=["that cannot play", "that cannot be sent"])
def test_a_copy_that_fails_leaves_the_games_to_the_original(make: Any, pool: Workers) -> None:
    played = play(PONG, SEEDS, CopyFails(make), max_steps=4, workers=pool)
    assert played.lengths.tolist() == [4] * len(SEEDS)


class OnlyHere:
    """What can be sent, but not received."""

    def __reduce__(self) -> Any:
        return exec, ("raise ImportError('only the sender knows this')",)


def test_a_parcel_that_a_worker_cannot_open_leaves_the_games_to_the_original(pool: Workers) -> None:
    class Sent(CopyFails):
        def parcel(self) -> Parcel | None:
            return Parcel(_broken, (OnlyHere(),))

    assert play(PONG, SEEDS, Sent(_broken), max_steps=4, workers=pool).lengths.tolist() == [4] * len(SEEDS)


def test_an_error_of_ours_in_a_copy_is_raised_here(policy: Any, pool: Workers) -> None:
    broken = build_network(
        env_id=PONG.id,
        observation_shape=policy.spec.observation_shape,
        observation_dtype=policy.spec.observation_dtype,
        action_names=policy.spec.action_names,
        architecture=Architecture(body="conv", sizes=(32, 32, 16, 8), hidden="relu"),
    )
    for tensor in broken.tensors().values():
        tensor.data.fill_(float("nan"))
    with pytest.raises(PolicyFailure, match="finite logits"):
        play(PONG, SEEDS, PolicyPlayer(broken), max_steps=4, workers=pool)
    assert play(PONG, SEEDS, PolicyPlayer(policy), max_steps=4, workers=pool).lengths.tolist() == [4] * len(SEEDS)


def test_episodes_are_put_in_another_order_with_frames_by_first_sight(policy: Any) -> None:
    parts = [play(STICKY, [seed], PolicyPlayer(policy), max_steps=12) for seed in (3, 4, 5)]
    turned = in_order(concatenate(parts), np.array([2, 0, 1]))
    assert turned.to_bytes() == concatenate([parts[2], parts[0], parts[1]]).to_bytes()


OWNER = """
from tests.envs.test_shards import *
if __name__ == "__main__":
    torch.set_num_threads(1)
    spec = describe(PONG)
    net = build_network(env_id=spec.id, observation_shape=spec.observation_shape,
        observation_dtype=spec.observation_dtype, action_names=spec.action_names,
        architecture=Architecture(body="conv", sizes=(32, 32, 16, 8), hidden="relu"))
    initialise(net, generator=torch.Generator().manual_seed(3))
    pool = Workers(2)
    pool.start()
    print(*[process.pid for process in pool._processes], flush=True)
    play(PONG, range(64), PolicyPlayer(net), workers=pool)
"""


def test_workers_at_play_end_when_their_owner_is_killed(tmp_path: Any) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        workers = [int(number) for number in owner.stdout.readline().split()]
        time.sleep(6)
        owner.kill()
    deadline = time.monotonic() + 120
    while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    survivors = [pid for pid in workers if _alive(pid)]
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert not survivors


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
