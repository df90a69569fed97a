"""Schedules against CSDI's constants, and grids against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.diffusion.schedule import (
    NoiseSchedule,
    TimeGrid,
    half_log_snr,
    make_schedule,
    quad_beta,
    spaced_indices,
)
from tsimpute.errors import InputError

# The reference implementation of CSDI (Tashiro et al. 2021): step -> beta, product of 1 - beta.
CSDI_BETA = {
    0: 0.00010000,
    1: 0.00058693,
    2: 0.00147866,
    3: 0.00277518,
    4: 0.00447650,
    9: 0.01905505,
    19: 0.07857185,
    24: 0.12351011,
    29: 0.17856828,
    39: 0.31904433,
    48: 0.48008285,
    49: 0.50000000,
}
CSDI_ALPHA_BAR = {
    0: 0.9999,
    1: 0.99931313,
    2: 0.99783548,
    3: 0.99506631,
    4: 0.99061189,
    9: 0.93058552,
    19: 0.56534936,
    24: 0.32498964,
    29: 0.13927678,
    39: 0.0074728563,
    48: 6.7081578e-5,
    49: 3.354078875408494e-5,
}
CSDI_SIGMA = {0: 0.0, 1: 0.00924391, 2: 0.02166166, 24: 0.33930905, 49: 0.70709492}

step_masks = st.lists(st.booleans(), min_size=50, max_size=50).filter(any)


def test_betas_are_those_of_csdi():
    beta = make_schedule().beta
    assert len(beta) == 50
    assert beta.dtype == np.float64
    for step, expected in CSDI_BETA.items():
        assert beta[step] == pytest.approx(expected, abs=5e-9)
    assert beta.sum() == pytest.approx(8.535497025499845, abs=1e-13)


def test_products_are_those_of_csdi():
    alpha_bar = make_schedule().alpha_bar
    for step, expected in CSDI_ALPHA_BAR.items():
        assert alpha_bar[step] == pytest.approx(expected, rel=4e-8)  # 8 digits are printed
    assert alpha_bar[49] == pytest.approx(3.354078875408494e-5, rel=1e-12)


def test_sigma_of_the_full_chain_is_that_of_csdi():
    sigma = np.sqrt(make_schedule().full().posterior_variance)
    for step, expected in CSDI_SIGMA.items():
        assert sigma[step] == pytest.approx(expected, abs=5e-9)


def test_linear_schedule_is_evenly_spaced():
    beta = make_schedule("linear", 5, 0.1, 0.5).beta
    np.testing.assert_allclose(beta, [0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_chain_of_one_step():
    grid = make_schedule(n_steps=1).full()
    assert grid.index.tolist() == [0]
    assert grid.posterior_variance.tolist() == [0.0]


@given(step_masks)
@settings(max_examples=30, deadline=None)
def test_masked_grid_is_the_product_over_kept_steps(step_mask):
    """EDDPM, Eq. 7, walked over all T steps: a dropped step is the identity."""
    schedule = make_schedule()
    level, levels = 1.0, []
    for t in range(50):
        level *= 1 - schedule.beta[t] * step_mask[t]
        if step_mask[t]:
            levels.append(level)
    grid = schedule.masked(step_mask)
    assert grid.index.tolist() == [t for t in range(50) if step_mask[t]]
    np.testing.assert_allclose(grid.alpha_bar, levels, rtol=1e-13)
    np.testing.assert_allclose(grid.alpha_step, 1 - schedule.beta[grid.index], rtol=1e-12)
    assert grid.network_step.tolist() == grid.index.tolist()


@given(step_masks)
@settings(max_examples=30, deadline=None)
def test_respaced_grid_keeps_the_levels_of_the_full_chain(step_mask):
    schedule = make_schedule()
    index = np.flatnonzero(step_mask)
    grid = schedule.respaced(index[::-1])  # in any order
    assert grid.index.tolist() == index.tolist()
    for j, t in enumerate(index):
        assert grid.alpha_bar[j] == pytest.approx(np.prod(1 - schedule.beta[: t + 1]), rel=1e-13)
    np.testing.assert_allclose(np.cumprod(grid.alpha_step), grid.alpha_bar, rtol=1e-12)


def test_with_every_step_all_chains_are_the_full_one():
    schedule = make_schedule()
    full = schedule.full()
    for grid in (schedule.respaced(range(50)), schedule.masked(np.ones(50, dtype=bool))):
        assert np.array_equal(grid.index, full.index)
        assert np.array_equal(grid.alpha_bar, full.alpha_bar)
        assert np.array_equal(grid.network_step, full.network_step)
    np.testing.assert_allclose(full.alpha_step, 1 - schedule.beta, rtol=1e-12)


@pytest.mark.parametrize("index", [[0], [49], [3, 17], [8, 16, 24, 32, 40], range(50)])
def test_posterior_variance_by_bayes(index):
    """Precision of x_prev given x_0, plus what x tells: 1 / (1 - S) + a / (1 - a)."""
    grid = make_schedule().respaced(list(index))
    previous, step = grid.alpha_bar_previous, grid.alpha_step
    assert previous[0] == 1.0
    assert grid.posterior_variance[0] == 0.0
    precision = 1 / (1 - previous[1:]) + step[1:] / (1 - step[1:])
    np.testing.assert_allclose(grid.posterior_variance[1:], 1 / precision, rtol=1e-10)


def test_how_much_signal_is_left_at_the_top():
    """Figures that decide whether a chain may start at N(0, I)."""
    schedule = make_schedule()
    top_ten, top_five = np.arange(50) >= 40, np.arange(50) >= 45
    assert schedule.masked(top_ten).alpha_bar[-1] == pytest.approx(0.0045, abs=5e-5)
    assert schedule.masked(top_five).alpha_bar[-1] == pytest.approx(0.045, abs=5e-4)
    assert schedule.respaced([49]).alpha_bar[-1] == pytest.approx(3.354e-5, rel=1e-3)


def test_half_log_snr_of_known_levels():
    np.testing.assert_allclose(half_log_snr([0.5, 0.8]), [0.0, np.log(2)], atol=1e-15)
    grid = make_schedule().full()
    assert np.all(np.diff(grid.log_snr) < 0)


@pytest.mark.parametrize("index", [range(50), [8, 16, 24, 32, 40], [0], [49]])
def test_told_by_noise_level_a_respaced_chain_hears_its_indices(index):
    grid = make_schedule(conditioning="logsnr").respaced(list(index))
    np.testing.assert_allclose(grid.network_step, list(index), atol=1e-9)


@given(step_masks)
@settings(max_examples=30, deadline=None)
def test_told_by_noise_level_a_masked_chain_hears_lower_steps(step_mask):
    """Less noise has been added than the index says, and the order is kept."""
    schedule = make_schedule(conditioning="logsnr")
    grid = schedule.masked(step_mask)
    assert np.all(grid.network_step <= grid.index + 1e-9)
    assert np.all(np.diff(grid.network_step) > 0)
    between = np.floor(grid.network_step).astype(int)
    assert np.all(schedule.alpha_bar[between] >= grid.alpha_bar - 1e-12)
    assert np.all(schedule.alpha_bar[np.minimum(between + 1, 49)] <= grid.alpha_bar + 1e-12)


@pytest.mark.parametrize(
    ("kept_steps", "expected"),
    [
        (1, [40]),
        (5, [8, 16, 24, 32, 40]),
        (10, list(range(4, 41, 4))),
        (50, list(range(50))),
    ],
)
def test_spaced_indices_of_fifty_steps(kept_steps, expected):
    assert spaced_indices(50, kept_steps).tolist() == expected


@pytest.mark.parametrize("conditioning", ["index", "logsnr"])
def test_between_its_levels_a_respaced_grid_asks_the_full_chain(conditioning):
    chain = make_schedule(conditioning=conditioning)
    grid = chain.respaced([10, 40])
    assert grid.step_at(chain.alpha_bar[25]) == pytest.approx(25)
    assert grid.step_at(chain.alpha_bar[40]) == pytest.approx(40)


def test_between_its_levels_a_masked_grid_asks_its_neighbours():
    grid = make_schedule().masked(np.isin(np.arange(50), [10, 20, 30]))
    assert grid.chain is None
    low, middle, high = (grid.step_at(level) for level in grid.alpha_bar)
    assert (low, middle, high) == pytest.approx((10, 20, 30))
    assert 20 < grid.step_at(np.sqrt(grid.alpha_bar[1] * grid.alpha_bar[2])) < 30


def test_a_grid_of_given_levels_knows_whether_they_lie_on_the_chain():
    chain = make_schedule()
    for grid in (chain.respaced([3, 9]), chain.masked(np.isin(np.arange(50), [3, 9]))):
        again = chain.grid(grid.index, grid.alpha_bar.copy(), grid.network_step)
        assert again.chain is grid.chain


def test_spaced_indices_end_where_they_are_told_to():
    assert spaced_indices(50, 5, top=49)[-1] == 49
    assert spaced_indices(50, 5, top=2).tolist() == [0, 1, 2, 3, 4]  # no room below 2


@pytest.mark.parametrize("kept_steps", [-1, 0, 51])
@pytest.mark.parametrize("top", [None, 10])
def test_a_number_of_spaced_indices_that_cannot_be(kept_steps, top):
    with pytest.raises(InputError, match=rf"kept_steps={kept_steps} cannot .* expected 1 to 50"):
        spaced_indices(50, kept_steps, top)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 7, 50, 64])
def test_spaced_indices_are_distinct_and_inside_the_chain(n_steps):
    for kept_steps in range(1, n_steps + 1):
        for top in (None, 0, n_steps // 2, n_steps - 1):
            indices = spaced_indices(n_steps, kept_steps, top)
            assert len(indices) == kept_steps
            assert np.all(np.diff(indices) > 0)
            assert indices[0] >= 0
            assert indices[-1] < n_steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cosine"}, "schedule='cosine' is unknown"),
        ({"n_steps": 0}, "diffusion_steps=0 is too few"),
        ({"beta_start": 0.0}, "must satisfy 0 < start <= end < 1"),
        ({"beta_start": 0.6}, "must satisfy 0 < start <= end < 1"),
        ({"beta_end": 1.0}, "must satisfy 0 < start <= end < 1"),
        ({"beta_end": float("nan")}, "must satisfy 0 < start <= end < 1"),
        ({"conditioning": "time"}, "conditioning='time' is unknown"),
    ],
)
def test_a_schedule_that_cannot_be_made(arguments, message):
    with pytest.raises(InputError, match=message):
        make_schedule(**arguments)


@pytest.mark.parametrize("beta", [[0.0, 0.1], [0.1, 1.0], [[0.1]], [np.nan]])
def test_betas_out_of_range(beta):
    with pytest.raises(InputError, match="beta must be a vector"):
        NoiseSchedule(np.array(beta))


@pytest.mark.parametrize("step_mask", [np.zeros(50, bool), np.ones(49, bool), np.ones((1, 50))])
def test_a_step_mask_that_makes_no_chain(step_mask):
    with pytest.raises(InputError, match="step_mask must have 50 entries"):
        make_schedule().masked(step_mask)


@pytest.mark.parametrize("indices", [[], [-1, 3], [3, 50]])
def test_indices_that_make_no_chain(indices):
    with pytest.raises(InputError, match=r"indices must name steps in 0\.\.49"):
        make_schedule().respaced(indices)


@pytest.mark.parametrize("levels", [[0.5, 0.5], [0.5, 0.6], [1.0, 0.5], [0.5, 0.0], [np.nan, 0.1]])
def test_levels_that_make_no_grid(levels):
    with pytest.raises(InputError, match="alpha_bar must fall strictly"):
        TimeGrid(np.arange(2), np.array(levels), np.arange(2.0))


@pytest.mark.parametrize("n", [0, 1])
def test_a_grid_needs_as_many_indices_as_levels(n):
    with pytest.raises(InputError, match="as many indices as levels"):
        TimeGrid(np.arange(n), np.full(2 * n, 0.5), np.arange(n, dtype=float))


def test_quad_beta_takes_other_ends():
    beta = quad_beta(3, 0.01, 0.25)
    np.testing.assert_allclose(beta, [0.01, 0.09, 0.25])
