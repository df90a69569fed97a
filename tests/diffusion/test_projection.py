"""Projection onto the capped simplex against bisection, its optimality conditions, known cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.diffusion.projection import project_capped_simplex
from tsimpute.errors import InputError

score_lists = st.lists(
    st.floats(-5, 5, allow_nan=False) | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=12
)
budgets = st.floats(0, 12)
quick = settings(max_examples=150, deadline=None)


def _by_bisection(scores, budget):
    scores = np.asarray(scores, dtype=float)
    low, high = 0.0, max(float(scores.max()), 0.0)
    if np.clip(scores, 0, 1).sum() <= budget:
        return np.clip(scores, 0, 1)
    for _ in range(200):
        middle = 0.5 * (low + high)
        if np.clip(scores - middle, 0, 1).sum() > budget:
            low = middle
        else:
            high = middle
    return np.clip(scores - high, 0, 1)


@pytest.mark.parametrize(
    ("scores", "budget", "expected"),
    [
        ([0.2, 0.7], 1.0, [0.2, 0.7]),  # fits
        ([-3.0, 4.0], 1.0, [0.0, 1.0]),  # only clipped
        ([1.0, 1.0, 1.0, 1.0], 1.0, [0.25, 0.25, 0.25, 0.25]),
        ([0.9, 0.5], 1.0, [0.7, 0.3]),
        ([3.0, 0.9, 0.5], 2.0, [1.0, 0.7, 0.3]),
        ([5.0, 1.2, 1.2], 2.0, [1.0, 0.5, 0.5]),  # not what clipping first would give
        ([0.5, 0.6], 0.0, [0.0, 0.0]),
        ([7.0], 0.3, [0.3]),
    ],
)
def test_known_projections(scores, budget, expected):
    np.testing.assert_allclose(project_capped_simplex(scores, budget), expected, atol=1e-12)


@given(score_lists, budgets)
@quick
def test_equals_bisection(scores, budget):
    projected = project_capped_simplex(scores, budget)
    np.testing.assert_allclose(projected, _by_bisection(scores, budget), atol=1e-9)


@given(score_lists, budgets)
@quick
def test_is_feasible(scores, budget):
    projected = project_capped_simplex(scores, budget)
    assert projected.dtype == np.float64
    assert np.all((projected >= 0) & (projected <= 1))
    assert projected.sum() <= budget + 1e-9


@given(score_lists, budgets)
@quick
def test_meets_the_optimality_conditions(scores, budget):
    """One v >= 0 explains every entry, and it is 0 unless the budget is used up."""
    scores = np.asarray(scores)
    projected = project_capped_simplex(scores, budget)
    inside = (projected > 1e-9) & (projected < 1 - 1e-9)
    pressure = scores - projected  # v on entries inside (0, 1)
    if inside.any():
        v = pressure[inside].mean()
        assert v >= -1e-9
        np.testing.assert_allclose(pressure[inside], v, atol=1e-8)
        assert np.all(scores[projected <= 1e-9] <= v + 1e-8)
        assert np.all(scores[projected >= 1 - 1e-9] >= v + 1 - 1e-8)
    if projected.sum() < budget - 1e-9:
        np.testing.assert_allclose(projected, np.clip(scores, 0, 1), atol=1e-12)


@given(score_lists, budgets, st.integers(0, 2**32 - 1))
@quick
def test_no_feasible_point_is_nearer(scores, budget, seed):
    scores = np.asarray(scores)
    distance = np.square(project_capped_simplex(scores, budget) - scores).sum()
    for _ in range(5):
        other = np.random.default_rng(seed).random(len(scores))
        other *= min(1.0, budget / other.sum())
        assert distance <= np.square(other - scores).sum() + 1e-9


@given(score_lists, budgets)
@quick
def test_a_second_projection_changes_nothing(scores, budget):
    once = project_capped_simplex(scores, budget)
    np.testing.assert_allclose(project_capped_simplex(once, budget), once, atol=1e-9)


@given(score_lists, budgets)
@quick
def test_keeps_the_order_of_the_scores(scores, budget):
    projected = project_capped_simplex(scores, budget)
    assert np.all(np.diff(projected[np.argsort(scores, kind="stable")]) >= 0)


def test_after_a_violent_step_the_budget_still_holds():
    """The score of an improbable draw is up to 1e12 times its cost."""
    scores = np.array([1e9, -1e9, 0.5, 1e9 - 0.25, 1e9])
    projected = project_capped_simplex(scores, 2.0)
    assert projected.sum() == pytest.approx(2.0, abs=1e-6)
    np.testing.assert_allclose(projected, [0.75, 0, 0, 0.5, 0.75], atol=1e-6)


@pytest.mark.parametrize(
    ("scores", "budget"),
    [([0.5, np.nan], 1.0), ([np.inf, 0.0], 1.0), ([0.5, 0.5], -0.1)],
)
def test_what_cannot_be_projected(scores, budget):
    with pytest.raises(InputError, match="scores must be finite and budget >= 0"):
        project_capped_simplex(scores, budget)


@pytest.mark.parametrize(
    ("scores", "budget", "expected"),
    [
        ([1e17, 1e17], 1.0, [0.5, 0.5]),
        ([1e300, -1e300, 1e300], 1.5, [0.75, 0, 0.75]),
        ([1e17, -1e17, 0.3], 0.5, [0.5, 0, 0]),
    ],
)
def test_scores_may_be_any_finite_numbers(scores, budget, expected):
    np.testing.assert_allclose(project_capped_simplex(scores, budget), expected, atol=1e-9)


@pytest.mark.parametrize("largest", [1e12, 1e17])
def test_small_scores_decide_beside_a_huge_one(largest):
    projected = project_capped_simplex([largest, 1.6, 1.3], 2.5)
    np.testing.assert_allclose(projected, [1, 0.9, 0.6], atol=1e-9)
