"""The fixtures of the specification once more, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moorelens.cli.main import main
from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.automata.machine import MooreMachine
from tests.fsm.automata.automata_examples import chain, reference_fixture_a, reference_fixture_b, worked_example


@pytest.fixture
def run(tmp_path, capsys):
    """Run a verb on machines written to files; return its exit code and the JSON it printed."""

    def call(verb: str, *machines: MooreMachine, options: tuple[str, ...] = ()):
        files = []
        for number, machine in enumerate(machines):
            files.append(tmp_path / f"machine{number}.json")
            files[-1].write_bytes(encode_machine(machine))
        code = main([verb, *map(str, files), *options, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.mark.parametrize(
    ("machine", "fewest"),
    [(reference_fixture_a(), 2), (reference_fixture_b(), 3), (chain(50), 50), (worked_example(), 4)],
    ids=["4.9a", "4.9b", "4.9 chain", "6.4b"],
)
@pytest.mark.parametrize("verb", ["fold", "minimize"])
def test_fixtures_have_their_sizes(run, verb, machine, fewest):
    options = ("--method", "exact") if verb == "minimize" else ()
    code, document = run(verb, machine, options=options)
    assert code == 0
    assert document["after"]["states"] == document["lower_bound"] == fewest
    assert document["proven"]
    assert decode_machine(Path(document["file"]).read_bytes()).n_states == fewest


def test_the_worked_example_is_reduced(run):
    code, document = run("reduce", worked_example())
    assert code == 0
    last = document["history"][-1]
    assert (last["states"], last["symbols"], last["edges"]) == (5, 8, 6)


def test_a_machine_and_itself_do_not_differ(run):
    code, document = run("diff", worked_example(), worked_example())
    assert code == 0
    assert document["empty"]


def test_a_damaged_file_is_exit_two_and_one_sentence(tmp_path, capsys):
    path = tmp_path / "machine.json"
    path.write_bytes(encode_machine(worked_example())[:100])
    assert main(["fold", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said
