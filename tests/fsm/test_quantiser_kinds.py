"""The kinds of quantisers: what each is by definition, how indices become digits, and what their file keeps."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from vector_quantize_pytorch import FSQ

from moorelens.errors import InvariantError, MissingToolError, OptionError, RunFolderError
from moorelens.fsm.quantisers.config import KINDS, REGISTRY, FitSettings
from moorelens.fsm.quantisers.digits import digit_values, levels_for, read_index, write_index
from moorelens.fsm.quantisers.files import read_quantisers, write_quantisers
from moorelens.fsm.quantisers.fsq import FSQQuantiser, FSQSpec
from moorelens.fsm.quantisers.kmeans import KMeansQuantiser, KMeansSpec
from moorelens.fsm.quantisers.layers import apply_layers
from moorelens.fsm.quantisers.registry import new_quantiser, quantiser_class
from moorelens.fsm.quantisers.sign import SignQuantiser, SignSpec

QUICK = FitSettings(updates=60)


def vectors(rows: int = 200, size: int = 5, seed: int = 0) -> Tensor:
    return torch.tanh(torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)))


class TestDigits:
    def test_two_levels_are_signs_odd_ones_centred_even_ones_nearly(self) -> None:
        assert [digit_values(n) for n in (1, 2, 3, 4, 5)] == [
            (0,),
            (-1, 1),
            (-1, 0, 1),
            (-2, -1, 0, 1),
            (-2, -1, 0, 1, 2),
        ]

    @pytest.mark.parametrize(
        ("count", "levels"), [(1, (1,)), (2, (2,)), (255, (255,)), (256, (2, 255)), (70_000, (2, 255, 255))]
    )
    def test_an_index_beyond_one_digit_takes_several(self, count: int, levels: tuple[int, ...]) -> None:
        assert levels_for(count) == levels

    @given(st.integers(1, 200_000), st.data())
    def test_every_number_comes_back(self, count: int, data: st.DataObject) -> None:
        levels = levels_for(count)
        numbers = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=9)))
        codes = write_index(numbers, levels)
        assert read_index(codes, levels).tolist() == numbers.tolist()
        for place, level in enumerate(levels):
            assert set(codes[:, place].tolist()) <= set(digit_values(level))

    def test_numbers_that_differ_have_codes_that_differ(self) -> None:
        levels = levels_for(1000)
        assert len(torch.unique(write_index(torch.arange(1000), levels), dim=0)) == 1000


class TestKMeans:
    def test_the_code_is_the_nearest_centre(self) -> None:
        x = vectors()
        found = new_quantiser("kmeans", x, digits=7)
        found.fit(x)
        centres = found.tensors()["centres"].numpy()
        distances = ((x.numpy()[:, None] - centres) ** 2).sum(axis=2)
        nearest = distances.argmin(axis=1)
        assert np.array_equal(found.decode(found.encode(x)).detach().numpy(), centres[nearest])

    def test_each_centre_is_the_mean_of_its_rows(self) -> None:
        x = vectors()
        found = new_quantiser("kmeans", x, digits=4)
        found.fit(x)
        codes = found.encode(x)
        for code in torch.unique(codes, dim=0):
            mine = x[(codes == code).all(dim=1)]
            assert torch.allclose(found.decode(code[None])[0], mine.mean(dim=0), atol=1e-3)

    def test_repeated_rows_count_once(self) -> None:
        x = vectors(30)
        once, often = (new_quantiser("kmeans", x, digits=4) for _ in range(2))
        once.fit(x)
        often.fit(torch.cat([x, x[:5].repeat(50, 1)]))
        assert torch.equal(once.tensors()["centres"], often.tensors()["centres"])

    def test_fewer_rows_than_clusters_are_all_kept_apart(self) -> None:
        x = vectors(5)
        found = new_quantiser("kmeans", x, digits=300)
        report = found.fit(x)
        assert report.codes == 5 and report.validation_error == pytest.approx(0.0, abs=1e-9)
        assert found.levels == (2, 255)

    def test_it_cannot_be_asked_before_it_is_fitted(self) -> None:
        with pytest.raises(InvariantError, match="call fit first"):
            KMeansQuantiser(KMeansSpec(size=5, clusters=3)).encode(vectors())

    def test_the_gradient_reaches_the_centre_that_stands_for_the_row(self) -> None:
        x = vectors(20)
        found = KMeansQuantiser(KMeansSpec(size=5, clusters=3))
        found.fit(x)
        found.relaxed(x[:1]).sum().backward()
        touched = found.centres.grad.abs().sum(dim=1) > 0  # type: ignore[union-attr]
        assert torch.equal(found.centres[touched][0].detach(), found.decode(found.encode(x[:1]))[0].detach())
        assert touched.sum() == 1

    def test_no_cluster_is_refused(self) -> None:
        with pytest.raises(OptionError, match="1 cluster or more"):
            KMeansSpec(size=5, clusters=0)


class TestSign:
    def test_the_code_is_the_side_of_the_mean_and_stands_for_the_mean_of_its_side(self) -> None:
        x = vectors()
        found = new_quantiser("sign", x, digits=1)
        found.fit(x)
        rows = x.numpy()
        mean = rows.mean(axis=0)
        decoded = np.where(
            rows >= mean,
            np.nanmean(np.where(rows >= mean, rows, np.nan), axis=0),
            np.nanmean(np.where(rows < mean, rows, np.nan), axis=0),
        )
        assert np.array_equal(found.encode(x).numpy(), np.where(rows >= mean, 1, -1))
        assert np.allclose(found.decode(found.encode(x)).detach().numpy(), decoded, atol=1e-6)

    def test_an_entry_that_never_changes_stands_for_itself(self) -> None:
        x = vectors()
        x[:, 2] = 0.25
        found = SignQuantiser(SignSpec(size=5))
        found.fit(x)
        assert torch.allclose(found.relaxed(x)[:, 2], torch.tensor(0.25))


class TestFSQ:
    @pytest.mark.parametrize("levels", [(3, 3), (4, 5, 7), (8,)])
    def test_the_digits_are_the_librarys(self, levels: tuple[int, ...]) -> None:
        x = 2 * vectors()
        found = FSQQuantiser(FSQSpec(size=5, hidden=(8,), levels=levels, output="none"))
        library = FSQ(levels=list(levels))
        narrow = apply_layers(found.encoder, x).detach() * 4
        found.encoder[-1].weight.data.mul_(4)  # type: ignore[union-attr, operator]
        found.encoder[-1].bias.data.mul_(4)  # type: ignore[union-attr, operator]
        values, index = library(narrow[None])
        codes = found.encode(x)
        expected = (values[0] * torch.tensor([level // 2 for level in levels])).round()
        assert torch.equal(codes.float(), expected)
        assert len(torch.unique(codes, dim=0)) == len(torch.unique(index))

    def test_it_learns_to_reproduce(self) -> None:
        x = vectors(400, 3)
        found = new_quantiser("fsq", x, digits=4, levels=5)
        before = found.fit(x, settings=FitSettings(updates=1)).validation_error
        after = found.fit(x, settings=FitSettings(updates=400)).validation_error
        assert before is not None and after is not None and after < 0.5 * before

    def test_long_codes_need_no_table_of_all_codes(self) -> None:
        assert new_quantiser("fsq", vectors(), digits=64).encode(vectors(3)).shape == (3, 64)

    def test_two_levels_are_refused(self) -> None:
        with pytest.raises(OptionError, match="3 to 255 levels"):
            new_quantiser("fsq", vectors(), digits=4, levels=2)

    def test_without_the_library_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
        with pytest.raises(MissingToolError, match=r"moorelens\[fsq\]"):
            new_quantiser("fsq", vectors(), digits=4)


class TestRegistry:
    def test_the_names_are_those_of_the_option(self) -> None:
        assert tuple(REGISTRY) == (*KINDS, "merged")
        assert [quantiser_class(kind).kind for kind in KINDS] == list(KINDS)

    def test_another_name_is_refused(self) -> None:
        with pytest.raises(OptionError, match="one of qbn, fsq, kmeans, sign"):
            new_quantiser("vq", vectors(), digits=4)

    def test_a_qbn_of_four_levels_is_refused(self) -> None:
        with pytest.raises(OptionError, match="2 or 3 levels"):
            new_quantiser("qbn", vectors(), digits=4, levels=4)

    @pytest.mark.parametrize("kind", KINDS)
    def test_equal_seeds_fit_equal_quantisers(self, kind: str) -> None:
        one, other = (new_quantiser(kind, vectors(), digits=4) for _ in range(2))
        assert one.fit(vectors(), settings=QUICK) == other.fit(vectors(), settings=QUICK)
        assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())


class TestFile:
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_comes_back_as_it_was(self, kind: str) -> None:
        x = vectors()
        found = new_quantiser(kind, x, digits=4)
        found.fit(x, settings=QUICK)
        data = write_quantisers({"state": found, "observation": found})
        back = read_quantisers(data)
        assert sorted(back) == ["observation", "state"] and type(back["state"]) is type(found)
        assert torch.equal(back["state"].encode(x), found.encode(x))
        assert torch.equal(back["state"].decode(found.encode(x)), found.decode(found.encode(x)))
        assert write_quantisers(back) == data

    def test_kinds_can_be_mixed(self) -> None:
        x = vectors()
        state, observation = new_quantiser("kmeans", x, digits=300), new_quantiser("sign", x, digits=1)
        state.fit(x)
        observation.fit(x)
        back = read_quantisers(write_quantisers({"state": state, "observation": observation}))
        assert [back[name].kind for name in ("state", "observation")] == ["kmeans", "sign"]

    def test_an_unknown_kind_is_refused(self) -> None:
        found = new_quantiser("sign", vectors(), digits=1)
        data = write_quantisers({"state": found})
        with pytest.raises(RunFolderError, match="one of qbn"):
            read_quantisers(data.replace(b"sign", b"gone"))
