"""The I-GOS family beside a slow transcription of its loss and of each variant; spec-saliency 14.11 to 14.16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import OptionError
from moorelens.saliency.baselines import constant, other
from moorelens.saliency.config import IGOSConfig
from moorelens.saliency.explainer import begin
from moorelens.saliency.igos import first_masks, objective_of
from moorelens.saliency.igos_run import schedule_of
from moorelens.saliency.igos_search import Position, backtracked, measure
from moorelens.saliency.igos_terms import TERMS, Objective
from moorelens.saliency.igos_variants import mask_size, plan_of
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.policy_scores import action_score
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.scores import BoundScore, class_score
from moorelens.saliency.smoothness import bilateral_variation, total_variation
from tests.saliency.models import PatchOr, images, small_cnn, small_policy

METHODS = ("igos", "igos+", "igos++")


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def objective(method: Any, *, count: int = 2, double: bool = True, **settings: Any) -> Objective:
    """Return the loss on small images, in double precision for finite differences."""
    config = IGOSConfig(size=4, steps=3, **settings)
    model = small_cnn().double() if double else small_cnn()
    x = images(count).double() if double else images(count)
    work = begin(x, class_score(model, torch.arange(count) % 4), constant(0.3))
    return objective_of(work, config, plan_of(config, method, (4, 3)), method)


def masks_of(found: Objective, *, number: int = 3) -> Tensor:
    """Return random masks (B, k, 4, 3) inside (0, 1)."""
    x = found.operator.x
    return (torch.rand(len(x), found.count, 4, 3, generator=seed(number)) * 0.8 + 0.1).to(x)


def slow_loss(found: Objective, masks: Tensor, row: int, *, noise_seed: int | None = None) -> float:
    """The stated loss of one row, term by term and step by step, in plain loops."""
    plan, x, b = found.plan, found.operator.x[row], found.operator.baseline[row]
    large = [
        functional.interpolate(mask[None, None], size=x.shape[1:], mode="bilinear", align_corners=True)[0]
        for mask in masks[row]
    ]
    score = found.meter.score.select(torch.tensor([row]))  # type: ignore[attr-defined]
    total = 0.0
    for term in TERMS[found.method]:
        shown = torch.ones_like(large[0])
        for number in term.masks:
            shown = shown * large[number]
        generator = None if noise_seed is None else seed(noise_seed)
        for s in range(1, plan.steps + 1):
            keep = s / plan.steps * shown
            point = b * keep + x * (1 - keep) if term.swap else x * keep + b * (1 - keep)
            if generator is not None:
                point = point + float(found.noise[row]) * torch.randn(x.shape, generator=generator).to(x)
            total += term.weight * float(score(point[None]).detach()) / plan.steps * float(found.scale[row])
    product = masks[row].prod(dim=0)
    if found.edges is None:
        rough = total_variation(product[None])
    else:
        rough = bilateral_variation(product[None], found.edges.select(torch.tensor([row])), found.operator.upsampler)
    return total + plan.l1 * float((1 - product).abs().mean()) + plan.l2 * float(rough)


def fast_loss(found: Objective, masks: Tensor, *, noise_seed: int) -> tuple[Tensor, Tensor]:
    """Return the loss (B,) and the direction (B, k, ...) that the optimiser uses."""
    rows, weight = torch.arange(len(masks)), masks.new_full((len(masks),), found.plan.l1)
    score, penalties = found.score(masks, rows, seed=noise_seed), found.penalties(masks, rows, l1=weight)
    loss = score.mean_score + weight * penalties.l1 + found.plan.l2 * penalties.tv
    return loss, score.gradient + penalties.gradient


@pytest.mark.parametrize("method", METHODS)
class TestTheLoss:
    def test_is_the_stated_one_with_its_noise(self, method: str) -> None:
        found = objective(method)
        masks = masks_of(found)
        fast, _ = fast_loss(found, masks, noise_seed=11)
        slow = [slow_loss(found, masks, row, noise_seed=11) for row in range(2)]
        assert fast.tolist() == pytest.approx(slow, rel=1e-9)

    def test_has_the_gradient_of_finite_differences(self, method: str) -> None:
        found = objective(method, noise=0.0)
        masks = masks_of(found)
        _, gradient = fast_loss(found, masks, noise_seed=0)
        step = 1e-6
        for k in range(found.count):
            for i in range(4):
                for j in range(3):
                    ends = []
                    for sign in (1, -1):
                        moved = masks.clone()
                        moved[:, k, i, j] += sign * step
                        ends.append([slow_loss(found, moved, row) for row in range(2)])
                    slope = [(up - down) / (2 * step) for up, down in zip(*ends, strict=True)]
                    assert gradient[:, k, i, j].tolist() == pytest.approx(slope, rel=1e-3, abs=1e-7)

    def test_is_what_the_line_search_compares_and_never_rises(self, method: str) -> None:
        found = objective(method)
        masks, rows = masks_of(found), torch.arange(2)
        weight = torch.full((2,), found.plan.l1, dtype=torch.float64)
        base, direction = fast_loss(found, masks, noise_seed=5)
        compared, here = measure(found, masks, rows, l1=weight, seed=5)
        assert torch.allclose(compared, base), "the same loss, under the same noise"
        at = Position(masks=masks, rows=rows, base=base, direction=direction, l1=weight, seed=5)
        move = backtracked(found, at, first=torch.full((2,), 200.0, dtype=torch.float64), here=here)
        after, _ = fast_loss(found, move.masks, noise_seed=5)
        assert (after < base).all() and (move.steps > 0).all()
        assert move.masks.min() >= 0 and move.masks.max() <= 1
        assert torch.allclose(move.parts.score + weight * move.parts.l1 + found.plan.l2 * move.parts.tv, after)

    def test_falls_from_iteration_to_iteration_without_noise(self, method: str) -> None:
        x, target = images(3), torch.tensor([0, 3, 1])
        explainer = make_explainer(method, size=4, steps=4, iterations=6, noise=0.0)
        found = explainer.attribute(x, class_score(small_cnn(), target), constant(0.3))
        for row, done in enumerate(found.diagnostics["iterations"].tolist()):
            loss = found.diagnostics["loss"][row]
            assert (loss[: done + 1].diff() <= 1e-6).all() and loss[done + 1 :].isnan().all()
            assert found.diagnostics["masks"].min() >= 0 and found.diagnostics["masks"].max() <= 1

    def test_rows_do_not_depend_on_their_batch_and_leave_it_one_by_one(self, method: str) -> None:
        """With targets, baselines and sizes of steps of their own; each pays for its own iterations alone."""
        x, b, target = images(5), images(5, seed=1), torch.tensor([0, 3, 1, 1, 2])
        explainer = make_explainer(method, size=5, steps=3, iterations=5, tolerance=0.02, l1=2.0)
        found = explainer.attribute(x, class_score(small_cnn(), target), other(b), generator=seed(4))
        iterations = found.diagnostics["iterations"]
        assert found.diagnostics["path_forwards"] == 3 * len(TERMS[method]) * int(iterations.sum())  # type: ignore[index]
        for row in range(5):
            alone = explainer.attribute(
                x[row : row + 1],
                class_score(small_cnn(), int(target[row])),
                other(b[row : row + 1]),
                generator=seed(4),
            )
            assert torch.allclose(alone.native[0], found.native[row], atol=1e-4)
            assert alone.diagnostics["iterations"][0] == iterations[row]

    def test_costs_what_it_says(self, method: str) -> None:
        """spec-saliency 14.13: one update of S = 7 is exactly 7 forwards a term and row on the path."""
        seen: list[int] = []
        model = small_cnn()

        def function(points: Tensor) -> Tensor:
            seen.append(len(points))
            return model(points)[:, 0]

        terms, score = len(TERMS[method]), BoundScore(function=function)  # type: ignore[index]
        for variant in ("ours", "nag"):
            seen.clear()
            explainer = make_explainer(method, size=4, iterations=1, steps=7, variant=variant, l1=1.0)
            found = explainer.attribute(images(3), score, constant(0.3), max_batch=8)
            assert found.diagnostics["path_forwards"] == found.n_backward == 3 * 7 * terms
            searched = found.diagnostics["search_forwards"]
            assert found.n_forward == sum(seen) == 2 * 3 + 3 * 7 * terms + searched
            assert searched % (7 * terms) == 0 and (searched == 0) == (variant == "nag")
            assert max(seen) <= 8 and found.diagnostics["iterations"].tolist() == [1, 1, 1]

    def test_another_seed_gives_another_map(self, method: str) -> None:
        explainer = make_explainer(method, size=4, iterations=2, steps=3, step0=2.0)
        maps = [
            explainer.attribute(images(1), class_score(small_cnn(), 0), constant(0.3), generator=seed(number)).values
            for number in (1, 1, 2)
        ]
        assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])

    def test_scores_are_measured_in_shares_of_their_gap(self, method: str) -> None:
        weights = torch.rand(3, 12, 10, generator=seed(2))

        def score(x: Tensor) -> Tensor:
            return (x * weights).flatten(1).sum(dim=1) / 100

        explainer = make_explainer(method, size=4, iterations=3, steps=3)
        plain = explainer.attribute(images(2), score, constant(0.0))
        scaled = explainer.attribute(images(2), lambda x: 50 * score(x) + 7, constant(0.0))
        assert torch.allclose(plain.values, scaled.values, atol=1e-3) and plain.explainable.all()

    def test_the_brightest_patch_is_found(self, method: str) -> None:
        """spec-saliency 14.2 on patch-OR: any one patch suffices, and one is bright."""
        grid = PatchGrid.regular(3, 3, (12, 12))
        x = torch.full((1, 1, 12, 12), 0.1)
        x[:, :, 4:8, 8:] = 1.0
        found = make_explainer(method).attribute(x, PatchOr(grid), constant(0.0))
        peak = int(found.saliency().flatten().argmax())
        assert grid.labels.flatten()[peak] == 5
        assert found.explainable.all() and found.kind == "keep_mask"


class TestVariants:
    @pytest.mark.parametrize("variant", ["2019", "2021", "nag"])
    def test_follow_their_release_written_out(self, variant: str) -> None:
        """Three iterations of I-GOS without noise, on one image, in plain loops."""
        found = objective("igos", count=1, variant=variant, iterations=3, noise=0.0, step0=50.0)
        config = IGOSConfig(size=4, steps=3, variant=variant, iterations=3, noise=0.0, step0=50.0)  # type: ignore[arg-type]
        x, model = found.operator.x, small_cnn().double()
        run = make_explainer("igos", size=4, steps=3, variant=variant, iterations=3, noise=0.0, step0=50.0)
        theirs = run.attribute(x, class_score(model, 0), constant(0.3)).diagnostics["masks"]
        assert torch.allclose(theirs, released(found, config), atol=1e-6)

    def test_of_2021_compare_losses_under_noise_of_their_own(self) -> None:
        found = objective("igos++", variant="2021", noise=0.5)
        seeds: list[int] = []
        original = Objective.score

        def spied(self: Objective, masks: Tensor, rows: Tensor, **options: Any) -> Any:
            seeds.append(options["seed"])
            return original(self, masks, rows, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Objective, "score", spied)
            make_explainer("igos++", size=4, steps=2, iterations=1, variant="2021").attribute(
                images(1), class_score(small_cnn(), 0), constant(0.3)
            )
        assert len(set(seeds)) == len(seeds) >= 3, "gradient, base and each trial"
        assert found.plan.loss_factor == 2 and not found.plan.relative

    def test_have_the_settings_of_their_release(self) -> None:
        plans = {
            (variant, method): plan_of(IGOSConfig(variant=variant), method, (28, 28))  # type: ignore[arg-type]
            for variant in ("2019", "2021", "nag")
            for method in METHODS
            if variant != "2019" or method == "igos"
        }
        facts = {key: (p.iterations, p.steps, p.l1, p.l2, p.step0, p.search) for key, p in plans.items()}
        assert facts == {
            ("2019", "igos"): (15, 20, 1, 20, 200, "end"),
            ("2021", "igos"): (20, 15, 1, 20, 8, "fresh"),
            ("2021", "igos+"): (15, 20, 1, 20, 1000, "fresh"),
            ("2021", "igos++"): (15, 20, 1, 20, 1000, "fresh"),
            ("nag", "igos"): (20, 15, 1, 20, 8, "none"),
            ("nag", "igos+"): (15, 20, 1, 20, 8, "none"),
            ("nag", "igos++"): (15, 20, 1, 20, 8, "none"),
        }
        coarse = plan_of(IGOSConfig(variant="2019"), "igos", (112, 112))
        assert (coarse.l1, coarse.l2) == (3, 60)
        assert plan_of(IGOSConfig(variant="2021"), "igos++", (224, 224)).l1 == 10
        assert plan_of(IGOSConfig(variant="2021", l1=0.5, steps=2), "igos", (28, 28)).l1 == 0.5

    def test_of_2019_lower_l1_where_the_score_stands_still(self) -> None:
        run = make_explainer("igos", size=4, steps=1, variant="2019")
        found = run.attribute(images(1), lambda x: x.flatten(1).sum(dim=1) * 0 + 1, constant(0.3))
        weights = found.diagnostics["loss"][0] - found.diagnostics["score"][0]
        assert found.diagnostics["iterations"].tolist() == [15] and torch.allclose(weights, torch.zeros(16))
        moving = run.attribute(images(1), lambda x: x.flatten(1).mean(dim=1) * 1e-4, constant(0.0))
        ratio = (moving.diagnostics["loss"] - moving.diagnostics["score"]) / moving.diagnostics["l1"].clamp_min(1e-12)
        assert moving.values.shape == (1, 12, 10) and torch.isfinite(ratio).all()

    def test_differ_from_each_other(self) -> None:
        maps = [
            make_explainer("igos", size=4, steps=3, iterations=3, step0=50.0, variant=variant)
            .attribute(images(1), class_score(small_cnn(), 0), constant(0.3))
            .values
            for variant in ("ours", "2019", "2021", "nag")
        ]
        assert all(not torch.equal(maps[i], maps[j]) for i in range(4) for j in range(i))


def released(found: Objective, config: IGOSConfig) -> Tensor:
    """I-GOS as released, on one row without noise: one mask, all steps written out."""
    plan = found.plan
    assert config.variant != "ours"
    mask = torch.ones(1, 1, 4, 3, dtype=torch.float64)
    before = mask.clone()

    def loss(of: Tensor) -> float:
        if config.variant != "2019":
            return slow_loss(found, of, 0)
        x, b = found.operator.x, found.operator.baseline
        large = functional.interpolate(of, size=x.shape[2:], mode="bilinear", align_corners=True)
        end = float(found.meter.score(x * large + b * (1 - large)).detach())
        return end + plan.l1 * float((1 - of).abs().mean()) + plan.l2 * float(total_variation(of[:, 0]))

    for k in range(3):
        _, direction = fast_loss(found, mask, noise_seed=0)
        if config.variant == "nag":
            point = mask - 50.0 * direction
            mask, before = (point + k / (k + 3) * (point - before)).clamp(0, 1), point
            continue
        step, size = 50.0, float(direction.square().sum())
        while loss((mask - step * direction).clamp(0, 1)) > loss(mask) - 1e-4 * step * size and step >= 1e-5:
            step *= 0.2
        mask = (mask - step * direction).clamp(0, 1)
    return mask


class TestSettings:
    def test_masks_have_any_resolution_up_to_that_of_the_input(self) -> None:
        assert (
            mask_size(None, (56, 56)) == (28, 28)
            and mask_size(None, (224, 112), "igos++") == (56, 28)
            and mask_size(None, (10, 8)) == (10, 8)
        )
        assert mask_size(None, (210, 160)) == (28, 21) and mask_size(7, (80, 160)) == (4, 7)
        assert mask_size((3, 5), (9, 14)) == (3, 5) and mask_size(None, (4,)) == (4,)
        for size, shape in ((13, (12, 12)), ((3, 20), (12, 12)), (7, (4,))):
            with pytest.raises(OptionError, match=r"finer|vector"):
                mask_size(size, shape)
        for channels, size in ((1, (3, 5)), (7, 9)):
            explainer = make_explainer("igos++", size=size, iterations=2, steps=2)
            found = explainer.attribute(images(2, channels, (9, 14)), class_score(small_cnn(channels), 1), constant(0))
            assert found.values.shape == (2, 9, 14)
            assert found.native.shape == ((2, 3, 5) if channels == 1 else (2, 6, 9))

    @pytest.mark.parametrize("method", METHODS)
    def test_vectors_have_an_entry_a_feature(self, method: str) -> None:
        """The score reads features 1 and 3; what it ignores is not hidden, since hiding costs."""
        x = torch.tensor([[2.0, 3.0, -1.0, 1.5], [0.1, 1.0, 5.0, 2.0]])

        def score(rows: Tensor) -> Tensor:
            return torch.sigmoid(rows[:, 1] + rows[:, 3] - 1)

        found = make_explainer(method, iterations=5, steps=5).attribute(x, score, constant(0.0))
        assert found.native.shape == found.values.shape == (2, 4)
        assert (found.saliency()[:, [0, 2]] == 0).all() and (found.saliency()[:, [1, 3]].amax(dim=1) > 0.5).all()
        assert (found.diagnostics["tv"].nan_to_num() == 0).all()

    def test_policies_are_explained_with_their_memory(self) -> None:
        policy, x = small_policy((1, 20, 20)), images(3, 1, (20, 20))
        hidden = torch.randn(3, 6, generator=seed(1))
        explainer = make_explainer("igos++", size=5, iterations=2, steps=3)
        score = action_score(policy, torch.tensor([0, 2, 1]), hidden=hidden, space="margin")
        found = explainer.attribute(x, score, constant(0.0))
        alone = explainer.attribute(x[1:2], action_score(policy, 2, hidden=hidden[1:2], space="margin"), constant(0.0))
        assert torch.allclose(found.values[1], alone.values[0], atol=1e-4)

    def test_l1_follows_its_schedule(self) -> None:
        assert schedule_of((1.0,), 3) == [1, 1, 1]
        assert schedule_of((10.0, 1.0), 4) == pytest.approx([10, 7, 4, 1])
        assert schedule_of((4.0, 2.0, 0.0), 5) == pytest.approx([4, 3, 2, 1, 0])
        found = make_explainer(
            "igos", size=4, iterations=3, steps=2, l1=1.0, l1_schedule=(9.0, 1.0), noise=0.0
        ).attribute(images(1), class_score(small_cnn(), 0), constant(0.3))
        history = {name: found.diagnostics[name][0] for name in ("loss", "score", "l1", "tv")}
        done = int(found.diagnostics["iterations"][0])
        expected = [9.0, 5.0, 1.0, 1.0][: done + 1]
        l2 = plan_of(IGOSConfig(), "igos", (4, 3)).l2
        weights = (history["loss"] - history["score"] - l2 * history["tv"])[: done + 1]
        assert torch.allclose(weights, torch.tensor(expected) * history["l1"][: done + 1], atol=1e-5)

    def test_a_cause_too_large_for_its_price_is_found_at_a_lower_one(self) -> None:
        """Half of the picture decides, and hiding it costs too much at the l1 of small causes; a given l1 is kept."""
        x = torch.cat([torch.ones(2, 1, 8, 4), torch.zeros(2, 1, 8, 4)], dim=3)
        x[1, :, :, 1:] = 0.0

        def score(points: Tensor) -> Tensor:
            return points[:, 0, :, :4].flatten(1).mean(dim=1).clamp(0, 1)

        found = make_explainer("igos++", steps=4).attribute(x, score, constant(0.0))
        kept = make_explainer("igos++", steps=4, l1=12.0).attribute(x, score, constant(0.0))
        assert (found.saliency()[0, :, :3] > 0.5).all() and (kept.saliency()[0] < 0.5).all()
        assert found.diagnostics["weight"].tolist()[0] < 8 and kept.diagnostics["weight"].tolist() == [12, 12]
        alone = make_explainer("igos++", steps=4).attribute(x[1:], score, constant(0.0))
        assert torch.allclose(alone.values[0], found.values[1], atol=1e-4)
        assert alone.diagnostics["weight"][0] == found.diagnostics["weight"][1]

    def test_a_run_may_start_from_a_hidden_cell(self) -> None:
        config = IGOSConfig(start=(2, 1), start_depth=0.75)
        masks = first_masks(objective("igos++"), config, (4, 6))
        assert masks.shape == (2, 2, 4, 6)
        assert (masks[:, :, :2, 3:] == 0.25).all() and masks.sum() == 2 * 2 * (24 - 6 * 0.75)
        found = make_explainer("igos", size=4, iterations=2, steps=2, start=(2, 1))
        assert found.attribute(images(1), class_score(small_cnn(), 0), constant(0.3)).values.shape == (1, 12, 10)
        with pytest.raises(OptionError, match="vectors"):
            found = make_explainer("igos", start=(2, 1))
            found.attribute(torch.rand(1, 4, generator=seed(0)), lambda x: x.sum(dim=1), constant(0.0))

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"variant": "2020"}, "2020"),
            ({"optimizer": "nag"}, "optimizer"),
            ({"steps": 0}, "steps"),
            ({"size": 0}, "at least 1 cell"),
            ({"sigma": 0.0}, "sigma"),
            ({"step0": -1.0}, "step0"),
            ({"l1_schedule": ()}, "l1_schedule"),
            ({"start": (2, 4)}, "start"),
            ({"start_depth": 0.0}, "start_depth"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, settings: dict[str, Any], words: str) -> None:
        with pytest.raises(OptionError, match=words):
            make_explainer("igos", **settings)

    def test_there_is_no_igospp_of_2019(self) -> None:
        with pytest.raises(OptionError, match="released in 2021"):
            make_explainer("igos++", variant="2019").attribute(images(1), class_score(small_cnn(), 0), constant(0.3))

    def test_a_score_that_does_not_move_is_not_explainable_and_leaves_at_once(self) -> None:
        found = make_explainer("igos++", steps=3).attribute(
            images(2), lambda x: x.flatten(1).sum(dim=1) * 0 + 0.25, constant(0.3)
        )
        assert not found.explainable.any() and (found.saliency() == 0).all()
        assert found.diagnostics["iterations"].tolist() == [1, 1]

    def test_the_history_travels_with_the_attribution(self) -> None:
        found = make_explainer("igos+", size=4, iterations=2, steps=2).attribute(
            images(1), class_score(small_cnn(), 0), constant(0.3)
        )
        again = type(found).from_bytes(found.to_bytes())
        assert again.config == found.config and again.method == "igos+"
        assert torch.equal(again.diagnostics["masks"], found.diagnostics["masks"])
        assert again.diagnostics["path_forwards"] == found.diagnostics["path_forwards"]
