"""Quantisers: the unit with its threshold and gradient, the bottleneck network, its fitting, and its file."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from moorelens.errors import OptionError, PolicyError, RunFolderError
from moorelens.fsm.pretrain import fit_report, pretrain
from moorelens.fsm.quantisers.base import Quantiser
from moorelens.fsm.quantisers.files import read_quantisers, write_quantisers
from moorelens.fsm.quantisers.qbn import QBNSpec, TernaryQBN, from_published
from moorelens.fsm.quantisers.unit import digits_of, plateau, quantise
from tests.fsm.small_networks import REFERENCE, needs_reference, small_qbn

GRID = torch.linspace(-4.0, 4.0, 801, dtype=torch.float64)


def closed_form_gradient(x: Tensor) -> Tensor:
    """Spec-fsm 2.1: phi'(x) = 12 t^2 (1 + t^2) (1 - t^2) / (1 + 3 t^2)^2 with t = tanh x."""
    t2 = torch.tanh(x).square()
    return 12 * t2 * (1 + t2) * (1 - t2) / (1 + 3 * t2).square()


def gradient_of(x: Tensor, *, levels: Any = 3) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(quantise(x, levels=levels).sum(), x)
    return gradient


class TestUnit:
    def test_the_smooth_function_is_the_rational_one_in_tanh(self) -> None:
        t = torch.tanh(GRID)
        assert torch.allclose(plateau(GRID), 4 * t**3 / (1 + 3 * t**2), atol=1e-12)

    @pytest.mark.parametrize("sign", [-1.0, 1.0])
    def test_the_middle_ends_at_0_794676(self, sign: float) -> None:
        inside, outside = 0.0, 3.0
        while outside - inside > 1e-9:
            middle = (inside + outside) / 2
            if digits_of(torch.tensor([sign * middle], dtype=torch.float64)).item() == 0:
                inside = middle
            else:
                outside = middle
        assert abs(inside - 0.794676) < 1e-6
        t = np.tanh(inside)
        assert abs(8 * t**3 - 3 * t**2 - 1) < 1e-6, "the threshold is where phi is one half"

    def test_one_half_itself_rounds_to_the_even_digit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moorelens.fsm.quantisers.unit.plateau", lambda x, *, levels: x)
        halves = torch.tensor([-0.5, 0.5])
        assert digits_of(halves).tolist() == [0, 0]
        assert quantise(halves).tolist() == [0.0, 0.0]

    def test_the_gradient_is_that_of_the_smooth_function(self) -> None:
        gradient = gradient_of(GRID)
        step = 1e-6
        differences = (plateau(GRID + step) - plateau(GRID - step)) / (2 * step)
        assert torch.allclose(gradient, closed_form_gradient(GRID), atol=1e-12)
        assert torch.allclose(gradient, differences, atol=1e-8)

    def test_the_gradient_is_neither_one_nor_zero_but_flat_on_the_plateaus(self) -> None:
        gradient = gradient_of(torch.tensor([0.0, 0.4, 0.8, 1.2, 9.0], dtype=torch.float64))
        assert gradient[0] == 0.0 and gradient[-1] < 1e-6
        assert bool(((gradient[1:4] - 1.0).abs() > 0.02).all()) and bool((gradient[1:4] > 0.05).all())

    def test_two_levels_follow_the_tangent_and_send_zero_up(self) -> None:
        assert digits_of(torch.tensor([-2.0, -1e-6, 0.0, 1e-6]), levels=2).tolist() == [-1, -1, 1, 1]
        assert torch.allclose(gradient_of(GRID, levels=2), 1 - torch.tanh(GRID).square(), atol=1e-12)

    def test_other_numbers_of_levels_are_refused(self) -> None:
        with pytest.raises(OptionError, match="2 or 3 levels and 4"):
            quantise(torch.zeros(1), levels=4)  # type: ignore[arg-type]

    @pytest.mark.parametrize("levels", [2, 3])
    def test_the_input_stays_as_it_is(self, levels: Any) -> None:
        x = torch.tensor([-2.0, -0.3, 0.0, 0.3, 2.0])
        before, version = x.clone(), x._version
        quantise(x, levels=levels)
        digits_of(x, levels=levels)
        assert torch.equal(x, before) and x._version == version

    def test_minus_zero_is_zero_to_the_byte(self) -> None:
        x = torch.tensor([-0.3, -0.0, 0.0, 0.3])
        assert not torch.signbit(quantise(x)).any(), "-0.0 would be a second state"
        assert quantise(x).numpy().tobytes() == np.zeros(4, np.float32).tobytes()

    @given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20), st.sampled_from([2, 3]))
    def test_the_value_is_the_digit_exactly(self, values: list[float], levels: Any) -> None:
        x = torch.tensor(values).requires_grad_()
        assert torch.equal(quantise(x, levels=levels).detach(), digits_of(x, levels=levels).float())

    def test_single_and_double_precision_agree_away_from_the_threshold(self) -> None:
        clear = GRID[(GRID.abs() - 0.794676).abs() > 1e-4]
        assert torch.equal(digits_of(clear), digits_of(clear.float()))


def slow_layers(qbn: TernaryQBN) -> tuple[nn.Sequential, nn.Sequential]:
    """Spec-fsm 2.2, written out: encoder and decoder with tanh between the layers and the output's activation."""
    out = {"relu6": nn.ReLU6(), "tanh": nn.Tanh(), "none": nn.Identity()}[qbn.spec.output]
    widths = [qbn.spec.size, *qbn.spec.hidden, qbn.spec.digits]
    parts = []
    for sizes, layers in ((widths, qbn.encoder), (widths[::-1], qbn.decoder)):
        modules: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise(sizes)):
            linear = nn.Linear(a, b)
            linear.load_state_dict(layers[i].state_dict())
            modules += [linear, nn.Tanh()]
        parts.append(nn.Sequential(*modules[:-1]))
    parts[1].append(out)
    return parts[0], parts[1]


SHAPES = {
    "Pong features": QBNSpec(size=200, hidden=(800,), digits=100, output="relu6"),
    "Pong state": QBNSpec(size=32, hidden=(512, 256), digits=64, output="tanh"),
    "control features": QBNSpec(size=8, hidden=(32,), digits=4, output="relu6"),
    "two levels": QBNSpec(size=5, hidden=(), digits=3, output="none", levels=2),
}


class TestQBN:
    @pytest.mark.parametrize("spec", SHAPES.values(), ids=SHAPES.keys())
    def test_it_is_the_published_network(self, spec: QBNSpec) -> None:
        qbn = TernaryQBN(spec, generator=torch.Generator().manual_seed(3))
        encoder, decoder = slow_layers(qbn)
        x = 20 * torch.randn(7, spec.size, generator=torch.Generator().manual_seed(4))
        smooth = encoder(x)
        if spec.levels == 3:
            digits = (1.5 * torch.tanh(smooth) + 0.5 * torch.tanh(-3 * smooth)).round()
        else:
            digits = torch.where(smooth >= 0, 1.0, -1.0)
        assert torch.allclose(qbn.preactivation(x), smooth, atol=1e-5)
        assert torch.equal(qbn.encode(x), digits.to(torch.int8))
        assert torch.allclose(qbn.decode(qbn.encode(x)), decoder(digits), atol=1e-5)
        assert qbn.levels == (spec.levels,) * spec.digits

    def test_the_published_sizes_have_the_published_layers(self) -> None:
        for name, widths in (("Pong features", [200, 800, 100]), ("Pong state", [32, 512, 256, 64])):
            shapes = {key: tuple(tensor.shape) for key, tensor in TernaryQBN(SHAPES[name]).tensors().items()}
            for part, order in (("encoder", widths), ("decoder", widths[::-1])):
                for i, (a, b) in enumerate(itertools.pairwise(order)):
                    assert shapes[f"{part}.{i}.weight"] == (b, a)

    def test_codes_are_bytes_without_gradient_and_kept_by_the_contract(self) -> None:
        qbn = small_qbn(6, 4)
        assert isinstance(qbn, Quantiser)
        codes = qbn.encode(torch.randn(5, 6, generator=torch.Generator().manual_seed(0)))
        assert codes.dtype == torch.int8 and codes.shape == (5, 4) and not codes.requires_grad

    def test_relaxed_is_decoded_code_with_a_gradient_everywhere(self) -> None:
        qbn = small_qbn(6, 4)
        x = torch.randn(9, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
        out = qbn.relaxed(x)
        assert torch.equal(out, qbn.decode(qbn.encode(x)))
        gradients = torch.autograd.grad(out.square().sum(), [x, *qbn.parameters()])
        assert all(bool((gradient != 0).any()) for gradient in gradients)

    def test_the_gradient_to_the_input_is_phi_prime_between_decoder_and_encoder(self) -> None:
        qbn = TernaryQBN(QBNSpec(size=1, hidden=(), digits=1, output="none"))
        with torch.no_grad():
            for layer, value in ((qbn.encoder[0], 0.9), (qbn.decoder[0], 2.0)):
                layer.load_state_dict({"weight": torch.tensor([[value]]), "bias": torch.zeros(1)})
        x = torch.tensor([[0.8]], requires_grad=True)
        (gradient,) = torch.autograd.grad(qbn.relaxed(x).sum(), x)
        expected = 2.0 * closed_form_gradient(torch.tensor(0.72, dtype=torch.float64)) * 0.9
        assert abs(float(gradient) - float(expected)) < 1e-6

    @pytest.mark.parametrize(("output", "low", "high"), [("relu6", 0.0, 6.0), ("tanh", -1.0, 1.0)])
    def test_outputs_stay_in_their_range(self, output: Any, low: float, high: float) -> None:
        qbn = small_qbn(6, 4, output=output)
        with torch.no_grad():
            next(qbn.decoder[-1].parameters()).mul_(50)
        codes = torch.randint(-1, 2, (50, 4), generator=torch.Generator().manual_seed(0)).to(torch.int8)
        decoded = qbn.decode(codes).detach()
        assert float(decoded.min()) == low and float(decoded.max()) == high

    def test_rows_do_not_see_each_other(self) -> None:
        qbn = small_qbn(6, 4)
        x = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
        assert torch.equal(qbn.encode(x), torch.cat([qbn.encode(row[None]) for row in x]))

    def test_weights_are_drawn_as_the_framework_does(self) -> None:
        qbn = TernaryQBN(SHAPES["Pong features"], generator=torch.Generator().manual_seed(0))
        for layer in (*qbn.encoder, *qbn.decoder):
            bound = layer.in_features**-0.5
            for tensor in (layer.weight.detach(), layer.bias.detach()):
                assert 0.9 * bound < float(tensor.abs().max()) <= bound
                assert abs(float(tensor.mean())) < 0.15 * bound

    def test_equal_generators_give_equal_weights_and_others_do_not(self) -> None:
        first, again, other = (small_qbn(6, 4, seed=seed) for seed in (5, 5, 6))
        assert all(torch.equal(first.tensors()[name], again.tensors()[name]) for name in first.tensors())
        assert not torch.equal(first.tensors()["encoder.0.weight"], other.tensors()["encoder.0.weight"])

    def test_no_global_generator_is_read_or_written(self) -> None:
        states = torch.get_rng_state(), str(np.random.get_state(legacy=False)), random.getstate()
        x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
        torch.manual_seed(1)
        first = small_qbn(6, 4)
        pretrain(first, x, updates=3, batch=8, learning_rate=1e-3, seed=0)
        torch.manual_seed(2)
        second = small_qbn(6, 4)
        pretrain(second, x, updates=3, batch=8, learning_rate=1e-3, seed=0)
        assert write_quantisers({"state": first}) == write_quantisers({"state": second})

        torch.set_rng_state(states[0])
        pretrain(small_qbn(6, 4), x, updates=3, batch=8, learning_rate=1e-3, seed=0)
        read_quantisers(write_quantisers({"state": first}))
        fit_report(first, x)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert str(np.random.get_state(legacy=False)) == states[1] and random.getstate() == states[2]


class TestReconstruction:
    X = 0.5 * torch.randn(200, 6, generator=torch.Generator().manual_seed(1))

    def test_it_learns_to_reproduce_what_it_never_saw(self) -> None:
        qbn = small_qbn(6, 8, gain=1.0)
        before = fit_report(qbn, self.X[150:]).validation_error
        pretrain(qbn, self.X[:150], updates=300, batch=64, learning_rate=3e-3, seed=0)
        after = fit_report(qbn, self.X[150:]).validation_error
        assert before is not None and after is not None and after < 0.8 * before

    def test_repeated_rows_count_once(self) -> None:
        once, often = small_qbn(6, 4), small_qbn(6, 4)
        pretrain(once, self.X, updates=5, batch=16, learning_rate=1e-3, seed=0)
        pretrain(often, torch.cat([self.X, self.X[:50].repeat(7, 1)]), updates=5, batch=16, learning_rate=1e-3, seed=0)
        assert write_quantisers({"state": once}) == write_quantisers({"state": often})

    def test_nothing_to_learn_from_changes_nothing(self) -> None:
        qbn = small_qbn(6, 4)
        before = write_quantisers({"state": qbn})
        pretrain(qbn, self.X[:0], updates=5, batch=16, learning_rate=1e-3, seed=0)
        assert write_quantisers({"state": qbn}) == before

    def test_a_recording_too_short_to_hold_anything_out_is_not_measured(self) -> None:
        report = fit_report(small_qbn(6, 4), self.X[:0])
        assert report.validation_error is report.dead_digits is report.entropy_bits is None and report.codes == 0

    def test_the_report_counts_codes_dead_digits_and_bits(self) -> None:
        qbn = small_qbn(6, 4)
        with torch.no_grad():
            weight, bias = qbn.encoder[-1].parameters()
            weight[2], bias[2] = 0.0, 9.0
        report = fit_report(qbn, self.X)
        codes = qbn.encode(self.X).numpy()
        bits = []
        for digit in codes.T:
            shares = np.array([(digit == level).mean() for level in (-1, 0, 1)])
            bits.append(-sum(share * np.log2(share) for share in shares if share > 0))
        assert report.codes == len({row.tobytes() for row in codes})
        assert report.dead_digits == sum(len(set(digit.tolist())) == 1 for digit in codes.T) >= 1
        assert report.entropy_bits is not None and abs(report.entropy_bits - np.mean(bits)) < 1e-5
        error = (qbn.decode(torch.from_numpy(codes)).detach() - self.X).square().mean() / self.X.var(unbiased=False)
        assert report.validation_error is not None and abs(report.validation_error - float(error)) < 1e-5


PAIR = {"state": small_qbn(6, 4, seed=1), "observation": small_qbn(5, 3, output="relu6", seed=2, levels=2)}
FILE = write_quantisers(PAIR)


class TestFile:
    def test_it_reads_back_what_was_written(self) -> None:
        found = read_quantisers(FILE)
        assert {name: qbn.spec for name, qbn in found.items()} == {name: qbn.spec for name, qbn in PAIR.items()}
        for name, qbn in found.items():
            x = torch.randn(20, qbn.spec.size, generator=torch.Generator().manual_seed(0))
            assert torch.equal(qbn.encode(x), PAIR[name].encode(x))
            assert torch.equal(qbn.relaxed(x), PAIR[name].relaxed(x))

    def test_the_bytes_depend_on_the_quantisers_only(self) -> None:
        assert write_quantisers(dict(reversed(PAIR.items()))) == FILE == write_quantisers(read_quantisers(FILE))

    @given(st.integers(0, len(FILE) - 1))
    def test_a_file_cut_off_anywhere_is_refused(self, length: int) -> None:
        with pytest.raises(RunFolderError, match=r"moorelens.quantiser/1 .* cut off"):
            read_quantisers(FILE[:length])

    @given(st.integers(0, 8 + int.from_bytes(FILE[:8], "little") - 1), st.integers(1, 255))
    def test_a_changed_byte_in_the_header_is_refused_or_harmless(self, at: int, change: int) -> None:
        damaged = bytearray(FILE)
        damaged[at] ^= change
        try:
            found = read_quantisers(bytes(damaged))
        except RunFolderError as error:
            assert "\n" not in str(error)
        else:
            assert found.keys() <= PAIR.keys()

    @pytest.mark.parametrize(
        "data",
        [
            b"not a quantiser at all",
            bytes(64),
            safetensors.torch.save({"a": torch.zeros(2)}),
            safetensors.torch.save({"a": torch.zeros(2)}, metadata={"moorelens": "[]"}),
            safetensors.torch.save(
                dict(small_qbn(2, 1).tensors()),
                metadata={"moorelens": msgspec.json.encode({"format": "moorelens.policy/1", "specs": {}}).decode()},
            ),
        ],
        ids=["text", "zeros", "no metadata", "other metadata", "other format"],
    )
    def test_a_foreign_file_is_refused(self, data: bytes) -> None:
        with pytest.raises(RunFolderError, match="run the job again"):
            read_quantisers(data)


def published(qbn: TernaryQBN) -> dict[str, Tensor]:
    """The tensors under the names of a published checkpoint, where activations take every other number."""
    renamed = {}
    for name, tensor in qbn.tensors().items():
        part, number, kind = name.split(".")
        renamed[f"{part}.{2 * int(number)}.{kind}"] = tensor
    return renamed


class TestPublished:
    @pytest.mark.parametrize("spec", [SHAPES["Pong state"], SHAPES["control features"]])
    def test_sizes_are_read_off_the_tensors(self, spec: QBNSpec) -> None:
        qbn = TernaryQBN(spec, generator=torch.Generator().manual_seed(1))
        found = from_published(published(qbn), output=spec.output)
        assert found.spec == spec
        x = torch.randn(5, spec.size, generator=torch.Generator().manual_seed(0))
        assert torch.equal(found.relaxed(x), qbn.relaxed(x))

    def test_more_than_ten_layers_stay_in_order(self) -> None:
        spec = QBNSpec(size=3, hidden=(4, 5, 6, 7, 8, 9), digits=2, output="none")
        assert from_published(published(TernaryQBN(spec)), output="none").spec == spec

    @pytest.mark.parametrize(
        "change",
        [
            {"encoder.0.weight": None},
            {"encoder.2.bias": None},
            {"decoder.0.weight": torch.zeros(5, 5)},
            {"encoder.2.weight": torch.zeros(4, 1)},
            {"encoder.0.weight": torch.zeros(32)},
            {"encoder.0.bias": torch.zeros(1)},
            dict.fromkeys(published(TernaryQBN(SHAPES["control features"]))),
        ],
        ids=["no first", "no bias", "unmirrored", "too narrow", "no matrix", "short bias", "empty"],
    )
    def test_what_is_no_quantiser_is_refused(self, change: dict[str, Tensor | None]) -> None:
        tensors = published(TernaryQBN(SHAPES["control features"])) | change
        with pytest.raises(PolicyError, match="mirrored"):
            from_published({name: t for name, t in tensors.items() if t is not None}, output="relu6")

    @needs_reference
    def test_the_published_network_is_read(self) -> None:
        whole = torch.load(REFERENCE / "dig_cartpole_mmn_4_4.p", map_location="cpu", weights_only=True)
        for prefix, output, sizes in (("obx_net.", "relu6", (8, (32,), 4)), ("bhx_net.", "tanh", (32, (32,), 4))):
            tensors = {name.removeprefix(prefix): t for name, t in whole.items() if name.startswith(prefix)}
            spec = from_published(tensors, output="relu6" if output == "relu6" else "tanh").spec
            assert (spec.size, spec.hidden, spec.digits) == sizes
