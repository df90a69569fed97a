"""The step-mask learner against finite differences, brute force and hand calculation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.diffusion.budget import kept_steps_at
from tsimpute.diffusion.step_mask import (
    StepMaskLearner,
    exchange_steps,
    leave_one_out_gradient,
    score_gradient,
)
from tsimpute.errors import InputError


def _all_masks(n):
    return ((np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1).astype(bool)


def _masks_of_size(n, size):
    masks = np.zeros((len(list(combinations(range(n), size))), n), dtype=bool)
    for row, kept in enumerate(combinations(range(n), size)):
        masks[row, list(kept)] = True
    return masks


# ------------------------------------------------------------------------------------- gradients


def _log_probability(step_mask, keep_prob):
    return np.log(np.where(step_mask, keep_prob, 1 - keep_prob)).sum()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_score_is_the_slope_of_the_log_probability(seed):
    rng = np.random.default_rng(seed)
    keep_prob, step_mask = rng.uniform(0.05, 0.95, 6), rng.random(6) < 0.5
    slope = [
        (_log_probability(step_mask, keep_prob + d) - _log_probability(step_mask, keep_prob - d))
        / 2e-6
        for d in 1e-6 * np.eye(6)
    ]
    np.testing.assert_allclose(score_gradient(step_mask, keep_prob), slope, rtol=1e-5)


def test_score_is_finite_where_a_step_is_certain():
    step_mask = np.array([True, False, True, False])
    gradient = score_gradient(step_mask, np.array([1.0, 0.0, 0.0, 1.0]))
    assert gradient[:2].tolist() == [1.0, -1.0]
    assert np.isfinite(gradient).all()


def test_leave_one_out_has_the_sign_of_the_benefit(rng):
    """Steps 2 and 4 help, step 0 harms: descent raises the first two and lowers the last."""
    keep_prob = np.full(6, 0.5)
    step_masks = rng.random((400, 6)) < keep_prob
    step_masks[~step_masks.any(axis=1), 0] = True
    costs = -1.0 * step_masks[:, 2] - 2.0 * step_masks[:, 4] + 1.5 * step_masks[:, 0]
    gradient = leave_one_out_gradient(step_masks, costs, keep_prob)
    assert gradient[4] < gradient[2] < 0 < gradient[0]


def _costs_free_of_size(step_masks, probability, rng):
    """Random costs that size cannot explain, under the distribution of the masks."""
    size = step_masks.sum(axis=1)
    root = np.sqrt(probability)[:, None]
    terms = np.stack([np.ones(len(size)), size, np.log(size)], axis=1)
    costs = rng.normal(size=len(size))
    explained = np.linalg.lstsq(root * terms, root[:, 0] * costs, rcond=None)[0]
    return costs - terms @ explained


def test_leave_one_out_points_along_the_exact_gradient(rng):
    """sum_m p(m) F(m) (m - s) over all masks, which is the gradient of E F in the logits."""
    keep_prob = np.array([0.6, 0.8, 0.5, 0.7, 0.4])
    every = _all_masks(5)
    probability = np.where(every, keep_prob, 1 - keep_prob).prod(axis=1)
    probability /= probability.sum()
    costs = _costs_free_of_size(every, probability, rng)
    exact = (probability * costs) @ (every - keep_prob)
    estimates = []
    for _ in range(400):
        drawn = rng.choice(len(every), size=64, p=probability)
        estimates.append(leave_one_out_gradient(every[drawn], costs[drawn], keep_prob))
    mean = np.mean(estimates, axis=0)
    assert mean @ exact / np.linalg.norm(mean) / np.linalg.norm(exact) > 0.98


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_leave_one_out_does_not_depend_on_the_unit_of_the_cost(rng, unit):
    step_masks = rng.random((30, 5)) < 0.7
    step_masks[~step_masks.any(axis=1), 0] = True
    costs, keep_prob = rng.normal(size=30), np.full(5, 0.7)
    expected = leave_one_out_gradient(step_masks, costs, keep_prob)
    scaled = leave_one_out_gradient(step_masks, unit * costs + unit, keep_prob)
    np.testing.assert_allclose(scaled, expected, atol=1e-8)


def test_leave_one_out_is_zero_where_only_the_size_matters(rng):
    step_masks = rng.random((30, 5)) < 0.7
    step_masks[~step_masks.any(axis=1), 0] = True
    size = step_masks.sum(axis=1)
    for costs in (np.ones(30), 3.0 - 0.5 * size, np.log(size)):
        gradient = leave_one_out_gradient(step_masks, costs, np.full(5, 0.7))
        np.testing.assert_array_equal(gradient, np.zeros(5))


# --------------------------------------------------------------------------------------- learner


def test_starts_with_every_step_kept():
    learner = StepMaskLearner.all_kept(7, 0.1)
    assert learner.keep_prob.tolist() == [1.0] * 7
    assert learner.draw(20, np.random.default_rng(0)).all()
    assert learner.n_undecided() == 0


def test_the_printed_rule_by_hand():
    """One mask with loss 2 at s = 1/2: s - 0.05 * 2 * (2, -2, 2), then the projection."""
    step_mask = np.array([[True, False, True]])
    for budget, expected in ((3.0, [0.3, 0.7, 0.3]), (1.0, [0.2, 0.6, 0.2])):
        learner = StepMaskLearner(np.full(3, 0.5), learning_rate=0.05)
        learner.update(step_mask, np.array([2.0]), budget)
        np.testing.assert_allclose(learner.keep_prob, expected, atol=1e-12)


def test_the_printed_rule_learns_nothing_at_its_start():
    """At s = 1 the score is 1 for every step: all fall by the same amount."""
    learner = StepMaskLearner.all_kept(4, learning_rate=0.1)
    learner.update(np.ones((1, 4), dtype=bool), np.array([0.3]), budget=4.0)
    np.testing.assert_allclose(learner.keep_prob, [0.97] * 4)


def test_several_masks_take_the_leave_one_out_rule(rng):
    learner = StepMaskLearner(np.full(6, 0.6), learning_rate=0.1, floor=0.05)
    step_masks, costs = learner.draw(16, rng), rng.normal(size=16)
    moved = 0.6 - 0.1 * leave_one_out_gradient(step_masks, costs, np.full(6, 0.6))
    learner.update(step_masks, costs, budget=6.0)
    np.testing.assert_allclose(learner.keep_prob, np.clip(moved, 0, 1))


@pytest.mark.parametrize("cost", [np.nan, np.inf])
def test_a_cost_must_be_finite(cost):
    learner = StepMaskLearner.all_kept(3, 0.1)
    with pytest.raises(InputError, match="cost of a step mask must be finite"):
        learner.update(np.ones((1, 3), dtype=bool), np.array([cost]), 3.0)


@pytest.mark.parametrize("floor", [0.0, 0.02])
def test_finds_the_cheapest_steps_of_an_additive_cost(floor):
    rng = np.random.default_rng(3)
    worth = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.0, 0.7, 0.4])
    learner = StepMaskLearner.all_kept(8, learning_rate=0.1, floor=floor)
    if floor == 0:  # at s = 1 every draw is the same mask; start beside it
        learner.keep_prob[:] = 0.9
    for i in range(300):
        step_masks = learner.draw(32, rng)
        learner.update(step_masks, -(step_masks @ worth), kept_steps_at(i / 299, 8, 3))
    assert np.flatnonzero(learner.best_mask(3)).tolist() == [1, 3, 6]
    assert learner.keep_prob.sum() <= 3 + 1e-9


def test_best_mask_gives_ties_to_earlier_steps():
    learner = StepMaskLearner(np.array([0.5, 0.9, 0.5, 0.5, 0.1]), 0.1)
    assert np.flatnonzero(learner.best_mask(1)).tolist() == [1]
    assert np.flatnonzero(learner.best_mask(3)).tolist() == [0, 1, 2]
    assert learner.best_mask(5).all()
    assert learner.best_mask(2).dtype == bool


def test_undecided_steps_lie_strictly_between():
    learner = StepMaskLearner(np.array([0.0, 0.1, 0.11, 0.5, 0.9, 1.0]), 0.1)
    assert learner.n_undecided() == 2
    assert learner.n_undecided(0.2, 0.95) == 2


@pytest.mark.parametrize("keep_prob", [np.zeros(5), np.full(5, 0.01), np.linspace(0, 0.1, 5)])
def test_no_draw_is_empty(rng, keep_prob):
    step_masks = StepMaskLearner(keep_prob, 0.1).draw(500, rng)
    assert step_masks.shape == (500, 5)
    assert step_masks.any(axis=1).all()
    if keep_prob[-1] > keep_prob[0]:  # an empty draw keeps the likeliest step
        assert step_masks[:, -1].mean() > 0.5


@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_draws_have_the_probabilities_within_the_floor(rng, floor):
    keep_prob = np.array([0.0, 0.3, 0.9, 1.0, 1.0])
    frequency = StepMaskLearner(keep_prob, 0.1, floor).draw(20_000, rng).mean(axis=0)
    np.testing.assert_allclose(frequency, np.clip(keep_prob, floor, 1 - floor), atol=0.02)


# -------------------------------------------------------------------------------------- exchange


def test_exchanges_reach_the_optimum_of_an_additive_cost(rng):
    worth = rng.permutation(8) * 0.1

    def price(step_masks):
        return -(step_masks @ worth)

    every = _masks_of_size(8, 3)
    best = every[np.argmin(price(every))]
    for start in every[::5]:
        assert np.array_equal(exchange_steps(start, price), best)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_exchanges_keep_the_count_and_leave_no_gain(seed, size):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=2**6)

    def price(step_masks):
        return table[step_masks @ (1 << np.arange(6))]

    start = rng.permutation(np.arange(6) < size)
    before = start.copy()
    found = exchange_steps(start, price, least_gain=0.05)
    assert np.array_equal(start, before)
    assert found.sum() == size
    assert price(found[None])[0] <= price(start[None])[0]
    near = [m for m in _masks_of_size(6, size) if (m != found).sum() == 2]
    assert all(price(m[None])[0] > price(found[None])[0] - 0.05 for m in near)


def test_a_small_gain_does_not_overrule_the_probabilities():
    start = np.array([True, False])
    worth = np.array([0.0, 0.009])
    assert np.array_equal(exchange_steps(start, lambda masks: -(masks @ worth)), start)
    assert not np.array_equal(exchange_steps(start, lambda m: -(m @ worth), 0.001), start)


def test_a_mask_with_every_step_cannot_be_exchanged():
    full = np.ones(4, dtype=bool)
    assert np.array_equal(exchange_steps(full, lambda masks: masks.sum(axis=1) * 1.0), full)


@pytest.mark.parametrize("worst", [np.nan, np.inf])
def test_exchanges_end_where_costs_are_no_numbers(worst):
    start = np.array([True, False, True, False, False])
    assert np.array_equal(exchange_steps(start, lambda masks: np.full(len(masks), worst)), start)
