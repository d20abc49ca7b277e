"""Machine files: what is written is read back, validates, and damage of any kind is one clear sentence."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given

from moorelens.errors import MachineFileError, RequestError
from moorelens.fsm.automata.build import build_machine, from_edges
from moorelens.fsm.automata.exchange.documents import sorted_meta
from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced, encode_reduced
from moorelens.fsm.automata.exchange.schema import DOCUMENTS, load_schema, make_schema
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.reductions import ALL_STEPS, reduce
from moorelens.fsm.automata.traces import Traces
from tests.fsm.automata.automata_examples import busy_machines, machines, random_machine, worked_example

VALIDATORS = {name: jsonschema.Draft202012Validator(load_schema(name)) for name in DOCUMENTS}
EITHER = machines(conflicts=True) | busy_machines(states=9, conflicts=True)


@given(EITHER)
def test_a_machine_file_is_read_back_and_validates(machine: MooreMachine):
    data = encode_machine(machine)
    assert decode_machine(data) == machine
    assert encode_machine(decode_machine(data)) == data
    VALIDATORS["machine"].validate(json.loads(data))


@given(EITHER)
def test_a_reduced_file_is_read_back_and_validates(machine: MooreMachine):
    reduced = reduce(machine, steps=ALL_STEPS).reduced
    data = encode_reduced(reduced)
    assert decode_reduced(data) == reduced
    assert encode_reduced(decode_reduced(data)) == data
    VALIDATORS["reduced"].validate(json.loads(data))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_shipped_schema_is_that_of_the_documents(name):
    assert json.loads(make_schema(name)) == load_schema(name)


def test_dwell_lengths_survive():
    machine = from_edges([(0, 0, 1), (1, 0, 1), (1, 1, 2)], actions=[BOT, 0, 1])
    traces = Traces(
        symbols=[0, 0, 1], states=[1, 1, 2], actions=[0, 0, 1], offsets=[0, 3], terminated=[True], truncated=[False]
    )
    reduced = reduce(machine, traces=traces).reduced
    assert decode_reduced(encode_reduced(reduced)).dwells == {1: {2: 1}}


def test_codes_are_base_three_where_they_can_be():
    ternary, _ = build_machine(
        start_codes=[[0, 0]], state_codes=[[-1, 1]], symbol_codes=[[5, -7]], actions=[0], offsets=[0, 1],
        terminated=[True], truncated=[False], action_names=["x"],
    )  # fmt: skip
    document = json.loads(encode_machine(ternary))
    assert document["states"][1]["code"] == "02"
    assert document["alphabet"][0]["code"] == "5,-7"
    assert decode_machine(encode_machine(ternary)) == ternary


def test_names_and_meta_of_any_kind_survive():
    machine = replace(
        worked_example(), action_names=('"', "\\", "é\n\x00"), meta={"b": [1, None], "a": {"z": 1.5, "y": "\u2028"}}
    )
    assert decode_machine(encode_machine(machine)) == machine
    assert encode_machine(machine).index(b'"a":{"y"') < encode_machine(machine).index(b'"b":[1')


def test_meta_that_is_not_json_is_refused():
    with pytest.raises(RequestError, match="JSON-able"):
        sorted_meta({"x": object()})


# --- forty kinds of damage


def document() -> dict:
    return json.loads(encode_machine(worked_example()))


def damaged(change) -> bytes:
    """The worked example's file after `change` was made to its document."""
    changed = document()
    change(changed)
    return json.dumps(changed).encode()


def setting(*path_and_value):
    """A change that sets the value at a path of keys and positions."""
    *path, value = path_and_value

    def change(found):
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


def deleting(*path):
    def change(found):
        for key in path[:-1]:
            found = found[key]
        del found[path[-1]]

    return change


VALID = encode_machine(worked_example())
DAMAGES = {
    "no file at all": b"",
    "only white space": b" \n",
    "cut in the middle": VALID[: len(VALID) // 2],
    "cut by one byte": VALID[:-2],
    "something appended": VALID + b"{}",
    "not UTF-8": VALID.replace(b'"a"', b'"\xff\xfe"'),
    "UTF-16": VALID.decode().encode("utf-16"),
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "a zip": b"PK\x03\x04\x14\x00\x00\x00",
    "an SVG": b"<svg></svg>",
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "another format": damaged(setting("format", "moorelens.machine/2")),
    "a reduced machine": encode_reduced(reduce(worked_example()).reduced),
    "nested without end": b'{"meta":' * 100_000,
    "an unknown key": damaged(setting("colour", "red")),
    "an unknown key in a state": damaged(setting("states", 1, "colour", "red")),
    "a key twice": VALID.replace(b'"start":0', b'"start":1,"start":0'),
    "a symbol twice on an edge": VALID.replace(b'{"0":1}', b'{"0":7,"0":1}'),
    **{f"no {key}": damaged(deleting(key)) for key in document()},
    "a state without its action": damaged(deleting("states", 1, "action")),
    "an edge without its symbols": damaged(deleting("edges", 0, "symbols")),
    "a state id twice": damaged(setting("states", 2, "id", 1)),
    "a state id left out": damaged(deleting("states", 2)),
    "a symbol id twice": damaged(setting("alphabet", 2, "id", 1)),
    "two symbols with one code": damaged(setting("alphabet", 2, "code", "1")),
    "an edge from nowhere": damaged(setting("edges", 0, "src", 99)),
    "an edge to nowhere": damaged(setting("edges", 0, "dst", 99)),
    "an edge to the start": damaged(setting("edges", 0, "dst", 0)),
    "an edge listed twice": damaged(lambda d: d["edges"].append(d["edges"][0])),
    "an unknown symbol": damaged(setting("edges", 0, "symbols", {"99": 1})),
    "a symbol that is no number": damaged(setting("edges", 0, "symbols", {"left": 1})),
    "a negative symbol": damaged(setting("edges", 0, "symbols", {"-1": 1})),
    "an unknown action": damaged(setting("states", 1, "action", 3)),
    "a negative action": damaged(setting("states", 1, "action", -1)),
    "an action as text": damaged(setting("states", 1, "action", "a")),
    "half a visit": damaged(setting("states", 1, "visits", 0.5)),
    "visits that are true": damaged(setting("states", 1, "visits", True)),
    "negative visits": damaged(setting("states", 1, "visits", -1)),
    "visits beyond 64 bits": damaged(setting("states", 1, "visits", 10**30)),
    "a number of a thousand digits": VALID.replace(b'"start":0', b'"start":' + b"9" * 1000),
    "an id beyond 32 bits": damaged(setting("edges", 0, "dst", 2**31)),
    "an unknown origin": damaged(setting("edges", 0, "origin", "dream")),
    "a counted edge that was never recorded": damaged(setting("edges", 0, "origin", "network")),
    "a start beyond the states": damaged(setting("start", 7)),
    "a start that acts": damaged(setting("start", 1)),
    "a start that is text": damaged(setting("start", "0")),
    "no states at all": damaged(setting("states", [])),
    "a code too long": damaged(setting("states", 1, "code", "1,1")),
    "a code too short": damaged(setting("states", 1, "code", "")),
    "a code of letters": damaged(setting("states", 1, "code", "x")),
    "a digit beyond eight bits": damaged(setting("states", 1, "code", "200")),
    "an unknown notation": damaged(setting("codes", "states", "notation", "base 7")),
    "a width of a million": damaged(setting("codes", "states", "width", 1_000_000)),
    "a width beyond all memory": damaged(setting("codes", "symbols", "width", 10**15)),
    "action names that are numbers": damaged(setting("action_names", [1, 2, 3])),
    "states as an object": damaged(setting("states", {})),
    "meta as a list": damaged(setting("meta", [])),
}  # fmt: skip


@pytest.mark.parametrize("data", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_one_clear_sentence(data):
    with pytest.raises(MachineFileError) as caught:
        decode_machine(data)
    message = str(caught.value)
    assert message.startswith("A machine file must")
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 500
    assert caught.value.__cause__ is None
    assert caught.value.exit_code == 2


def test_there_are_at_least_forty_kinds():
    assert len(DAMAGES) >= 40


def reduced_document() -> dict:
    return json.loads(encode_reduced(reduce(worked_example()).reduced))


def damaged_reduced(change) -> bytes:
    changed = reduced_document()
    change(changed)
    return json.dumps(changed).encode()


REDUCED_DAMAGES = {
    "a machine": VALID,
    "cut": encode_reduced(reduce(worked_example()).reduced)[:100],
    **{f"no {key}": damaged_reduced(deleting(key)) for key in reduced_document()},
    "a word too short": damaged_reduced(setting("macros", 2, "word", [[1, 1]])),
    "a word beyond all memory": damaged_reduced(setting("macros", 2, "word", [[1, 2**31 - 1]])),
    "an empty run": damaged_reduced(setting("macros", 2, "word", [[1, 2], [1, 0]])),
    "a member twice": damaged_reduced(setting("macros", 2, "members", [3, 3])),
    "an unknown member": damaged_reduced(setting("macros", 2, "members", [3, 77])),
    "an empty macro-state": damaged_reduced(lambda d: d["macros"][1].update(members=[], codes=[], visits=[], word=[])),
    "a state at no place": damaged_reduced(setting("states", 1, [0, 9])),
    "a state in no macro-state": damaged_reduced(setting("states", 1, [77, 0])),
    "two states at one place": damaged_reduced(setting("states", 1, [0, 0])),
    "no passage": damaged_reduced(setting("macros", 2, "passages", [])),
    "a passage from the last place": damaged_reduced(setting("macros", 2, "passages", 0, "place", 1)),
    "an exit from no place": damaged_reduced(
        setting("macros", 2, "exits", [{"place": 5, "terminal": 1, "truncated": 0}])
    ),
    "an edge to nowhere": damaged_reduced(setting("edges", 0, "dst", 9)),
    "an edge to the start": damaged_reduced(setting("edges", 0, "dst", 0)),
    "a loop that leads elsewhere": damaged_reduced(setting("macros", 2, "loop", True)),
    "an unknown tag": damaged_reduced(setting("macros", 2, "tag", "lost")),
    "an unknown step": damaged_reduced(setting("steps", ["magic"])),
    "a class beyond the symbols": damaged_reduced(setting("alphabet", 0, "class", 99)),
    "a loud start": damaged_reduced(setting("start", 1)),
}


@pytest.mark.parametrize("data", REDUCED_DAMAGES.values(), ids=REDUCED_DAMAGES.keys())
def test_damage_of_a_reduced_file_is_one_clear_sentence(data):
    with pytest.raises(MachineFileError) as caught:
        decode_reduced(data)
    assert str(caught.value).startswith("A reduced machine file must")
    assert str(caught.value).endswith(".")


# --- fuzz


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few random edits of bytes: changed, left out, doubled, swapped, or a token of JSON put in."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, end = sorted(rng.randrange(len(found) + 1) for _ in range(2))
        end = min(end, at + rng.choice((1, 3, 40)))
        kind = rng.randrange(5)
        if kind == 0 and at < len(found):
            found[at] = rng.randrange(256)
        elif kind == 1:
            del found[at:end]
        elif kind == 2:
            found[at:at] = found[at:end]
        elif kind == 3:
            found[at:at] = rng.choice(
                (b"-1", b"1e400", b"null", b"{}", b'"', b"[", b"99999999999999999999", b"\xff", b"\\ud800")
            )
        else:
            digits = [i for i, c in enumerate(found) if chr(c).isdigit()]
            if digits:
                found[rng.choice(digits)] = ord(rng.choice("0123456789"))
    return bytes(found)


@pytest.mark.parametrize(("encode", "decode"), [(encode_machine, decode_machine), (encode_reduced, decode_reduced)])
def test_mutated_files_are_read_or_refused_but_never_break(encode, decode):
    rng = random.Random(0)
    machine_rng = np.random.default_rng(0)
    examples = [worked_example(), *(random_machine(machine_rng, states=5, density=0.3) for _ in range(4))]
    files = [encode(m if encode is encode_machine else reduce(m).reduced) for m in examples]
    refused = 0
    for _ in range(1500):
        try:
            found = decode(mutated(rng.choice(files), rng))
        except MachineFileError as error:
            refused += 1
            assert str(error).endswith(".")
        else:
            assert decode(encode(found)) == found
    assert refused > 500
