"""Intervals and tests over images hold what their names say, checked against slow definitions and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.decomposition import KernelPCA

from moorelens.errors import InvariantError, OptionError
from moorelens.saliency.studies.embedding import landscape, relative, similarity
from moorelens.saliency.studies.statistics import holm, paired_tests, sign_flip_p, spread


def test_the_exact_test_counts_all_sign_patterns() -> None:
    values = [3.0, -1.0, 2.0, 2.5, 0.0]
    total = abs(sum(values))
    patterns = itertools.product((1, -1), repeat=len(values))
    slow = np.mean([abs(sum(s * v for s, v in zip(p, values, strict=True))) >= total for p in patterns])
    assert sign_flip_p(values) == slow


def test_many_differences_are_tried_by_chance_and_repeatably() -> None:
    rng = np.random.default_rng(0)
    none, clear = rng.normal(0, 1, 60), rng.normal(1, 1, 60)
    assert sign_flip_p(none) == sign_flip_p(none)
    assert sign_flip_p(none) > 0.05
    assert sign_flip_p(clear) == pytest.approx(1 / 10_001)
    assert sign_flip_p(-clear) == sign_flip_p(clear)


def test_equal_models_differ_by_nothing() -> None:
    (test,) = paired_tests({"a": [1, 2, 3], "b": [1, 2, 3]})
    assert (test.p, test.p_holm, test.difference.mean, test.median) == (1.0, 1.0, 0.0, 0.0)


def test_under_no_difference_p_is_uniform() -> None:
    rng = np.random.default_rng(1)
    p = np.array([sign_flip_p(rng.normal(size=8)) for _ in range(400)])
    assert abs(float(np.mean(p <= 0.05)) - 0.05) < 0.03
    assert abs(float(np.mean(p <= 0.5)) - 0.5) < 0.08


def test_pairs_come_in_the_order_of_the_names_with_their_signs() -> None:
    found = paired_tests({"a": [5.0, 6.0, 9.0], "b": [1.0, 2.0, 2.0], "c": [0.0, 0.0, 0.0]})
    assert [(t.first, t.second) for t in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found[0].difference.mean == 5.0
    assert found[0].median == 4.0
    assert found[0].p == 0.25  # of 8 patterns the observed one and its mirror
    assert all(t.p_holm == 0.75 for t in found)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_models_measured_on_unlike_images_are_not_compared() -> None:
    with pytest.raises(InvariantError, match="same images"):
        paired_tests({"a": [1.0], "b": [1.0, 2.0]})


def test_a_median_stands_beside_its_mean() -> None:
    found = spread([1, 2, 3, 4, 100])
    assert found.mean.mean == 22
    assert found.median == 3
    assert found.median_low is not None
    assert found.median_high is not None
    assert 1 <= found.median_low <= 3 <= found.median_high <= 100
    assert spread([7.0]).median_low is None
    assert spread([1, 2, 3, 4, 100]) == found


def kernel(seed: int, count: int) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 6))
    return points @ points.T


@pytest.mark.parametrize("count", [3, 4, 7])
def test_the_map_is_kernel_pca(count: int) -> None:
    similar = kernel(count, count)
    found = np.array(landscape(similar).points)
    other = KernelPCA(n_components=2, kernel="precomputed", eigen_solver="dense").fit_transform(similar)
    for axis in range(2):
        sign = np.sign(found[:, axis] @ other[:, axis])
        assert np.allclose(found[:, axis], sign * other[:, axis], atol=1e-8)


def test_three_models_lie_at_their_true_distances() -> None:
    similar = kernel(0, 3)
    points = np.array(landscape(similar).points)
    for a, b in itertools.combinations(range(3), 2):
        squared = similar[a, a] + similar[b, b] - 2 * similar[a, b]
        assert np.sum((points[a] - points[b]) ** 2) == pytest.approx(squared)
    assert landscape(similar).shown == pytest.approx(1.0)
    assert landscape(similar).negative < 1e-9


def test_identical_models_lie_on_one_point_and_order_does_not_move_them() -> None:
    similar = np.array([[1.0, 1.0, 0.6, 0.5], [1.0, 1.0, 0.6, 0.5], [0.6, 0.6, 1.0, 0.7], [0.5, 0.5, 0.7, 1.0]])
    points = np.array(landscape(similar).points)
    assert np.allclose(points[0], points[1])
    order = [3, 2, 0, 1]
    again = np.array(landscape(similar[np.ix_(order, order)]).points)
    assert np.allclose(np.abs(again), np.abs(points[order]))


def test_a_similarity_that_is_no_kernel_says_so() -> None:
    found = landscape([[1.0, 1.3, 0.0], [1.3, 1.0, 1.3], [0.0, 1.3, 1.0]])
    assert found.negative > 0.1
    assert landscape(np.ones((4, 4))).points == ((0.0, 0.0),) * 4
    assert landscape([[1.0]]).points == ((0.0, 0.0),)
    with pytest.raises(InvariantError, match="symmetric"):
        landscape([[1.0, 0.2], [0.3, 1.0]])


def test_scores_are_relative_to_the_testers_own_map() -> None:
    matrix = np.array([[0.8, 0.3], [0.4, 0.6], [0.2, 0.3]])
    assert np.allclose(relative(matrix), [[1.0, 0.5], [0.5, 1.0], [0.25, 0.5]])
    assert np.allclose(similarity(matrix[:2]), [[1.0, 0.5], [0.5, 1.0]])
    with pytest.raises(OptionError, match="own map"):
        relative([[0.0, 1.0], [1.0, 1.0]])
    with pytest.raises(InvariantError, match="square"):
        similarity(matrix)
