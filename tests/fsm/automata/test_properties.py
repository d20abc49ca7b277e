"""The language of properties, its values against a slow transcription of the definition, and the shortest breach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.fsm.automata.formulas import Comparison, Flag, Formula, Names, Node, parse_property, write_formula
from moorelens.fsm.automata.properties import judge, values

NAMES = Names(flags=("FIRE", "move left", "bounce", "a", "b", "S1"), numbers=("pole angle", "reward", "x"))


def node(operator: Any, *parts: Formula, steps: int | None = None) -> Node:
    return Node(operator=operator, parts=parts, steps=steps)


FIRE, BOUNCE, A, B = Flag(name="FIRE"), Flag(name="bounce"), Flag(name="a"), Flag(name="b")


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("FIRE", FIRE),
        ("fire", FIRE),
        ("after `bounce`, FIRE within 10 steps",
         node("always", node("implies", BOUNCE, node("within", FIRE, steps=10)))),
        ("G (bounce -> F FIRE)", node("always", node("implies", BOUNCE, node("eventually", FIRE)))),
        ("always bounce -> FIRE", node("always", node("implies", BOUNCE, FIRE))),
        ("never a and b", node("always", node("not", node("and", A, B)))),
        ("not a and b", node("and", node("not", A), B)),
        ("a or b and FIRE", node("or", A, node("and", B, FIRE))),
        ("a until b until FIRE", node("until", A, node("until", B, FIRE))),
        ("next next a", node("next", node("next", A))),
        ("previous a & !b", node("and", node("previous", A), node("not", B))),
        ("within 3 (a | b)", node("within", node("or", A, B), steps=3)),
        ("pole_angle >= -0.5", Comparison(name="pole angle", relation=">=", value=-0.5)),
        ("`pole angle` == 1e-2", Comparison(name="pole angle", relation="=", value=0.01)),
        ('"move left"', Flag(name="move left")),
        ("x<1 -> a", node("implies", Comparison(name="x", relation="<", value=1.0), A)),
    ],
)  # fmt: skip
def test_what_is_written_is_what_is_meant(text: str, formula: Formula) -> None:
    assert parse_property(text, NAMES) == formula
    assert parse_property(write_formula(formula), NAMES) == formula


def test_names_may_be_given_to_properties() -> None:
    found = parse_property(
        "after hit, FIRE", NAMES, definitions={"hit": "flip and a", "flip": "x > 0 and previous x < 0"}
    )
    x = lambda relation: Comparison(name="x", relation=relation, value=0.0)  # noqa: E731
    flip = node("and", x(">"), node("previous", x("<")))
    assert found == node("always", node("implies", node("and", flip, A), FIRE))


def test_of_many_names_the_first_are_told_and_states_come_last() -> None:
    many = Names(flags=("S1", "o1", *(f"a{i}" for i in range(20))), numbers=("x",))
    with pytest.raises(OptionError, match=r"which are one, x, a0, .*, a9 and 12 more;"):
        parse_property("always zzz", many, definitions={"one": "a1"})


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("after bounce, FIER within 10 steps", r"character 15 \('FIER'\).*did you mean fire\?"),
        ("always zzz", r"character 8 \('zzz'\).*that the run knows, which are `pole angle`, reward, x, FIRE, .*, S1;"),
        ("always (a and", "at its end: a property has a name or a bracket here"),
        ("a b", r"character 3 \('b'\).*left over"),
        ("x", r"character 1 \('x'\).*x > 0"),
        ("a > 1", r"character 1 \('a'\).*true or false"),
        ("x > a", r"character 5 \('a'\).*a number to compare with"),
        ("within a b", r"character 8 \('a'\).*whole number of steps"),
        ("within 1.5 b", r"character 8 \('1.5'\)"),
        ("after a FIRE", r"character 9 \('FIRE'\).*','"),
        ("a ; b", r"character 3 \(';'\)"),
        ("", "at its end"),
        ("S99", r"'S99'"),
    ],
)
def test_mistakes_are_pointed_at(text: str, culprit: str) -> None:
    with pytest.raises(OptionError, match=culprit):
        parse_property(text, NAMES)


def test_a_definition_that_needs_itself_is_refused() -> None:
    with pytest.raises(OptionError, match="needs itself"):
        parse_property("one", NAMES, definitions={"one": "not two", "two": "one"})


def slow(formula: Any, columns: Any, t: int) -> bool:
    """LTL on finite traces, as it is defined."""
    last = len(columns["a"])
    if isinstance(formula, Flag):
        return bool(columns[formula.name][t])
    p = formula.parts
    now = lambda part, at: at < last and slow(part, columns, at)  # noqa: E731
    match formula.operator:
        case "not":
            return not now(p[0], t)
        case "and":
            return now(p[0], t) and now(p[1], t)
        case "or":
            return now(p[0], t) or now(p[1], t)
        case "implies":
            return not now(p[0], t) or now(p[1], t)
        case "always":
            return all(now(p[0], u) for u in range(t, last))
        case "eventually":
            return any(now(p[0], u) for u in range(t, last))
        case "next":
            return now(p[0], t + 1)
        case "previous":
            return t > 0 and now(p[0], t - 1)
        case "within":
            return any(now(p[0], u) for u in range(t, t + formula.steps + 1))
    return any(now(p[1], u) and all(now(p[0], v) for v in range(t, u)) for u in range(t, last))


formulas = st.recursive(
    st.sampled_from([A, B]),
    lambda inner: st.one_of(
        st.builds(node, st.sampled_from(["not", "always", "eventually", "next", "previous"]), inner),
        st.builds(node, st.sampled_from(["and", "or", "implies", "until"]), inner, inner),
        st.builds(lambda part, steps: node("within", part, steps=steps), inner, st.integers(0, 3)),
    ),
    max_leaves=5,
)
traces = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=7)


def columns_of(rows: list[tuple[bool, bool]]) -> dict[str, Any]:
    table = np.array(rows)
    return {"a": table[:, 0], "b": table[:, 1]}


@settings(max_examples=200, deadline=None)
@given(formulas, traces)
def test_values_are_those_of_the_definition(formula: Formula, rows: list[tuple[bool, bool]]) -> None:
    columns = columns_of(rows)
    expected = [float(slow(formula, columns, t)) for t in range(len(rows))]
    assert values(formula, columns, open_end=False).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(formulas, traces, traces)
def test_what_a_beginning_decides_no_continuation_changes(
    formula: Formula, rows: list[tuple[bool, bool]], more: list[tuple[bool, bool]]
) -> None:
    early = values(formula, columns_of(rows), open_end=True)[0]
    late = values(formula, columns_of(rows + more), open_end=False)[0]
    assert early == 0.5 or early == late


def episode(bounces: str, fires: str) -> dict[str, Any]:
    return {name: np.array([letter == "1" for letter in word]) for name, word in (("a", bounces), ("b", fires))}


ANSWER = parse_property("after a, b within 2 steps", NAMES)


def test_the_shortest_breach_is_found_and_where_it_began() -> None:
    episodes = [episode("01000000", "00000001"), episode("0010010000", "0000100000"), episode("100", "001")]
    found = judge(ANSWER, episodes, terminated=[True, True, True])
    assert found.verdicts == ("fails", "fails", "holds") and not found.holds
    assert found.counterexample is not None
    assert (found.counterexample.episode, found.counterexample.steps, found.counterexample.since) == (0, 4, 1)


def test_a_time_limit_leaves_open_what_was_still_to_come() -> None:
    late = episode("00010", "00000")
    assert judge(ANSWER, [late], terminated=[False]).verdicts == ("cut off",)
    assert judge(ANSWER, [late], terminated=[False]).holds
    ended = judge(ANSWER, [late], terminated=[True])
    assert ended.verdicts == ("fails",) and ended.counterexample is not None
    assert (ended.counterexample.steps, ended.counterexample.since) == (5, 3)


def test_an_invariant_holds_on_a_game_that_was_cut_off() -> None:
    assert judge(parse_property("never a", NAMES), [episode("000", "000")], terminated=[False]).verdicts == ("holds",)


def test_an_episode_without_steps_breaks_nothing() -> None:
    assert judge(ANSWER, [episode("", "")], terminated=[True]).holds


@pytest.mark.parametrize(
    ("text", "definitions"),
    [
        ("not " * 3000 + "a", {}),
        ("(" * 5000 + "a" + ")" * 5000, {}),
        ("a and " * 3000 + "a", {}),
        ("G F " * 200 + "a", {}),
        ("d0", {f"d{i}": f"d{i + 1} and d{i + 1}" for i in range(40)} | {"d40": "a"}),
    ],
)
def test_what_no_person_reads_is_refused_in_a_sentence(text: str, definitions: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="check it in parts"):
        parse_property(text, NAMES, definitions=definitions)


def test_a_bound_has_a_limit_too() -> None:
    with pytest.raises(OptionError, match="at most 1000000 steps"):
        parse_property("a within 999999999999999999999999 steps", NAMES)
