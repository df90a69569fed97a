"""Multistep solvers: weights, transfer, order, and how many evaluations they take."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samplers.oracle import (
    SCHEDULE,
    count_calls,
    every_grid,
    exact_flow,
    exact_noise,
    exact_variance,
    fine_flow,
    laws,
    order_of_convergence,
    two_modes,
)
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.samplers import Prediction
from tsimpute.samplers.pndm import along, f_pndm, noise_ratio, s_pndm, step_weights, transfer
from tsimpute.samplers.protocol import clean_values
from tsimpute.samplers.variance import fixed

both = pytest.mark.parametrize("sampler", [s_pndm, f_pndm])
shares = st.floats(1e-4, 1 - 1e-4)


# --------------------------------------------------------------------------------------- transfer


@given(shares, shares)
@settings(max_examples=50, deadline=None)
def test_transfer_is_the_deterministic_step_of_ddim(first, second):
    level, cleaner = sorted((first, second))
    x, noise = torch.randn(2, 9, generator=torch.Generator().manual_seed(0)).double()
    clean = clean_values(x, noise, level)
    expected = math.sqrt(cleaner) * clean + math.sqrt(1 - cleaner) * noise
    torch.testing.assert_close(transfer(x, noise, level, cleaner), expected, atol=1e-9, rtol=1e-9)


@given(shares, shares)
@settings(max_examples=50, deadline=None)
def test_transfer_is_the_papers_formula(first, second):
    """phi(x, e) = x + (S - A) (x / p - e / q), as printed by Liu et al."""
    a, s = sorted((first, second))
    x, noise = torch.randn(2, 9, generator=torch.Generator().manual_seed(0)).double()
    p = math.sqrt(a) * (math.sqrt(a) + math.sqrt(s))
    q = math.sqrt(a) * (math.sqrt((1 - s) * a) + math.sqrt((1 - a) * s))
    expected = x + (s - a) * (x / p - noise / q)
    torch.testing.assert_close(transfer(x, noise, a, s), expected, atol=1e-9, rtol=1e-9)


def test_transfer_with_the_true_noise_keeps_the_clean_values():
    clean, noise = torch.randn(2, 9, generator=torch.Generator().manual_seed(1)).double()
    x = math.sqrt(0.2) * clean + math.sqrt(0.8) * noise
    moved = transfer(x, noise, 0.2, 0.7)
    torch.testing.assert_close(moved, math.sqrt(0.7) * clean + math.sqrt(0.3) * noise)


# ---------------------------------------------------------------------------------------- weights


def test_on_even_steps_the_weights_are_those_of_the_textbook():
    times = [3.0, 2.0, 1.0, 0.0]  # oldest first, falling like gamma
    assert step_weights(times[2:], 0, -1) == pytest.approx([-1 / 2, 3 / 2])
    expected = np.array([-9, 37, -59, 55]) / 24
    assert step_weights(times, 0, -1) == pytest.approx(expected)
    assert step_weights([0.0, -1.0], 0, -1) == pytest.approx([1 / 2, 1 / 2])
    assert step_weights([2.0, 1.0, 0.0, -1.0], 0, -1) == pytest.approx(
        np.array([1, -5, 19, 9]) / 24
    )


@given(
    st.lists(st.floats(0.2, 3), min_size=5, max_size=5),
    st.integers(1, 4),
    st.booleans(),
    st.lists(st.floats(-2, 2), min_size=4, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_the_weights_integrate_every_polynomial_that_they_can_see(gaps, n_times, ahead, powers):
    """Cubics with four times, whatever the spacing, before the step or at its end."""
    times = np.cumsum(gaps)[::-1]  # falling
    start, end = times[3], times[4]
    nodes = times[4 - n_times + 1 :] if ahead else times[4 - n_times : 4]
    polynomial = np.polynomial.Polynomial(powers[: len(nodes)])
    integral = polynomial.integ()
    mean = (integral(end) - integral(start)) / (end - start)
    weights = step_weights(nodes.tolist(), start, end)
    assert np.dot(weights, polynomial(nodes)) == pytest.approx(mean, rel=1e-7, abs=1e-5)


@pytest.mark.parametrize(("sampler", "degree"), [(s_pndm, 1), (f_pndm, 3)])
def test_a_noise_that_is_a_polynomial_in_gamma_is_integrated_exactly(sampler, degree):
    """After a start that knows less, so that only the later steps are looked at."""
    gamma = np.array([0.1, 0.25, 0.3, 0.7, 0.9, 1.6, 2.0, 2.1, 3.0])
    grid = TimeGrid(np.arange(9), 1 / (1 + gamma**2), np.arange(9.0))
    polynomial = np.polynomial.Polynomial([0.3, -1.0, 0.5, 0.2][: degree + 1])

    def denoise(x, network_step, alpha_bar):
        return Prediction(torch.full_like(x, polynomial(math.sqrt((1 - alpha_bar) / alpha_bar))))

    records = []
    sampler(denoise, torch.zeros(1, dtype=torch.float64), grid, fixed, callback=records.append)
    scaled = {
        r.position - 1: float(r.x) / math.sqrt(grid.alpha_bar[r.position - 1]) for r in records
    }
    integral = polynomial.integ()
    for j in range(5):
        expected = integral(gamma[j]) - integral(gamma[5])
        assert scaled[j] - scaled[5] == pytest.approx(expected, abs=1e-10)


# ------------------------------------------------------------------------------------------ order


@laws
@pytest.mark.parametrize("bend", [0.0, 0.6])
def test_the_order_on_gaussian_data(mu, v, bend):
    order = partial(
        order_of_convergence,
        denoise=exact_noise(mu, v),
        exact=lambda x, grid: exact_flow(x, grid, mu, v),
        steps=(60, 120, 240),
        bend=bend,
    )
    assert order(s_pndm) == pytest.approx(2, abs=0.15)
    assert order(f_pndm) > 2.85  # 3 from its first step, 4 from all others


def test_the_order_on_data_with_two_modes():
    denoise = two_modes(1.0, 0.1)
    order = partial(
        order_of_convergence,
        denoise=denoise,
        exact=lambda x, grid: fine_flow(x, grid, denoise, 1000),
        steps=(60, 120),
    )
    assert order(s_pndm) == pytest.approx(2, abs=0.15)
    assert order(f_pndm) > 2.85


# -------------------------------------------------------------------------------------- mechanics


@both
@every_grid
def test_every_level_is_asked_and_only_levels_of_the_grid(sampler, grid):
    denoise, asked = count_calls(exact_noise(0.5, 0.8))
    end = sampler(denoise, torch.ones(3), grid)
    extra = min(len(grid) - 1, {s_pndm: 1, f_pndm: 3}[sampler])
    assert len(asked) == len(grid) + extra
    known = zip(grid.network_step.tolist(), grid.alpha_bar.tolist(), strict=True)
    assert set(asked) == set(known)
    assert (end.shape, end.dtype) == ((3,), torch.float32)
    assert end.isfinite().all()


@both
@every_grid
def test_the_callback_hears_of_every_level_once(sampler, grid):
    records, start = [], torch.linspace(-1, 1, 5, dtype=torch.float64)
    end = sampler(exact_noise(0.5, 0.8), start, grid, fixed, callback=records.append)
    assert [record.position for record in records] == list(reversed(range(len(grid))))
    assert all(record.spread == 0 for record in records)
    assert records[-1].x is end
    torch.testing.assert_close(records[-1].x0, end)
    for record, state in zip(records, [start, *(r.x for r in records)], strict=False):
        level = float(grid.alpha_bar[record.position])
        noise = exact_noise(0.5, 0.8)(state, None, level).noise
        torch.testing.assert_close(record.x0, clean_values(state, noise, level))


@both
@every_grid
def test_the_variance_is_added_to_the_clean_values_of_the_last_step_alone(sampler, grid):
    draws, records = [], []

    def draw():
        draws.append(torch.tensor([1.0, -2.0], dtype=torch.float64))
        return draws[-1]

    start = torch.ones(2, dtype=torch.float64)
    sampler(exact_noise(0, 1), start, grid, exact_variance(0.5), draw, records.append)
    assert len(draws) == 1
    spread = exact_variance(0.5)(grid, 0, None)
    assert records[-1].spread == spread
    torch.testing.assert_close(records[-1].x, records[-1].x0 + math.sqrt(spread) * draws[0])


@both
def test_with_two_levels_the_step_is_heuns(sampler):
    grid, denoise = SCHEDULE.respaced([10, 30]), two_modes(1.0, 0.1)
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)
    near, far = (float(a) for a in grid.alpha_bar)
    first = denoise(start, None, far).noise
    second = denoise(transfer(start, first, far, near), None, near).noise
    state = transfer(start, (first + second) / 2, far, near)
    expected = clean_values(state, denoise(state, None, near).noise, near)
    torch.testing.assert_close(sampler(denoise, start, grid), expected)


@both
def test_one_level_is_a_decode(sampler):
    grid, start = SCHEDULE.respaced([20]), torch.linspace(-1, 1, 4)
    level = float(grid.alpha_bar[0])
    expected = clean_values(start, exact_noise(1, 2)(start, None, level).noise, level)
    assert torch.equal(sampler(exact_noise(1, 2), start, grid), expected)


@both
@laws
def test_the_whole_chain_keeps_the_law_of_the_data(sampler, mu, v):
    """A deterministic chain is exact in mean, and nearly so in variance with all steps."""
    grid = SCHEDULE.full()
    top, cleanest = float(grid.alpha_bar[-1]), float(grid.alpha_bar[0])
    spread = math.sqrt(top * v + 1 - top)
    start = math.sqrt(top) * mu + spread * torch.tensor([0.0, 1.0], dtype=torch.float64)
    records = []
    sampler(exact_noise(mu, v), start, grid, fixed, callback=records.append)
    state = records[-2].x
    assert float(state[0]) == pytest.approx(math.sqrt(cleanest) * mu, abs=1e-9)
    deviation = math.sqrt(cleanest * v + 1 - cleanest)
    assert float(state[1] - state[0]) == pytest.approx(deviation, rel=0.01)


def test_along_a_network_that_knows_the_noise_every_direction_is_the_same():
    """A point mass: its noise does not change along the chain, so that one step is exact."""
    grid = SCHEDULE.respaced([5, 20, 40])
    walk = along(lambda denoise, grid, j, x, prediction: prediction.noise)
    start = torch.linspace(-2, 2, 5, dtype=torch.float64)
    for sampler in (walk, s_pndm, f_pndm):
        end = sampler(exact_noise(0.7, 0.0), start, grid)
        torch.testing.assert_close(end, torch.full_like(start, 0.7))


@every_grid
def test_noise_ratio_is_noise_over_signal(grid):
    for j, level in enumerate(grid.alpha_bar):
        assert noise_ratio(grid, j) == pytest.approx(math.sqrt((1 - level) / level))
