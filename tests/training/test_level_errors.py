"""The running table of errors by diffusion step."""

from __future__ import annotations

import numpy as np
import pytest

from tsimpute.diffusion.elbo import negative_elbo
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.training.level_errors import (
    MEMORY,
    MOST_SIGNAL_AT_START,
    SERIES_ERROR_CEILING,
    SIGNAL_PENALTY,
    LevelErrors,
)

ALPHA_BAR = make_schedule(n_steps=12).alpha_bar


def test_knows_at_first_what_a_standard_normal_costs():
    """Its exact denoiser has noise error A and clean error 1 - A."""
    table = LevelErrors.unknown(ALPHA_BAR)
    np.testing.assert_array_equal(table.noise_error, ALPHA_BAR)
    np.testing.assert_array_equal(table.n_seen, np.ones(12))
    table.noise_error[0] = 0.5
    assert ALPHA_BAR[0] != 0.5  # a table of its own


def test_the_mean_is_a_running_one_that_fades(rng):
    table = LevelErrors.unknown(ALPHA_BAR)
    mean, n = ALPHA_BAR[4], 1
    for _ in range(3 * MEMORY):
        seen = rng.uniform(0, 1)
        table.add(np.array([4]), np.array([seen * 7]), np.array([7]))
        n = min(n + 1, MEMORY)
        mean += (seen - mean) / n
        assert table.noise_error[4] == pytest.approx(mean)
    assert table.n_seen[4] == MEMORY
    others = np.arange(12) != 4
    np.testing.assert_array_equal(table.noise_error[others], ALPHA_BAR[others])


def test_up_to_its_memory_it_is_the_plain_mean(rng):
    table = LevelErrors.unknown(ALPHA_BAR)
    seen = rng.uniform(0, 1, MEMORY - 1)
    table.add(np.full(MEMORY - 1, 2), seen, np.ones(MEMORY - 1))  # one step many times
    assert table.noise_error[2] == pytest.approx(np.mean([ALPHA_BAR[2], *seen]))


def test_a_series_without_target_cells_says_nothing():
    table = LevelErrors.unknown(ALPHA_BAR)
    table.add(np.array([3]), np.array([0.0]), np.array([0]))
    assert table.noise_error[3] == ALPHA_BAR[3]
    assert table.n_seen[3] == 1


def test_an_impossible_record_does_not_rule_the_table():
    table = LevelErrors.unknown(ALPHA_BAR)
    table.add(np.array([3]), np.array([1e9]), np.array([1]))
    assert table.noise_error[3] == pytest.approx((ALPHA_BAR[3] + SERIES_ERROR_CEILING) / 2)


@pytest.mark.parametrize("n_steps", [1, 3, 4, 5, 12])
def test_smoothing_keeps_a_constant(n_steps):
    alpha_bar = make_schedule(n_steps=n_steps).alpha_bar
    table = LevelErrors(alpha_bar, np.full(n_steps, 0.3), np.arange(1.0, n_steps + 1))
    clean = table.clean_error()
    np.testing.assert_allclose(clean, 0.3 * (1 - alpha_bar) / alpha_bar, rtol=1e-9)


def test_smoothing_is_a_weighted_mean_of_logarithms(rng):
    noise_error, n_seen = rng.uniform(0.1, 0.9, 12), rng.uniform(1, MEMORY, 12)
    clean = LevelErrors(ALPHA_BAR, noise_error, n_seen).clean_error()
    for t in range(12):
        near = [u for u in range(12) if abs(u - t) <= 2]
        weight = [n_seen[u] * 0.5 ** abs(u - t) for u in near]
        mean = np.average(np.log(noise_error[near]), weights=weight)
        expected = np.exp(mean) * (1 - ALPHA_BAR[t]) / ALPHA_BAR[t]
        assert clean[t] == pytest.approx(expected, rel=1e-6)


def test_no_step_is_worse_than_no_network():
    """An error above 1 is that of a network that has not learned the step yet."""
    table = LevelErrors(ALPHA_BAR, np.full(12, 2.5), np.ones(12))
    np.testing.assert_allclose(table.clean_error(), (1 - ALPHA_BAR) / ALPHA_BAR, rtol=1e-9)


def test_the_price_is_the_negative_elbo(rng):
    table = LevelErrors(ALPHA_BAR, rng.uniform(0.1, 2.0, 12), np.ones(12))
    step_masks = np.concatenate([np.eye(12, dtype=bool), np.ones((1, 12), dtype=bool)])
    expected = negative_elbo(step_masks, table.clean_error(), ALPHA_BAR, second_moment=1.0)
    alone, all_steps = table.price(step_masks)[:12], table.price(step_masks)[12]
    excess = np.maximum(0, ALPHA_BAR - MOST_SIGNAL_AT_START)  # at the only kept step
    np.testing.assert_allclose(alone, expected[:12] + SIGNAL_PENALTY * excess)
    assert all_steps == expected[12]


def test_a_start_with_much_signal_is_never_the_cheapest(rng):
    """Pure noise is no start for a chain whose noisiest level still shows the values."""
    table = LevelErrors(ALPHA_BAR, rng.uniform(0.1, 1.0, 12), np.ones(12))
    step_masks = np.eye(12, dtype=bool)
    chosen = int(np.argmin(table.price(step_masks)))
    assert ALPHA_BAR[chosen] <= MOST_SIGNAL_AT_START


def test_a_chain_that_never_gets_noisier_is_not_punished(rng):
    gentle = np.array([0.9, 0.8, 0.6])
    table = LevelErrors(gentle, np.full(3, 0.5), np.ones(3))
    step_masks = np.array([[False, False, True], [True, True, True]])
    expected = negative_elbo(step_masks, table.clean_error(), gentle, second_moment=1.0)
    np.testing.assert_array_equal(table.price(step_masks), expected)
