"""Chosen steps against every subset, known small cases and each other."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.diffusion.elbo import negative_elbo
from tsimpute.diffusion.schedule import make_schedule, spaced_indices
from tsimpute.diffusion.step_selection import (
    align_steps,
    analytic_dpm_steps,
    least_elbo_steps,
    quadratic_steps,
    uniform_steps,
)
from tsimpute.errors import InputError

T = 9
seeds = st.integers(0, 10**6)
counts = st.integers(1, T)


def _chain(seed, n_steps=T):
    """A random chain, errors of its clean values and powers of its predicted noise."""
    rng = np.random.default_rng(seed)
    alpha_bar = np.cumprod(1 - rng.uniform(0.01, 0.7, n_steps))
    noise_error = rng.uniform(0.02, 1.0, n_steps)
    return alpha_bar, noise_error * (1 - alpha_bar) / alpha_bar, rng.uniform(0.02, 0.99, n_steps)


def _subsets(n_kept, n_steps=T, first=None, top=None):
    every = combinations(range(n_steps), n_kept)
    return [s for s in every if first in (None, s[0]) and top in (None, s[-1])]


def _elbo(subsets, clean_error, alpha_bar, second_moment=1.0, resolution=0.1):
    step_masks = np.zeros((len(subsets), len(alpha_bar)), dtype=bool)
    for row, steps in enumerate(subsets):
        step_masks[row, list(steps)] = True
    return negative_elbo(step_masks, clean_error, alpha_bar, second_moment, resolution)


def _optimal_variance_cost(steps, alpha_bar, noise_power):
    """Half the sum of ln(1 - b Gamma / (1 - A)), as the paper writes it."""
    total = 0.0
    for cleaner, t in pairwise(steps):
        added = 1 - alpha_bar[t] / alpha_bar[cleaner]
        total += 0.5 * math.log(1 - added * noise_power[t] / (1 - alpha_bar[t]))
    return total


def _held_answer_cost(steps, alpha_bar, clean_error):
    snr = alpha_bar / (1 - alpha_bar)
    return sum(0.5 * clean_error[t] * (snr[s] - snr[t]) for s, t in pairwise(steps))


def _gaussian_error(alpha_bar, v=0.5):
    """Var[x_0 | x_t] of x_0 ~ N(., v)."""
    return v * (1 - alpha_bar) / (alpha_bar * v + 1 - alpha_bar)


# -------------------------------------------------------------------------------------- by rule


@pytest.mark.parametrize(
    ("n_kept", "top", "expected"),
    [
        (1, None, [40]),
        (2, None, [20, 40]),
        (5, None, [8, 16, 24, 32, 40]),
        (3, 49, [16, 33, 49]),
        (3, 2, [0, 1, 2]),
    ],
)
def test_uniform_steps_of_known_chains(n_kept, top, expected):
    assert uniform_steps(50, n_kept, top).tolist() == expected


@pytest.mark.parametrize(
    ("n_kept", "top", "expected"),
    [
        (1, None, [40]),
        (2, None, [10, 40]),
        (5, None, [2, 6, 14, 26, 40]),
        (4, 48, [3, 12, 27, 48]),
        (3, 2, [0, 1, 2]),
    ],
)
def test_quadratic_steps_of_known_chains(n_kept, top, expected):
    assert quadratic_steps(50, n_kept, top).tolist() == expected


@pytest.mark.parametrize("rule", [uniform_steps, quadratic_steps])
@given(st.integers(1, 60), st.data())
@settings(max_examples=30, deadline=None)
def test_rules_give_distinct_steps_of_the_chain_that_end_at_the_top(rule, n_steps, data):
    n_kept = data.draw(st.integers(1, n_steps))
    top = data.draw(st.integers(n_kept - 1, n_steps - 1) | st.none())
    steps = rule(n_steps, n_kept, top)
    assert steps.dtype == np.int64
    assert len(steps) == n_kept
    assert np.all(np.diff(steps) > 0)
    assert steps[0] >= 0
    assert steps[-1] == (spaced_indices(n_steps, n_kept)[-1] if top is None else top)


def test_quadratic_steps_lie_denser_at_the_clean_end():
    assert np.all(np.diff(quadratic_steps(1000, 20), n=2) >= -1)  # rounding
    assert np.diff(quadratic_steps(1000, 20))[0] < np.diff(uniform_steps(1000, 20))[0] / 5


@pytest.mark.parametrize("rule", [uniform_steps, quadratic_steps])
@pytest.mark.parametrize(("n_kept", "top"), [(0, None), (51, None), (-1, 40), (5, 3), (5, 50)])
def test_impossible_numbers_of_steps_are_errors_of_the_rules(rule, n_kept, top):
    with pytest.raises(InputError, match=r"^(n_kept|top)="):
        rule(50, n_kept, top)


# ------------------------------------------------------------------- dynamic programming: the ELBO


@given(seeds, counts, st.floats(0.2, 3.0), st.sampled_from([0.01, 0.1, 1.0]))
@settings(max_examples=40, deadline=None)
def test_least_elbo_steps_are_the_best_of_all_subsets(seed, n_kept, second_moment, resolution):
    alpha_bar, clean_error, _ = _chain(seed)
    steps = least_elbo_steps(alpha_bar, clean_error, n_kept, second_moment, resolution)
    arguments = (clean_error, alpha_bar, second_moment, resolution)
    assert steps.dtype == np.int64
    assert len(steps) == n_kept
    assert np.all(np.diff(steps) > 0)
    best = _elbo(_subsets(n_kept), *arguments).min()
    assert _elbo([steps], *arguments)[0] == pytest.approx(best, rel=1e-10, abs=1e-12)


@given(seeds, st.data())
@settings(max_examples=40, deadline=None)
def test_least_elbo_steps_with_pinned_ends_are_the_best_of_those_subsets(seed, data):
    alpha_bar, clean_error, _ = _chain(seed)
    first, top = data.draw(st.sampled_from([(0, T - 1), (2, None), (None, 5), (1, 6), (3, 4)]))
    n_kept = data.draw(st.integers(2, (T - 1 if top is None else top) - (first or 0) + 1))
    steps = least_elbo_steps(alpha_bar, clean_error, n_kept, ends=(first, top))
    assert first in (None, steps[0])
    assert top in (None, steps[-1])
    best = _elbo(_subsets(n_kept, first=first, top=top), clean_error, alpha_bar).min()
    found = _elbo([steps], clean_error, alpha_bar)[0]
    assert found == pytest.approx(best, rel=1e-10, abs=1e-12)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_one_more_step_between_the_ends_never_costs_with_possible_errors(seed):
    """The best guess gains at least as much precision as the state: 1/e - snr grows to the left."""
    rng = np.random.default_rng(seed)
    alpha_bar, _, _ = _chain(seed)
    gained = np.cumsum(rng.uniform(0, 2, T))[::-1]
    clean_error = 1 / (alpha_bar / (1 - alpha_bar) + gained)
    cost = [
        _elbo(
            [least_elbo_steps(alpha_bar, clean_error, n, ends=(0, T - 1))], clean_error, alpha_bar
        )[0]
        for n in range(2, T + 1)
    ]
    assert np.all(np.diff(cost) <= 1e-12)


def test_one_more_step_never_costs_with_free_ends_and_the_exact_denoiser():
    alpha_bar = make_schedule(n_steps=30).alpha_bar
    clean_error = _gaussian_error(alpha_bar)
    cost = [
        _elbo(
            [least_elbo_steps(alpha_bar, clean_error, n, 0.5, 0.0)], clean_error, alpha_bar, 0.5, 0
        )[0]
        for n in range(1, 31)
    ]
    assert np.all(np.diff(cost) <= 1e-9)


def test_a_single_step_is_a_compromise_of_start_and_decoder():
    alpha_bar = make_schedule().alpha_bar
    clean_error = _gaussian_error(alpha_bar, 0.3) + 0.02 * (1 - alpha_bar) / alpha_bar
    (step,) = least_elbo_steps(alpha_bar, clean_error, 1)
    assert 10 < step < 49
    assert least_elbo_steps(alpha_bar, clean_error, 1, ends=(7, 7)).tolist() == [7]
    assert least_elbo_steps(alpha_bar, clean_error, 1, ends=(None, 7)).tolist() == [7]


def test_a_step_with_a_bad_answer_is_avoided():
    alpha_bar = make_schedule().alpha_bar
    clean_error = 0.3 * (1 - alpha_bar) / alpha_bar
    before = least_elbo_steps(alpha_bar, clean_error, 4)
    clean_error[before] *= 1e3
    assert not set(before) & set(least_elbo_steps(alpha_bar, clean_error, 4))


# ------------------------------------------------------------- dynamic programming: Analytic-DPM


@given(seeds, st.integers(2, T))
@settings(max_examples=40, deadline=None)
def test_analytic_dpm_steps_are_the_best_of_all_subsets(seed, n_kept):
    alpha_bar, _, noise_power = _chain(seed)
    steps = analytic_dpm_steps(alpha_bar, noise_power, n_kept)
    assert steps.dtype == np.int64
    assert (steps[0], steps[-1], len(steps)) == (0, T - 1, n_kept)
    costs = [
        _optimal_variance_cost(subset, alpha_bar, noise_power)
        for subset in _subsets(n_kept, first=0, top=T - 1)
    ]
    found = _optimal_variance_cost(steps, alpha_bar, noise_power)
    assert found == pytest.approx(min(costs), rel=1e-10, abs=1e-12)


@given(seeds, st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_both_programmes_agree_where_the_noise_power_gives_the_error(seed, n_kept):
    """Up to the ends, ln(1 - b Gamma / (1 - A)) is ln(1 + e (snr - snr)) with Bao's e."""
    alpha_bar, _, noise_power = _chain(seed)
    clean_error = (1 - noise_power) * (1 - alpha_bar) / alpha_bar
    analytic = analytic_dpm_steps(alpha_bar, noise_power, n_kept, ends=(1, 7))
    least = least_elbo_steps(alpha_bar, clean_error, n_kept, ends=(1, 7))
    np.testing.assert_array_equal(analytic, least)


def test_the_two_costs_differ_by_the_ends_only():
    alpha_bar, _, noise_power = _chain(3)
    clean_error = (1 - noise_power) * (1 - alpha_bar) / alpha_bar
    subsets = _subsets(5, first=0, top=T - 1)
    analytic = [_optimal_variance_cost(steps, alpha_bar, noise_power) for steps in subsets]
    gap = _elbo(subsets, clean_error, alpha_bar) - analytic
    assert np.ptp(gap) < 1e-12


def test_noise_power_above_one_counts_as_one():
    alpha_bar, _, noise_power = _chain(4)
    noise_power[5:] = 1.0
    expected = analytic_dpm_steps(alpha_bar, noise_power, 5)
    noise_power[5:] = [1.01, 1.5, 7.0, 1.2]
    np.testing.assert_array_equal(analytic_dpm_steps(alpha_bar, noise_power, 5), expected)


# ------------------------------------------------------------------------------ align your steps


@given(seeds, counts, st.data())
@settings(max_examples=40, deadline=None)
def test_align_never_ends_worse_than_its_start_and_keeps_its_ends(seed, n_kept, data):
    alpha_bar, clean_error, _ = _chain(seed)
    start = data.draw(st.sampled_from(_subsets(n_kept)))
    steps = align_steps(alpha_bar, clean_error, n_kept, start)
    assert steps.dtype == np.int64
    assert len(steps) == n_kept
    assert np.all(np.diff(steps) > 0)
    assert (steps[0], steps[-1]) == (start[0], start[-1])
    before = _held_answer_cost(start, alpha_bar, clean_error)
    assert _held_answer_cost(steps, alpha_bar, clean_error) <= before + 1e-12


@given(seeds, st.integers(3, T - 1))
@settings(max_examples=30, deadline=None)
def test_no_single_move_improves_aligned_steps(seed, n_kept):
    alpha_bar, clean_error, _ = _chain(seed)
    steps = align_steps(alpha_bar, clean_error, n_kept).tolist()
    cost = _held_answer_cost(steps, alpha_bar, clean_error)
    for i in range(1, n_kept - 1):
        for step in range(steps[i - 1] + 1, steps[i + 1]):
            other = [*steps[:i], step, *steps[i + 1 :]]
            assert _held_answer_cost(other, alpha_bar, clean_error) >= cost * (1 - 1e-9)


@given(seeds, st.integers(0, T - 3))
@settings(max_examples=20, deadline=None)
def test_align_with_one_interior_step_is_exact(seed, first):
    alpha_bar, clean_error, _ = _chain(seed)
    steps = align_steps(alpha_bar, clean_error, 3, [first, first + 1, T - 1])
    best = min(
        _held_answer_cost(subset, alpha_bar, clean_error)
        for subset in _subsets(3, first=first, top=T - 1)
    )
    assert _held_answer_cost(steps, alpha_bar, clean_error) == pytest.approx(best)


def test_align_is_near_the_exact_optimum_with_the_exact_denoiser():
    alpha_bar = make_schedule(n_steps=20).alpha_bar
    clean_error = _gaussian_error(alpha_bar)
    steps = align_steps(alpha_bar, clean_error, 5, [0, 1, 2, 3, 19])
    costs = [
        _held_answer_cost(subset, alpha_bar, clean_error)
        for subset in _subsets(5, n_steps=20, first=0, top=19)
    ]
    assert _held_answer_cost(steps, alpha_bar, clean_error) <= 1.02 * min(costs)


def test_align_starts_from_the_quadratic_steps_and_leaves_them_alone():
    alpha_bar = make_schedule().alpha_bar
    start = quadratic_steps(50, 6)
    given_start = start.copy()
    clean_error = _gaussian_error(alpha_bar)
    steps = align_steps(alpha_bar, clean_error, 6)
    np.testing.assert_array_equal(steps, align_steps(alpha_bar, clean_error, 6, given_start))
    np.testing.assert_array_equal(given_start, start)


# --------------------------------------------------------------------------------------- errors

CHOICES = [least_elbo_steps, analytic_dpm_steps, align_steps]


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize("n_kept", [-1, 0, T + 1])
def test_impossible_numbers_of_steps_are_errors(choose, n_kept):
    alpha_bar, clean_error, _ = _chain(0)
    with pytest.raises(InputError, match=f"n_kept={n_kept} "):
        choose(alpha_bar, clean_error, n_kept)


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_a_hole_in_the_table_is_an_error_that_names_the_step(choose, wrong):
    alpha_bar, clean_error, _ = _chain(0)
    clean_error[4] = wrong
    with pytest.raises(InputError, match="at step 4"):
        choose(alpha_bar, clean_error, 3)


@pytest.mark.parametrize("choose", CHOICES)
def test_tables_that_do_not_fit_are_errors(choose):
    alpha_bar, clean_error, _ = _chain(0)
    with pytest.raises(InputError, match=r"got shape \(8,\), expected \(9,\)"):
        choose(alpha_bar, clean_error[1:], 3)
    for wrong in ([], alpha_bar[::-1], alpha_bar - 0.99, [[0.5]], [math.nan]):
        with pytest.raises(InputError, match="alpha_bar must fall"):
            choose(wrong, np.ones(len(wrong)), 1)


@pytest.mark.parametrize(
    ("ends", "n_kept"), [((0, 8), 1), ((2, 4), 4), ((2, None), 8), ((None, 3), 5)]
)
def test_ends_that_leave_no_such_chain_are_errors(ends, n_kept):
    alpha_bar, clean_error, _ = _chain(0)
    with pytest.raises(InputError, match=r"n_kept=\d cannot be used with ends"):
        least_elbo_steps(alpha_bar, clean_error, n_kept, ends=ends)


@pytest.mark.parametrize("ends", [(5, 3), (-1, 4), (0, T), (None, T), (-2, None)])
def test_ends_outside_the_chain_are_errors(ends):
    alpha_bar, clean_error, _ = _chain(0)
    with pytest.raises(InputError, match="ends="):
        least_elbo_steps(alpha_bar, clean_error, 2, ends=ends)


def test_analytic_steps_need_both_ends():
    alpha_bar, _, noise_power = _chain(0)
    with pytest.raises(InputError, match="expected 2 to 9"):
        analytic_dpm_steps(alpha_bar, noise_power, 1)


@pytest.mark.parametrize(
    "start", [[0, 1], [0, 1, T], [-1, 2, 3], [3, 2, 5], [1, 1, 2], [[0, 1, 2]]]
)
def test_a_start_that_is_no_chain_is_an_error(start):
    alpha_bar, clean_error, _ = _chain(0)
    with pytest.raises(InputError, match="start: got"):
        align_steps(alpha_bar, clean_error, 3, start)
