"""DPM-Solver and DPM-Solver++: the papers' formulas, orders, and what they share with DDIM."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from tests.samplers.oracle import (
    GRIDS,
    SCHEDULE,
    assert_keeps_the_dtype,
    assert_one_evaluation_a_level,
    draws_of,
    every_grid,
    exact_flow,
    exact_noise,
    exact_variance,
    fine_flow,
    laws,
    moments,
    order_of_convergence,
    smooth_grid,
    true_start,
    two_modes,
    wavy_network,
)
from tsimpute.samplers import ancestral
from tsimpute.samplers.ddim import ddim
from tsimpute.samplers.dpm_solver import dpm_solver_2, dpm_solver_3, mean_place
from tsimpute.samplers.dpm_solver_pp import dpm_solver_pp_2m, dpm_solver_pp_2m_sde
from tsimpute.samplers.protocol import clean_values
from tsimpute.samplers.variance import fixed

DETERMINISTIC = [dpm_solver_2, dpm_solver_3, dpm_solver_pp_2m]
deterministic = pytest.mark.parametrize("sampler", DETERMINISTIC)
every_sampler = pytest.mark.parametrize("sampler", [*DETERMINISTIC, dpm_solver_pp_2m_sde])
shortest_grids = pytest.mark.parametrize(
    "grid", [GRIDS[name] for name in ("respaced one", "masked one", "respaced two")]
)
STEPS = (48, 96, 192)
SHAPE = (2, 5, 3)


def _never():
    raise AssertionError("nothing may be drawn")


# ----------------------------------------------------------------------------------------- orders

ORDERS = pytest.mark.parametrize(
    ("sampler", "order"), [(dpm_solver_2, 2), (dpm_solver_3, 3), (dpm_solver_pp_2m, 2)]
)


@ORDERS
@laws
def test_order_on_one_mode(sampler, order, mu, v):
    flow = partial(exact_flow, mu=mu, v=v)
    found = order_of_convergence(sampler, exact_noise(mu, v), flow, STEPS)
    assert found == pytest.approx(order, abs=0.15)


@ORDERS
@pytest.mark.parametrize("bend", [-0.5, 0.0, 0.5])
def test_order_on_two_modes_and_on_bent_grids(sampler, order, bend):
    denoise = two_modes(1.0, 0.2)
    flow = partial(fine_flow, denoise=denoise)
    found = order_of_convergence(sampler, denoise, flow, STEPS, bend)
    assert found == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("v", [0.2, 1.5, 3.0])
def test_the_variance_of_the_stochastic_one_is_of_second_order(v):
    """Ancestral steps, which are its first-order form, lose variance in proportion to h."""
    for sampler, order in ((ancestral, 1), (dpm_solver_pp_2m_sde, 2)):
        errors = []
        for n_steps in STEPS:
            grid = smooth_grid(n_steps)
            level, (_, start) = float(grid.alpha_bar[0]), true_start(grid, 0.0, v)
            exact = level * v + 1 - level
            errors.append(abs(_variance_at_the_cleanest(sampler, grid, v, start) - exact))
        slope = -np.polyfit(np.log(STEPS), np.log(errors), 1)[0]
        assert slope == pytest.approx(order, abs=0.15)


def _variance_at_the_cleanest(sampler, grid, v, start_variance):
    units = iter(torch.eye(len(grid) + 2, dtype=torch.float64)[1:])
    start, records = next(units), []
    sampler(exact_noise(0.0, v), start, grid, fixed, lambda: next(units), records.append)
    state = next(record.x for record in records if record.position == 1)
    weights = (state[1:] - state[0]).tolist()
    return weights[0] ** 2 * start_variance + sum(weight**2 for weight in weights[1:])


# ------------------------------------------------------------------------------- papers' formulas


def _alpha_sigma_lambda(grid, j):
    a = float(grid.alpha_bar[j])
    return math.sqrt(a), math.sqrt(1 - a), 0.5 * math.log(a / (1 - a))


def _noise(x, grid, j):
    return wavy_network(x, float(grid.network_step[j]), None).noise


def _decoded(x, grid):
    return clean_values(x, _noise(x, grid, 0), float(grid.alpha_bar[0]))


def test_dpm_solver_2_is_the_papers():
    """Two whole steps and one interval left over."""
    grid = SCHEDULE.respaced([3, 11, 16, 27, 33, 42])
    x = start = draws_of(0, SHAPE)()
    for j in (5, 3):
        (at, _, lt), (a1, s1, l1), (az, sz, lz) = (
            _alpha_sigma_lambda(grid, i) for i in (j, j - 1, j - 2)
        )
        h, r1 = lz - lt, (l1 - lt) / (lz - lt)
        e = _noise(x, grid, j)
        u = a1 / at * x - s1 * (math.exp(r1 * h) - 1) * e
        push = sz * (math.exp(h) - 1)
        x = az / at * x - push * e - push / (2 * r1) * (_noise(u, grid, j - 1) - e)
    (at, _, lt), (az, sz, lz) = (_alpha_sigma_lambda(grid, i) for i in (1, 0))
    x = az / at * x - sz * (math.exp(lz - lt) - 1) * _noise(x, grid, 1)
    end = dpm_solver_2(wavy_network, start, grid)
    torch.testing.assert_close(end, _decoded(x, grid))


def test_dpm_solver_3_is_the_papers():
    """One whole step and two intervals left over, which are a step of DPM-Solver-2."""
    grid = SCHEDULE.respaced([3, 11, 16, 27, 33, 42])
    start = draws_of(0, SHAPE)()
    (at, _, lt), (a1, s1, l1), (a2, s2, l2), (az, sz, lz) = (
        _alpha_sigma_lambda(grid, i) for i in (5, 4, 3, 2)
    )
    h = lz - lt
    r1, r2 = (l1 - lt) / h, (l2 - lt) / h
    e = _noise(start, grid, 5)
    u1 = a1 / at * start - s1 * math.expm1(r1 * h) * e
    d1 = _noise(u1, grid, 4) - e
    u2 = a2 / at * start - s2 * math.expm1(r2 * h) * e
    u2 = u2 - s2 * r2 / r1 * (math.expm1(r2 * h) / (r2 * h) - 1) * d1
    d2 = _noise(u2, grid, 3) - e
    x = az / at * start - sz * math.expm1(h) * e - sz / r2 * (math.expm1(h) / h - 1) * d2
    rest = SCHEDULE.respaced([3, 11, 16])
    end = dpm_solver_3(wavy_network, start, grid)
    torch.testing.assert_close(end, dpm_solver_2(wavy_network, x, rest))


@pytest.mark.parametrize("stochastic", [False, True])
def test_dpm_solver_pp_2m_is_the_papers(stochastic):
    grid = SCHEDULE.respaced([3, 11, 16, 27, 33, 42])
    sampler = dpm_solver_pp_2m_sde if stochastic else dpm_solver_pp_2m
    draw, same = draws_of(0, SHAPE), draws_of(0, SHAPE)
    end = sampler(wavy_network, draw(), grid, fixed, draw)
    x, before = same(), None
    for j in range(5, 0, -1):
        (at, st, lt), (az, sz, lz) = (_alpha_sigma_lambda(grid, i) for i in (j, j - 1))
        h = lz - lt
        x0 = d = (x - st * _noise(x, grid, j)) / at
        if before is not None:
            r = (lt - before[1]) / h
            d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before[0]
        if stochastic:
            x = sz / st * math.exp(-h) * x + az * (1 - math.exp(-2 * h)) * d
            x = x + sz * math.sqrt(1 - math.exp(-2 * h)) * same()
        else:
            x = sz / st * x - az * (math.exp(-h) - 1) * d
        before = (x0, lt)
    torch.testing.assert_close(end, _decoded(x, grid))


@pytest.mark.parametrize("h", [-3.0, -0.2, 0.01, 0.5, 4.0])
def test_mean_place_is_the_mean_under_its_weights(h):
    t = (np.arange(20_000) + 0.5) / 20_000
    assert mean_place(h) == pytest.approx(np.average(t, weights=np.exp(-h * t)), rel=1e-6)


# --------------------------------------------------------------------------------- few and many


@deterministic
@pytest.mark.parametrize(
    "grid", [GRIDS["respaced one"], GRIDS["masked one"], GRIDS["respaced two"]]
)
def test_chains_too_short_for_a_second_order_are_ddim(sampler, grid):
    start = draws_of(0, SHAPE)()
    end = sampler(wavy_network, start, grid)
    torch.testing.assert_close(end, ddim(wavy_network, start, grid))


@pytest.mark.parametrize(
    "grid", [GRIDS["respaced one"], GRIDS["masked one"], GRIDS["respaced two"]]
)
def test_short_chains_of_the_stochastic_one_are_ancestral(grid):
    ends = []
    for sampler in (dpm_solver_pp_2m_sde, ancestral):
        draw = draws_of(0, SHAPE)
        ends.append(sampler(wavy_network, draw(), grid, fixed, draw))
    torch.testing.assert_close(*ends)


def test_three_levels_are_one_step_of_dpm_solver_2_whatever_the_order():
    start, grid = draws_of(0, SHAPE)(), SCHEDULE.respaced([14, 26, 40])
    second, third = (s(wavy_network, start, grid) for s in (dpm_solver_2, dpm_solver_3))
    assert torch.equal(second, third)


@every_sampler
@laws
def test_the_full_chain_has_the_moments_of_the_data(sampler, mu, v):
    grid, start = SCHEDULE.full(), true_start(SCHEDULE.full(), mu, v)
    mean, variance = moments(sampler, grid, exact_noise(mu, v), exact_variance(v), *start)
    assert mean == pytest.approx(mu, abs=1e-9)
    assert variance == pytest.approx(v, rel=0.07 if sampler is dpm_solver_pp_2m_sde else 0.02)


@every_sampler
@every_grid
@laws
def test_the_mean_is_exact_on_every_grid(sampler, grid, mu, v):
    start = true_start(grid, mu, v)
    mean, _ = moments(sampler, grid, exact_noise(mu, v), exact_variance(v), *start)
    assert mean == pytest.approx(mu, abs=1e-9)


@deterministic
@pytest.mark.parametrize("grid", [GRIDS["respaced one"], GRIDS["masked one"]])
@laws
def test_one_level_with_the_exact_variance_is_exact(sampler, grid, mu, v):
    start = true_start(grid, mu, v)
    found = moments(sampler, grid, exact_noise(mu, v), exact_variance(v), *start)
    assert found == pytest.approx((mu, v), rel=1e-9, abs=1e-9)


# -------------------------------------------------------------------------------------- mechanics


@every_sampler
@every_grid
def test_one_evaluation_a_level(sampler, grid):
    assert_one_evaluation_a_level(sampler, grid)


@every_sampler
@every_grid
def test_keeps_the_dtype(sampler, grid):
    assert_keeps_the_dtype(sampler, grid)


@deterministic
@every_grid
def test_with_the_fixed_variance_nothing_is_drawn(sampler, grid):
    start = draws_of(0, SHAPE)()
    ends = [sampler(wavy_network, start, grid, fixed, _never) for _ in range(2)]
    assert torch.equal(*ends)


@deterministic
def test_the_variance_is_asked_for_at_the_last_step_only(sampler):
    asked = []

    def variance(grid, position, prediction):
        asked.append(position)
        return 0.0

    sampler(wavy_network, torch.ones(SHAPE).double(), GRIDS["respaced 10"], variance)
    assert asked == [0]
