"""The attention graph: each set once, every removal drawn or counted, and the file it is kept in."""

from __future__ import annotations

import re

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.saliency.baselines import gaussian_blur
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.scores import class_score
from moorelens.saliency.sets.functions import SetFunction
from moorelens.saliency.sets.graph import build_sag, sag_grid
from moorelens.saliency.sets.sag import SAG, SAGEdge, decode_sag, encode_sag
from moorelens.saliency.sets.search import find_mse, known_sets
from moorelens.saliency.sets.text import sag_dnf, sag_dot
from moorelens.saliency.sets.values import SetValue
from tests.saliency.models import small_cnn
from tests.saliency.sets.set_functions import alternatives, bits, of


def two_of_three(count: int = 9) -> SetFunction:
    """Any two of the patches 1, 2, 3 suffice, one alone is worth a half."""
    return of(lambda patches: min(len(patches & {1, 2, 3}), 2) / 2, count=count)


def sets_of(sag: SAG) -> list[int]:
    return [bits(*node.patches) for node in sag.nodes]


def test_shared_subsets_are_one_node() -> None:
    """Three roots {1, 2}, {2, 3}, {1, 3}: 6 nodes and 6 edges; two edges lead to each single patch."""
    v = two_of_three()
    search = find_mse(v)
    assert {mse.patches for mse in search.found} == {(1, 2), (2, 3), (1, 3)}
    sag = build_sag(v, search)
    assert len(sag.nodes) == len(sag.edges) == 6
    assert {node.patches for node in sag.nodes if node.root} == {(1, 2), (2, 3), (1, 3)}
    for index, node in enumerate(sag.nodes):
        if len(node.patches) == 1:
            assert sum(edge.child == index for edge in sag.edges) == 2
            assert node.relative == 0.5 and not node.expanded and node.hidden_children == 0
    assert sag.complete and sag.exact_choice and {edge.drop for edge in sag.edges} == {0.5}
    assert build_sag(v, search, overlap=0).roots == (0,)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 9), k=st.integers(1, 4), p_low=st.sampled_from([0.0, 0.3, 0.6]))
def test_the_graph_is_acyclic_and_hides_nothing(seed: int, size: int, k: int, p_low: float) -> None:
    values = torch.rand(1 << 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values[-1] = 1.0
    v = SetFunction(lambda sets: values[torch.tensor(list(sets))], count=12)
    generator = torch.Generator().manual_seed(seed + 1)
    roots = [bits(*torch.randperm(12, generator=generator)[:size].tolist()) for _ in range(3)]
    sag = build_sag(v, known_sets(v, roots), p_low=p_low, k_children=k, overlap=12, max_nodes=10_000)
    assert len(set(sets_of(sag))) == len(sag.nodes)
    for edge in sag.edges:
        parent, child = sag.nodes[edge.parent], sag.nodes[edge.child]
        assert bits(*parent.patches) ^ bits(*child.patches) == 1 << edge.patch
        assert len(child.patches) == len(parent.patches) - 1 and edge.parent < edge.child
        assert edge.drop == pytest.approx(parent.relative - child.relative)
    for index, node in enumerate(sag.nodes):
        ways = [edge for edge in sag.edges if edge.parent == index]
        assert node.value == float(values[bits(*node.patches)]) == node.relative
        expected = len(node.patches) > 1 and node.value > p_low
        assert node.expanded == bool(ways) == expected
        assert len(ways) + node.hidden_children == (len(node.patches) if expected else 0)
        if expected:
            assert len(ways) == (len(node.patches) if len(node.patches) <= 6 else k)
        if ways and node.hidden_children:
            drops = {patch: node.value - float(values[bits(*node.patches) ^ 1 << patch]) for patch in node.patches}
            least = min(drops[edge.patch] for edge in ways)
            assert all(drops[patch] <= least for patch in node.patches if patch not in {e.patch for e in ways})
    reached = set(sag.roots) | {edge.child for edge in sag.edges}
    assert reached == set(range(len(sag.nodes)))


def test_a_graph_without_room_says_so() -> None:
    v = of(lambda patches: len(patches & set(range(6))) / 6, count=8)
    search = find_mse(v)
    whole = build_sag(v, search, p_low=0.0)
    small = build_sag(v, search, p_low=0.0, max_nodes=20)
    assert whole.complete and len(whole.nodes) == 2**6 - 1
    assert not small.complete and len(small.nodes) <= 20
    assert any(node.hidden_children == len(node.patches) for node in small.nodes)


def test_values_are_those_of_an_independent_forward() -> None:
    x = torch.rand(1, 3, 35, 28, generator=torch.Generator().manual_seed(4))
    grid = PatchGrid.regular(5, 4, (35, 28))
    model = small_cnn().eval()
    v = SetValue(x, class_score(model, 1), gaussian_blur(), grid)
    sag = build_sag(v, known_sets(v, [bits(0, 3, 7), bits(3, 7, 11), bits(19)]), p_low=0.0, overlap=2)
    baseline = gaussian_blur()(x)
    for node in sag.nodes:
        keep = torch.zeros(35, 28, dtype=torch.bool)
        for patch in node.patches:
            row, column = divmod(patch, 4)
            keep[row * 7 : row * 7 + 7, column * 7 : column * 7 + 7] = True
        alone = model(torch.where(keep, x, baseline)).softmax(1)[0, 1].detach()
        assert node.value == pytest.approx(float(alone), abs=1e-6)
        assert torch.equal(v.shown([bits(*node.patches)])[0], torch.where(keep, x, baseline)[0])


def test_two_patches_may_be_worth_more_than_the_whole() -> None:
    v = of(lambda patches: 1.4 if patches == {2, 5} else 0.1 * (len(patches) > 0) + 0.9 * (len(patches) == 9), count=9)
    sag = build_sag(v, find_mse(v))
    best = sag.nodes[sag.roots[0]]
    assert best.patches == (2, 5) and best.relative == pytest.approx(1.4) and sag_dnf(sag) == "P2 & P5"


def test_text_names_the_roots_and_every_edge() -> None:
    v = alternatives({3, 4}, {7}, count=9)
    sag = build_sag(v, find_mse(v))
    assert sag_dnf(sag) == "P3 & P4 | P7"
    dot = sag_dot(sag)
    assert dot.count(" -> ") == len(sag.edges) == 2
    assert re.search(r'n0 \[label="P3 P4\\n100%", penwidth=2\];', dot)
    named = msgspec.structs.replace(sag, grid=sag_grid(PatchGrid.features(9), names=[f'a"\\{i}&\n' for i in range(9)]))
    assert 'label="a\\"\\\\7&amp;\N{REPLACEMENT CHARACTER}\\n100%"' in sag_dot(named)
    assert sag_dnf(named).endswith('a"\\7&\n')


@pytest.mark.parametrize(("value", "formula"), [(1.0, "true"), (0.0, "true")])
def test_a_vacuous_search_gives_a_graph_without_nodes(value: float, formula: str) -> None:
    v = of(lambda _: value, count=4)
    sag = build_sag(v, find_mse(v))
    assert sag.vacuous and not sag.nodes and not sag.edges and sag_dnf(sag) == formula
    assert decode_sag(encode_sag(sag)) == sag


def test_no_sufficient_set_gives_a_graph_without_nodes() -> None:
    v = of(lambda patches: float(len(patches) == 9), count=9)
    sag = build_sag(v, find_mse(v, max_size=3))
    assert not sag.vacuous and sag.nodes == () and sag_dnf(sag) == "false"


def test_the_file_gives_the_graph_back() -> None:
    v, again = two_of_three(), two_of_three()
    grid = PatchGrid.from_labels(torch.tensor([[0, 0, 1], [2, 1, 1]]))
    plain = build_sag(v, find_mse(v))
    assert encode_sag(plain) == encode_sag(build_sag(again, find_mse(again)))
    sag = msgspec.structs.replace(plain, grid=sag_grid(grid), subject={"seed": 3})
    assert sag.grid is not None and sag.grid.labels == (0, 2, 1, 1, 2, 1, 1, 2)
    assert sag.grid.boxes == ((0, 0, 1, 2), (0, 1, 2, 3), (1, 0, 2, 1))
    data = encode_sag(sag)
    assert decode_sag(data) == sag and encode_sag(decode_sag(data)) == data
    assert msgspec.json.decode(data)["format"] == "moorelens.sag/1"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format": "moorelens.sag/2"}', b"\xff\xfe"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(OptionError, match=r"moorelens\.sag/1"):
        decode_sag(data)


@pytest.mark.parametrize(
    "edge",
    [
        SAGEdge(parent=0, child=6, patch=1, drop=0.0),
        SAGEdge(parent=0, child=1, patch=1, drop=0.0),
        SAGEdge(parent=-1, child=1, patch=1, drop=0.0),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(edge: SAGEdge) -> None:
    v = two_of_three()
    sag = build_sag(v, find_mse(v))
    with pytest.raises(OptionError, match="damaged"):
        msgspec.structs.replace(sag, edges=(*sag.edges, edge))
    with pytest.raises(OptionError, match="damaged"):
        msgspec.structs.replace(sag, count=2)


@pytest.mark.parametrize(
    "wrong", [{"p_low": -0.1}, {"p_low": 1.5}, {"k_children": 0}, {"max_nodes": 0}, {"k_roots": 0}]
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, float]) -> None:
    v = two_of_three()
    with pytest.raises(OptionError):
        build_sag(v, find_mse(v), **wrong)  # type: ignore[arg-type]
