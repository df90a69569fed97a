"""The price of a chain against Gaussians by hand, exact oracles and plain loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.diffusion.elbo import decoder_term, negative_elbo, prior_term, transition_term
from tsimpute.diffusion.schedule import make_schedule

levels = st.floats(1e-4, 0.9999)
T = 12


def _gaussian_kl(mean_gap_squared, variance_q, variance_p):
    """Expected KL(N(., q) || N(., p)) for means that differ by a random gap."""
    ratio = variance_q / variance_p
    return 0.5 * (ratio + mean_gap_squared / variance_p - 1 - math.log(ratio))


def _gaussian_clean_error(v, alpha_bar):
    """Var[x_0 | x_t] of x_0 ~ N(., v)."""
    return v * (1 - alpha_bar) / (alpha_bar * v + 1 - alpha_bar)


def _two_point_clean_error(alpha_bar):
    """E (x_0 - E[x_0 | x_t])^2 for x_0 = -1 or 1, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    root, spread = np.sqrt(alpha_bar)[:, None], np.sqrt(1 - alpha_bar)[:, None]
    guess = np.tanh(root * (root + spread * nodes) / spread**2)  # given x_0 = 1
    return (np.square(1 - guess) * weights).sum(axis=1) / weights.sum()


def _all_masks(n):
    masks = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1
    return masks.astype(bool)


@given(levels, st.floats(-3, 3))
@settings(max_examples=50, deadline=None)
def test_prior_term_is_the_divergence_from_the_start(alpha_bar, x0):
    expected = _gaussian_kl(alpha_bar * x0**2, 1 - alpha_bar, 1.0)
    cost = prior_term(np.array(alpha_bar), x0**2)
    assert float(cost) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(levels, levels, st.floats(1e-3, 3))
@settings(max_examples=80, deadline=None)
def test_transition_term_is_the_divergence_of_two_gaussians(one, other, clean_error):
    """q(x_s | x_t, x_0) against the reverse step with the best variance."""
    level, cleaner = min(one, other), max(one, other)
    if cleaner - level < 1e-6:
        return
    step = level / cleaner
    pull = math.sqrt(cleaner) * (1 - step) / (1 - level)
    posterior = (1 - step) * (1 - cleaner) / (1 - level)
    gap = pull**2 * clean_error
    expected = _gaussian_kl(gap, posterior, posterior + gap)
    cost = transition_term(np.array(clean_error), np.array(level), np.array(cleaner))
    assert float(cost) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.25, 2.0])
def test_no_other_variance_is_better(scale):
    """The variance that `transition_term` assumes is the optimal one."""
    level, cleaner, clean_error = 0.3, 0.7, 0.4
    step = level / cleaner
    pull = math.sqrt(cleaner) * (1 - step) / (1 - level)
    posterior = (1 - step) * (1 - cleaner) / (1 - level)
    gap = pull**2 * clean_error
    best = float(transition_term(np.array(clean_error), np.array(level), np.array(cleaner)))
    assert _gaussian_kl(gap, posterior, scale * (posterior + gap)) > best


@pytest.mark.parametrize("clean_error", [0.01, 0.5, 2.0])
def test_decoder_term_is_a_gaussian_likelihood(clean_error):
    """Up to the constant 0.5 (1 + ln 2 pi), with the error as variance."""
    likelihood = 0.5 * (math.log(2 * math.pi * clean_error) + 1)
    cost = float(decoder_term(np.array(clean_error), resolution=0.0))
    assert cost == pytest.approx(likelihood - 0.5 * (1 + math.log(2 * math.pi)))


def test_nobody_pays_for_detail_below_the_resolution():
    perfect = float(decoder_term(np.array(0.0), resolution=0.1))
    assert perfect == pytest.approx(math.log(0.1))


def _by_loop(step_mask, clean_error, alpha_bar, second_moment, resolution):
    kept = [t for t in range(len(step_mask)) if step_mask[t]]
    total = 0.5 * math.log(clean_error[kept[0]] + resolution**2)
    for cleaner, t in pairwise(kept):
        snr = [a / (1 - a) for a in (alpha_bar[cleaner], alpha_bar[t])]
        total += 0.5 * math.log(1 + clean_error[t] * (snr[0] - snr[1]))
    top = alpha_bar[kept[-1]]
    return total + 0.5 * (top * (second_moment - 1) - math.log(1 - top))


@pytest.mark.parametrize("second_moment", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("resolution", [0.0, 0.1])
def test_negative_elbo_equals_a_plain_loop(rng, second_moment, resolution):
    schedule = make_schedule(n_steps=T)
    clean_error = rng.uniform(0.05, 1, T) * (1 - schedule.alpha_bar) / schedule.alpha_bar
    step_masks = rng.random((40, T)) < 0.4
    step_masks[:, 3] |= ~step_masks.any(axis=1)
    step_masks[0], step_masks[1] = True, np.arange(T) == 0
    arguments = (clean_error, schedule.alpha_bar, second_moment, resolution)
    expected = [_by_loop(step_mask, *arguments) for step_mask in step_masks]
    np.testing.assert_allclose(negative_elbo(step_masks, *arguments), expected, rtol=1e-12)


def test_a_network_worse_than_none_can_be_priced():
    """It may predict noise with an error above 1; the price is still a plain number."""
    alpha_bar = make_schedule(n_steps=T).alpha_bar
    clean_error = 3 * (1 - alpha_bar) / alpha_bar
    step_masks = np.eye(T, dtype=bool)
    cost = negative_elbo(step_masks, clean_error, alpha_bar, 1.0)
    expected = [_by_loop(step_mask, clean_error, alpha_bar, 1.0, 0.1) for step_mask in step_masks]
    np.testing.assert_allclose(cost, expected, rtol=1e-12)


@pytest.mark.parametrize("v", [0.05, 1.0, 3.0])
def test_a_gaussian_costs_its_entropy_and_the_start(v):
    """With the exact denoiser every reverse step is exact, so only the start can be wrong.

    The negative ELBO is then the entropy of x_0 plus KL(q(x_T) || N(0, I)), and never less than
    the entropy.
    """
    alpha_bar = make_schedule(n_steps=T).alpha_bar
    step_masks = _all_masks(T)
    clean_error = _gaussian_clean_error(v, alpha_bar)
    cost = negative_elbo(step_masks, clean_error, alpha_bar, v, resolution=0.0)
    top = alpha_bar[T - 1 - np.argmax(step_masks[:, ::-1], axis=1)]
    variance = top * v + 1 - top
    start = 0.5 * (variance - 1 - np.log(variance))
    np.testing.assert_allclose(cost, 0.5 * math.log(v) + start, rtol=0, atol=1e-9)
    assert np.all(cost >= 0.5 * math.log(v) - 1e-9)


def _cost_of_one_more(clean_error, alpha_bar, second_moment):
    """How much each added step changes the cost of each mask."""
    step_masks = _all_masks(T)
    arguments = (clean_error, alpha_bar, second_moment, 0.0)
    cost = negative_elbo(step_masks, *arguments)
    changes = []
    for t in range(T):
        without = ~step_masks[:, t]
        more = step_masks[without]
        more[:, t] = True
        changes.append(negative_elbo(more, *arguments) - cost[without])
    return np.concatenate(changes)


@pytest.mark.parametrize("v", [0.05, 1.0, 3.0])
def test_one_more_step_never_costs_with_the_exact_denoiser_of_a_gaussian(v):
    alpha_bar = make_schedule(n_steps=T).alpha_bar
    clean_error = _gaussian_clean_error(v, alpha_bar)
    assert _cost_of_one_more(clean_error, alpha_bar, v).max() <= 1e-9


def test_one_more_step_always_pays_with_the_exact_denoiser_of_two_points():
    """No Gaussian step is exact there, so that every step is worth something.

    The finest levels are left out: they tell two points apart without any error.
    """
    alpha_bar = make_schedule(n_steps=T, beta_start=0.06).alpha_bar
    changes = _cost_of_one_more(_two_point_clean_error(alpha_bar), alpha_bar, 1.0)
    assert changes.max() < 0
