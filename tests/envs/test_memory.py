"""Memory tasks: languages against their plain definitions, environments step by step, and Gymnasium's checks."""

from __future__ import annotations

import itertools
import re

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from moorelens.envs import EnvironmentRequest, describe, play, register_memory_tasks
from moorelens.envs.memory.languages import Language, labels_of, tomita
from moorelens.envs.memory.lessons import Lesson, classes_of, draw_lesson
from moorelens.envs.memory.modes import ModeCounterEnv, mode_language
from moorelens.envs.memory.reading import LanguageEnv, TomitaEnv, tomita_example
from moorelens.envs.memory.registration import MEMORY_TASKS
from moorelens.errors import EnvironmentRequestError
from moorelens.fsm.automata import from_edges, minimise_strict

MACHINE = {"transitions": [[0, 1, 0], [1, 0, 1]], "outputs": [0, 2]}
WORDS = [word for length in range(1, 11) for word in itertools.product((0, 1), repeat=length)]


def runs(word: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(bit, len(list(group))) for bit, group in itertools.groupby(word)]


def odd_then_odd(word: tuple[int, ...], *, adjacent: bool) -> bool:
    blocks = runs(word)
    pairs = itertools.pairwise(blocks) if adjacent else itertools.combinations(blocks, 2)
    return any(a == 1 and n % 2 and b == 0 and m % 2 for (a, n), (b, m) in pairs)


def text(word: tuple[int, ...]) -> str:
    return "".join(map(str, word))


DEFINITIONS = {
    1: lambda w: re.fullmatch("1*", text(w)) is not None,
    2: lambda w: re.fullmatch("(10)*", text(w)) is not None,
    3: lambda w: not odd_then_odd(w, adjacent=True),
    4: lambda w: "000" not in text(w),
    5: lambda w: w.count(0) % 2 == 0 and w.count(1) % 2 == 0,
    6: lambda w: (w.count(1) - w.count(0)) % 3 == 0,
    7: lambda w: re.fullmatch("0*1*0*1*", text(w)) is not None,
}


@pytest.mark.parametrize("number", range(1, 8))
def test_grammars_accept_what_their_definition_says(number: int) -> None:
    for word in WORDS:
        assert bool(labels_of(tomita(number), np.array(word))[-1]) == DEFINITIONS[number](word), word


def test_the_two_third_grammars_differ_first_on_100110() -> None:
    one, other = tomita(3), tomita(3, variant="later")
    differing = [w for w in WORDS if labels_of(one, np.array(w))[-1] != labels_of(other, np.array(w))[-1]]
    assert differing[0] == (1, 0, 0, 1, 1, 0)
    assert all(bool(labels_of(other, np.array(w))[-1]) != odd_then_odd(w, adjacent=False) for w in WORDS)


def states_of(language: Language) -> int:
    edges = [(s, o, t) for s, row in enumerate(language.transitions) for o, t in enumerate(row)]
    return minimise_strict(from_edges(edges, actions=list(language.outputs), start=language.start)).machine.n_states


def test_minimal_sizes_are_the_published_ones() -> None:
    assert [states_of(tomita(n)) for n in range(1, 8)] == [2, 3, 5, 4, 4, 3, 5]
    assert states_of(tomita(3, variant="later")) == 5
    assert [states_of(mode_language(kind)) for kind in ("amnesia", "blind", "tracker")] == [4, 10, 10]


def test_labels_are_right_and_wrong_on_a_fifth_in_the_published_sixth_grammar() -> None:
    rng = np.random.default_rng(0)
    wrong = total = 0
    for _ in range(4000):
        word, labels = tomita_example(6, tomita(6), rng, label_bug=True)
        wrong += int((labels != labels_of(tomita(6), word)).sum())
        total += len(word)
    assert abs(wrong / total - 0.199) < 0.01
    for number in range(1, 8):
        word, labels = tomita_example(number, tomita(number), rng)
        assert np.array_equal(labels, labels_of(tomita(number), word))


@pytest.mark.parametrize("env_id", sorted(MEMORY_TASKS))
def test_every_task_passes_gymnasiums_checker_is_seeded_and_vectorised(env_id: str) -> None:
    register_memory_tasks()
    arguments = MACHINE if "Language" in env_id else {}
    env = gymnasium.make(env_id, **arguments)
    check_env(env.unwrapped, skip_render_check=True)

    def played() -> list[np.ndarray]:
        seen = [env.reset(seed=7)[0]]
        for action in range(6):
            seen.append(env.step(np.int64(action % 2))[0])
        return seen

    assert all(np.array_equal(a, b) for a, b in zip(played(), played(), strict=True))
    several = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode="sync", **arguments)
    assert several.reset(seed=1)[0].shape == (2, *env.observation_space.shape)  # type: ignore[misc]
    several.close()


class Oracle:
    """A player that keeps the task's own machine in its head."""

    def __init__(self, lesson: Lesson) -> None:
        self.lesson, self.table = lesson, np.array(lesson.language.transitions)

    def start(self, n: int) -> np.ndarray:
        return np.full(n, self.lesson.language.start)

    def act(self, state: np.ndarray, rows: np.ndarray, observations: np.ndarray) -> np.ndarray:
        state[rows] = self.table[state[rows], classes_of(self.lesson, observations)]
        return np.array(self.lesson.language.outputs)[state[rows]]


@pytest.mark.parametrize("task", ["amnesia", "blind", "tracker", "tomita3", "tomita6"])
def test_the_oracle_earns_everything(task: str) -> None:
    lesson = Lesson(task=task)
    request = EnvironmentRequest(id=lesson.env_id)
    found = play(request, range(5), Oracle(lesson))
    assert set(found.returns) == {describe(request).reward_threshold}


def test_a_wrong_action_costs_its_point_and_ends_nothing() -> None:
    env = ModeCounterEnv("blind")
    env.reset(seed=0)
    rewards = [env.step(np.int64(0))[1] for _ in range(10)]
    assert rewards == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_tracker_takes_the_observation_of_the_step_that_ends_a_mode() -> None:
    env = ModeCounterEnv("tracker")
    seen, info = env.reset(seed=3)
    durations, mode, count = (2, 3, 2, 3), int(seen[0] * 4 + 1e-6), 0
    for _ in range(299):
        assert info["desired_action"] == mode
        seen, _, _, _, info = env.step(np.int64(0))
        count += 1
        if count == durations[mode]:
            mode, count = int(seen[0] * 4 + 1e-6), 0


def test_lessons_carry_the_oracles_answers_and_mask_what_is_padding() -> None:
    lesson = Lesson(task="tomita5")
    batch = draw_lesson(lesson, np.random.default_rng(0), n=20, longest=12)
    for column in range(20):
        length = int(batch.mask[:, column].sum())
        word = batch.observations[:length, column, 0].astype(np.int64)
        assert batch.mask[:length, column].all()
        assert np.array_equal(batch.labels[:length, column], labels_of(tomita(5), word))


def test_what_is_no_machine_is_refused_in_a_sentence() -> None:
    with pytest.raises(EnvironmentRequestError, match="needs its machine"):
        LanguageEnv()
    with pytest.raises(EnvironmentRequestError, match="complete machine"):
        LanguageEnv(transitions=[[0, 2], [1, 0]], outputs=[0, 1])
    with pytest.raises(EnvironmentRequestError, match="1 to 7"):
        TomitaEnv(8)
