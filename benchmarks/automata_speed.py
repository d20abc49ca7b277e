"""How fast the automata core is: its promises at full size, beside its peers, and its cost against size, in one run.

    python benchmarks/automata_speed.py [--quick] [--out benchmarks/results]

Writes `automata.md` and `automata-cost.svg`. Seconds are the best of three on this machine; what travels between
machines is the ratios, all taken in this run: to a plain Python loop over the same steps, to the peers on the same
machines, and to the cost a transition at the smallest size. AALpy and automata-lib are measured where they are
installed (`pip install aalpy automata-lib`), memory is what tracemalloc sees at most, in bytes a transition.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from moorelens.fsm.automata.build import build_machine, from_edges
from moorelens.fsm.automata.exact_cover import minimise_exact
from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.automata.strict import minimise_strict

# Above this AALpy needs minutes for one machine.
AALPY_STATES = 300
ACTIONS = ("left", "stay", "right", "fire")
PROMISES = """
`loops` is the time in units of a plain Python dictionary loop over the same 100,000 steps; `growth` is how many times
more memory is held at the peak than with half the steps: 2 is linear in transitions.
"""
PEERS = """
Random complete DFAs over 4 symbols, half of them with every state four times; in brackets how many times longer the
peer needs, and its number of states where it differs: AALpy keeps what cannot be reached. All say which states were
merged.
"""
COSTS = """
Random walks with 25 steps a state and as many symbols as states: microseconds a transition, in brackets the ratio to
the cheapest size.
"""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A random deterministic walk: what `build_machine` is given, and the ids behind it."""

    codes: dict[str, Any]
    states: list[int]
    symbols: list[int]


def walk(rng: np.random.Generator, *, states: int, symbols: int, steps: int) -> Recording:
    """Walk `steps` random symbols through a random machine whose every transition is fixed when it is first taken."""
    state_codes = rng.integers(-1, 2, (states, 64), dtype=np.int8)
    symbol_codes = rng.integers(-1, 2, (symbols, 100), dtype=np.int8)
    read = rng.integers(0, symbols, steps)
    fresh = iter(rng.integers(1, states, steps).tolist())
    table: dict[tuple[int, int], int] = {}
    passed, at = [], 0
    for symbol in read.tolist():
        if (at, symbol) not in table:
            table[at, symbol] = next(fresh)
        at = table[at, symbol]
        passed.append(at)
    visited = np.array(passed)
    codes = {
        "start_codes": state_codes[:1],
        "state_codes": state_codes[visited],
        "symbol_codes": symbol_codes[read],
        "actions": visited % len(ACTIONS),
        "offsets": [0, steps],
        "terminated": [True],
        "truncated": [False],
        "action_names": ACTIONS,
    }
    return Recording(codes=codes, states=passed, symbols=read.tolist())


def game(rng: np.random.Generator, *, states: int, rounds: int) -> MooreMachine:
    """A machine of the shape of Pong's: almost every step of a deterministic game has a symbol of its own."""
    edges = []
    for _ in range(rounds):
        skip = int(rng.integers(0, 4))
        path = [0, *range(1 + skip, states + 1)]
        edges += [(s, t % 374, t) for s, t in itertools.pairwise(path)]
    return from_edges(edges, actions=[BOT, *rng.integers(0, 3, states).tolist()], n_symbols=374)


def plain_loop(recording: Recording) -> int:
    """Bookkeeping as a person would write it first: dictionaries of bytes and tuples, one step after the other."""
    state_bytes = [row.tobytes() for row in recording.codes["state_codes"]]
    symbol_bytes = [row.tobytes() for row in recording.codes["symbol_codes"]]
    states: dict[bytes, int] = {}
    symbols: dict[bytes, int] = {}
    counts: dict[tuple[int, int, int], int] = {}
    at = -1
    for code, read in zip(state_bytes, symbol_bytes, strict=True):
        symbol = symbols.setdefault(read, len(symbols))
        reached = states.setdefault(code, len(states))
        counts[at, symbol, reached] = counts.get((at, symbol, reached), 0) + 1
        at = reached
    return len(counts)


def seconds(function: Callable[[], object], *, repeats: int = 3) -> float:
    """Return the best wall time of a few calls."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
    return best


def peak_bytes(function: Callable[[], object]) -> int:
    """Return the most memory that one call held at once."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def promises(rng: np.random.Generator, *, scale: int) -> Iterator[str]:
    """The sizes that are promised, each with its limit; one Markdown row each."""
    full = walk(rng, states=4000 // scale, symbols=4000 // scale, steps=100_000 // scale)
    half = walk(rng, states=4000 // scale, symbols=4000 // scale, steps=50_000 // scale)
    machine, _ = build_machine(**full.codes)
    small, _ = build_machine(**half.codes)
    loop = seconds(lambda: plain_loop(full))
    name = f"{machine.n_states} states, {machine.n_symbols} symbols, {len(full.states)} steps"
    rows: list[tuple[str, str, Callable[[MooreMachine], object], MooreMachine, float | None]] = [
        ("strict", name, minimise_strict, machine, 5.0),
        ("reduce", name, reduce, machine, None),
        ("fold", name, fold, machine, None),
        ("write JSON", name, encode_machine, machine, None),
        ("write and read JSON", name, lambda m: decode_machine(encode_machine(m)), machine, None),
        ("fold", "385 states of a deterministic game", fold, game(rng, states=385, rounds=10), 0.1),
        ("exact", "the same game", minimise_exact, game(rng, states=385, rounds=10), None),
    ]
    build_s = seconds(lambda: build_machine(**full.codes))
    memory = peak_bytes(lambda: build_machine(**full.codes)), peak_bytes(lambda: build_machine(**half.codes))
    yield row("bookkeeping", name, build_s, 2.0, loop, memory[0] / machine.n_transitions, memory[0] / memory[1])
    for what, size, function, given, limit in rows:
        spent = seconds(lambda function=function, given=given: function(given))  # type: ignore[misc]
        used = peak_bytes(lambda function=function, given=given: function(given))  # type: ignore[misc]
        growth = used / peak_bytes(lambda function=function: function(small)) if given is machine else None  # type: ignore[misc]
        yield row(what, size, spent, limit, loop, used / given.n_transitions, growth)


def row(
    what: str, size: str, spent: float, limit: float | None, loop: float, memory: float, growth: float | None
) -> str:
    verdict = "" if limit is None else f"{limit:g} s: {'kept' if spent < limit else 'BROKEN'}"
    grown = "" if growth is None else f"{growth:.2f}"
    return f"| {what} | {size} | {spent:.3f} | {verdict} | {spent / loop:.2f} | {memory:.0f} | {grown} |"


def random_dfa(rng: np.random.Generator, *, states: int, symbols: int, copies: int) -> tuple[Any, list[bool]]:
    """A random complete DFA in which each state stands `copies` times: it can be minimised to states / copies."""
    core = states // copies
    table, accepting = rng.integers(0, core, (core, symbols)), rng.random(core) < 0.5
    blown = table[np.arange(states) % core] + core * rng.integers(0, copies, (states, symbols))
    return blown, accepting[np.arange(states) % core].tolist()


def peers(rng: np.random.Generator, *, sizes: tuple[int, ...]) -> Iterator[str]:
    """Complete minimisation of the same random DFAs by MooreLens, AALpy and automata-lib; one Markdown row each."""
    for states in sizes:
        for copies in (1, 4):
            table, accepting = random_dfa(rng, states=states, symbols=4, copies=copies)
            edges = [(s, o, int(t)) for s, ends in enumerate(table) for o, t in enumerate(ends)]
            ours = from_edges(edges, actions=[int(a) for a in accepting], action_names=("no", "yes"))
            mine = seconds(lambda ours=ours: minimise_strict(ours), repeats=7)  # type: ignore[misc]
            least = minimise_strict(ours).machine.n_states
            others = [aalpy_seconds(table, accepting), automata_seconds(table, accepting)]
            cells = [
                "not run"
                if found is None
                else f"{found[0]:.4f} ({found[0] / mine:.1f}x{'' if found[1] == least else f', {found[1]} states'})"
                for found in others
            ]
            yield f"| {states} | {least} | {mine:.4f} | {cells[0]} | {cells[1]} |"


def aalpy_seconds(table: Any, accepting: list[bool]) -> tuple[float, int] | None:
    """Return how long AALpy needs, and its number of states; it minimises in place, so copies are made beforehand."""
    if find_spec("aalpy") is None or len(accepting) > AALPY_STATES:
        return None
    from aalpy.automata import Dfa

    setup = {f"s{s}": (accepting[s], {o: f"s{t}" for o, t in enumerate(ends)}) for s, ends in enumerate(table.tolist())}
    copies = [Dfa.from_state_setup(setup) for _ in range(2)]
    spent = float("inf")
    for copy in copies:
        began = time.perf_counter()
        copy.minimize()
        spent = min(spent, time.perf_counter() - began)
    return spent, len(copies[0].states)


def automata_seconds(table: Any, accepting: list[bool]) -> tuple[float, int] | None:
    """Return how long automata-lib needs, and its number of states."""
    if find_spec("automata") is None:
        return None
    from automata.fa.dfa import DFA

    dfa = DFA(
        states=set(range(len(accepting))),
        input_symbols={str(o) for o in range(table.shape[1])},
        transitions={s: {str(o): t for o, t in enumerate(ends)} for s, ends in enumerate(table.tolist())},
        initial_state=0,
        final_states={s for s, yes in enumerate(accepting) if yes},
    )
    return seconds(lambda: dfa.minify(retain_names=True), repeats=3), len(dfa.minify().states)


def costs(rng: np.random.Generator, *, largest: int) -> dict[str, list[tuple[int, float]]]:
    """Return seconds against transitions for each operation, from 100 to 100,000 steps of random walks."""
    found: dict[str, list[tuple[int, float]]] = {}
    for steps in (100, 300, 1000, 3000, 10_000, 30_000, 100_000):
        if steps > largest:
            break
        recording = walk(rng, states=max(steps // 25, 10), symbols=max(steps // 25, 10), steps=steps)
        machine, _ = build_machine(**recording.codes)
        operations: dict[str, Callable[[], object]] = {
            "bookkeeping": lambda recording=recording: build_machine(**recording.codes),  # type: ignore[misc]
            "strict": lambda machine=machine: minimise_strict(machine),  # type: ignore[misc]
            "reduce": lambda machine=machine: reduce(machine),  # type: ignore[misc]
            "fold": lambda machine=machine: fold(machine),  # type: ignore[misc]
        }
        for name, operation in operations.items():
            found.setdefault(name, []).append((machine.n_transitions, seconds(operation)))
    return found


def cost_table(found: dict[str, list[tuple[int, float]]]) -> Iterator[str]:
    """Microseconds a transition, and their ratio to the cheapest size."""
    for i, (transitions, _) in enumerate(next(iter(found.values()))):
        cells = [1e6 * points[i][1] / points[i][0] for points in found.values()]
        least = [min(s / n for n, s in points) * 1e6 for points in found.values()]
        text = " | ".join(f"{cell:.1f} ({cell / low:.1f}x)" for cell, low in zip(cells, least, strict=True))
        yield f"| {transitions} | {text} |"


def plot(found: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Draw seconds against transitions, both logarithmic, beside a line of constant cost."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "moorelens", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for (name, points), mark in zip(found.items(), "osv^", strict=True):
        axes.loglog(*zip(*points, strict=True), marker=mark, label=name)
    low, high = found["bookkeeping"][0][0], found["bookkeeping"][-1][0]
    axes.loglog([low, high], [1e-5 * low, 1e-5 * high], color="gray", linestyle=":", label="10 µs a transition")
    axes.set(xlabel="transitions", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def report(*, quick: bool, out: Path) -> str:
    """Measure everything and return the Markdown page."""
    rng = np.random.default_rng(0)
    found = costs(rng, largest=3000 if quick else 100_000)
    plot(found, out / "automata-cost.svg")
    lines = [
        "# The automata core, measured",
        "",
        f"`python benchmarks/automata_speed.py{' --quick' if quick else ''}` on Python {platform.python_version()}, "
        f"numpy {np.__version__}. Seconds are of one machine, best of three; ratios are of this run.",
        "",
        "## Promises",
        PROMISES,
        "| what | size | seconds | promised | loops | peak bytes a transition | growth |",
        "|---|---|---|---|---|---|---|",
        *promises(rng, scale=20 if quick else 1),
        "",
        "## Complete minimisation beside AALpy and automata-lib",
        PEERS,
        "| states | minimal | MooreLens, s | AALpy, s | automata-lib, s |",
        "|---|---|---|---|---|",
        *peers(rng, sizes=(100,) if quick else (100, 300, 1000)),
        "",
        "## Cost against size",
        COSTS,
        "![seconds against transitions](automata-cost.svg)",
        "",
        f"| transitions | {' | '.join(found)} |",
        f"|---|{'---|' * len(found)}",
        *cost_table(found),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    page = report(quick=options.quick, out=options.out)
    (options.out / "automata.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
