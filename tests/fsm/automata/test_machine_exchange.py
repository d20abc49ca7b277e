"""Machines in other tools' formats: round trips keep BOT, labels and counts, and no name breaks out of its place."""

from __future__ import annotations

import importlib.util
import re
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from moorelens.errors import LayoutTimeout, MachineFileError, MissingToolError, RequestError
from moorelens.fsm.automata import notebook
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.equivalence import equivalent
from moorelens.fsm.automata.exchange.aalpy import from_state_setup, to_state_setup
from moorelens.fsm.automata.exchange.dot import from_dot, to_dot
from moorelens.fsm.automata.exchange.graphs import from_graphml, from_networkx, to_graphml, to_networkx
from moorelens.fsm.automata.exchange.names import natural_key
from moorelens.fsm.automata.exchange.texts import to_kiss2, to_mermaid, to_prism
from moorelens.fsm.automata.machine import BOT, NETWORK, MooreMachine
from moorelens.fsm.automata.reductions import trim
from tests.fsm.automata.automata_examples import busy_machines, chain, machines, worked_example

needs_networkx = pytest.mark.skipif(importlib.util.find_spec("networkx") is None, reason="networkx is not installed")
needs_aalpy = pytest.mark.skipif(importlib.util.find_spec("aalpy") is None, reason="aalpy is not installed")
EITHER = machines(conflicts=True) | busy_machines(states=9, conflicts=True)
HOSTILE = ('"] ; evil [label="', "\\", "\\N\\G\n</svg><script>&amp;", "\x00\u2028é %s")


def hostile() -> MooreMachine:
    example = worked_example()
    return replace(
        example, action_names=HOSTILE, actions=[BOT, 0, 1, 2, 3, 0, 1], meta={'"': HOSTILE[0], "n": [1, None]}
    )


def with_network() -> MooreMachine:
    example = worked_example()
    origins, counts = example.origins.copy(), example.counts.copy()
    origins[4], counts[4] = NETWORK, 0
    return replace(example, origins=origins, counts=counts)


@given(EITHER)
def test_dot_is_read_back(machine: MooreMachine):
    assert from_dot(to_dot(machine)) == machine


@needs_networkx
@given(EITHER)
def test_graphml_is_read_back(machine: MooreMachine):
    assert from_graphml(to_graphml(machine)) == machine


@pytest.mark.parametrize("machine", [hostile(), with_network(), from_edges([], actions=[BOT], action_names=["x"])])
def test_names_origins_and_emptiness_survive(machine):
    assert from_dot(to_dot(machine)) == machine
    if importlib.util.find_spec("networkx"):
        assert from_graphml(to_graphml(machine)) == machine
        assert from_networkx(to_networkx(machine)) == machine


def test_hostile_names_stay_inside_their_quotes():
    for line in to_dot(hostile()).split("\n")[3:-2]:
        assert re.fullmatch(r'  "s\d+"( -> "s\d+")? \[(\w+="(?:[^"\\]|\\.)*"(, )?)*\];', line)


def test_dot_marks_decisions_conflicts_and_what_was_never_recorded():
    assert re.search(r'"s2" \[label="s2: a x2", peripheries="2"', to_dot(worked_example()))
    assert to_dot(with_network()).count('style="dotted"') == 1
    conflict = from_edges([(0, 0, 1), (1, 0, 1), (1, 0, 2)], actions=[BOT, 0, 1])
    assert to_dot(conflict).count('style="dashed"') == 2
    busy = from_edges([(0, o, 1) for o in range(12)], actions=[BOT, 0])
    assert 'label="o_0 o_1 o_2 +9"' in to_dot(busy)


@pytest.mark.parametrize(
    "text", ["", "digraph { a -> b }", to_dot(worked_example(), data=False), to_dot(chain(3))[:200]]
)
def test_foreign_dot_is_refused(text):
    with pytest.raises(MachineFileError, match="read back"):
        from_dot(text)


def test_damaged_dot_is_refused():
    text = to_dot(worked_example())
    for old, new in (
        ('symbols="0:1"', 'symbols="0"'),
        ('facts="0 1 0 0"', 'facts="0 1"'),
        ("%22start%22%3A%200", "%22start%22%3A%209"),
    ):
        with pytest.raises(MachineFileError):
            from_dot(text.replace(old, new))


@needs_networkx
def test_foreign_graphml_is_refused():
    import networkx

    for data in (b"", b"<graphml/>", b"\xff", to_graphml(worked_example())[:300]):
        with pytest.raises(MachineFileError):
            from_graphml(data)
    with pytest.raises(MachineFileError, match="made it"):
        from_networkx(networkx.path_graph(3))


# --- AALpy


@given(machines() | busy_machines(states=9))
def test_state_setup_keeps_words(machine: MooreMachine):
    back = from_state_setup(to_state_setup(machine), actions=machine.action_names)
    assert equivalent_up_to_symbols(trim(machine)[0], trim(back)[0])


def equivalent_up_to_symbols(machine: MooreMachine, back: MooreMachine) -> bool:
    """Symbols nobody uses are lost; give the others their codes back, then compare words."""
    names = back.meta["symbol_names"]
    if not names:
        return machine.n_transitions == 0
    codes = machine.symbol_codes[[int(name.removeprefix("o_")) for name in names]]
    return equivalent(machine, replace(back, symbol_codes=codes))


def test_state_setup_of_the_worked_example():
    setup = to_state_setup(worked_example())
    assert list(setup) == [f"s{i}" for i in range(7)]
    assert setup["s0"] == (None, {"o_0": "s1"})
    assert setup["s2"] == ("a", {"o_2": "s3", "o_3": "s3", "o_4": "s6"})


def test_symbols_of_a_setup_are_in_natural_order():
    setup = {"q": ("x", {"o_10": "q", "o_2": "q", "o_1": "q"})}
    assert from_state_setup(setup).meta["symbol_names"] == ["o_1", "o_2", "o_10"]
    assert sorted(["o_10", "o_2", "o_02", "p"], key=natural_key) == ["o_2", "o_02", "o_10", "p"]


def test_an_initial_state_that_speaks_and_returns_is_copied():
    machine = from_state_setup({"q0": (True, {0: "q1"}), "q1": (False, {0: "q0"})})
    assert machine.n_states == 2
    assert machine.action_names == ("False", "True")
    assert machine.start == 2


@pytest.mark.parametrize(
    "setup", [{}, {"a": 1}, {"a": ("x", {"o": "b"})}, {"a": ("x", ["o"])}, {"a": ("x",)}, [("a", 1)]]
)
def test_a_setup_that_is_none_is_refused(setup):
    with pytest.raises(RequestError, match="state setup"):
        from_state_setup(setup)


def test_conflicts_have_no_place_in_deterministic_formats():
    conflict = from_edges([(0, 0, 1), (0, 0, 2)], actions=[BOT, 0, 1])
    for write in (to_state_setup, to_kiss2):
        with pytest.raises(RequestError, match="resolve the conflicts"):
            write(conflict)


@needs_aalpy
@pytest.mark.filterwarnings("ignore")
def test_aalpy_emits_what_we_do():
    from aalpy.automata import MooreMachine as Peer

    peer = Peer.from_state_setup(to_state_setup(worked_example()))
    peer.reset_to_initial()
    assert [peer.step(f"o_{o}") for o in (0, 1, 4, 8, 7)] == ["a", "a", "c", "a", "a"]


# --- write-only formats


def test_mermaid_names_states_and_escapes_actions():
    text = to_mermaid(hostile())
    assert text.startswith("stateDiagram-v2\n")
    assert "    [*] --> s1: o_0\n" in text
    assert "    s2 --> s3: o_2 o_3\n" in text
    assert not set('"<>&;\\') & set(text.split("\n", 2)[2].replace("-->", ""))


def test_kiss2_has_a_row_for_each_transition():
    lines = to_kiss2(worked_example()).splitlines()
    assert lines[:5] == [".i 4", ".o 2", ".p 10", ".s 7", ".r s0"]
    assert lines[5] == "0000 s0 s1 00"
    assert "0100 s2 s6 10" in lines
    assert lines[-1] == ".e"
    assert len(lines) == 16


@given(EITHER)
def test_prism_shares_add_up_to_one(machine: MooreMachine):
    sums = defaultdict(Fraction)
    for state, row in re.findall(r"\[\] s=(\d+) -> (.*);", to_prism(machine)):
        sums[int(state)] += sum(Fraction(share) for share in re.findall(r"([\d/]+):\(s'=\d+\)", row))
    assert set(sums) == set(range(len(machine.actions) + 1))
    assert all(total == 1 for total in sums.values())


def test_prism_labels_are_identifiers_and_differ():
    machine = replace(worked_example(), action_names=("go!", "go?", "end"))
    assert re.findall(r'label "(\w+)"', to_prism(machine)) == ["end", "go_", "go__2", "end_2"]


# --- notebooks


def test_a_notebook_shows_a_drawing(monkeypatch):
    monkeypatch.setattr(notebook, "render", lambda dot, *, format, timeout_s: f"<svg>{timeout_s}</svg>".encode())
    bundle = worked_example()._repr_mimebundle_()
    assert bundle["image/svg+xml"] == "<svg>2.0</svg>"
    assert bundle["text/plain"].startswith("MooreMachine(6 states")


@pytest.mark.parametrize("error", [MissingToolError("no dot"), LayoutTimeout("slow")])
def test_a_notebook_shows_a_table_where_there_is_no_drawing(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(notebook, "render", fail)
    bundle = hostile()._repr_mimebundle_()
    assert "image/svg+xml" not in bundle
    assert "<td>s2</td>" in bundle["text/html"]
    assert "<script>" not in bundle["text/html"]


def test_a_large_machine_is_a_table_at_once(monkeypatch):
    monkeypatch.setattr(notebook, "render", None)
    rng = np.random.default_rng(0)
    machine = from_edges([(i, 0, i + 1, int(rng.integers(1, 9))) for i in range(200)], actions=[BOT, *[0] * 200])
    assert "180 more states" in machine._repr_mimebundle_()["text/html"]
