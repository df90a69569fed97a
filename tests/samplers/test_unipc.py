"""UniPC: the paper's linear systems, order, and what it shares with DDIM and DPM-Solver++."""

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
    state_before_the_end,
    true_start,
    two_modes,
    wavy_network,
)
from tsimpute.errors import InputError
from tsimpute.samplers.ddim import ddim
from tsimpute.samplers.dpm_solver_pp import dpm_solver_pp_2m
from tsimpute.samplers.unipc import unipc

every_scale = pytest.mark.parametrize("scale", ["B1", "B2"])
STEPS = (48, 96, 192)
SHAPE = (2, 5, 3)


# ----------------------------------------------------------------------------------------- orders


@every_scale
@laws
def test_order_on_one_mode(scale, mu, v):
    flow = partial(exact_flow, mu=mu, v=v)
    found = order_of_convergence(partial(unipc, scale=scale), exact_noise(mu, v), flow, STEPS)
    assert found == pytest.approx(3, abs=0.15)


@every_scale
@pytest.mark.parametrize("bend", [-0.5, 0.0, 0.5])
def test_order_on_two_modes_and_on_bent_grids(scale, bend):
    denoise = two_modes(1.0, 0.2)
    flow = partial(fine_flow, denoise=denoise)
    found = order_of_convergence(partial(unipc, scale=scale), denoise, flow, STEPS, bend)
    assert found == pytest.approx(3, abs=0.15)


def test_the_correction_pays():
    """Its predictor is the second-order solver of DPM-Solver++, with the same evaluations."""
    denoise, grid = two_modes(1.0, 0.2), smooth_grid(24)
    x = torch.linspace(-1.7, 2.1, 7, dtype=torch.float64)
    exact = fine_flow(x, grid, denoise)
    corrected, plain = (
        (state_before_the_end(sampler, denoise, x, grid) - exact).abs().max()
        for sampler in (unipc, dpm_solver_pp_2m)
    )
    assert corrected < plain / 2


# ------------------------------------------------------------------------------ paper's formulas


def _phi_system(h, ratios, big_b):
    """Coefficients rho of the paper: R rho = b, with b_n = h phi_n(h) n! / B."""
    phi, b, power = math.expm1(h) / h - 1, [], 1.0
    for n in range(1, len(ratios) + 1):
        power *= n
        b.append(phi * power / big_b)
        phi = phi / h - 1 / (power * (n + 1))
    rows = np.array([np.power(ratios, n) for n in range(len(ratios))])
    return np.linalg.solve(rows, b)


@every_scale
def test_it_is_the_papers(scale):
    grid = SCHEDULE.respaced([3, 11, 16, 27, 33, 42])
    start = draws_of(0, SHAPE)()
    alpha, sigma = np.sqrt(grid.alpha_bar).tolist(), np.sqrt(1 - grid.alpha_bar).tolist()
    log_snr = grid.log_snr.tolist()

    def clean(x, j):
        noise = wavy_network(x, float(grid.network_step[j]), None).noise
        return (x - sigma[j] * noise) / alpha[j]

    x, history = start, [(5, clean(start, 5))]
    for j in range(4, -1, -1):
        (t, m0), older = history[-1], history[-2:-1]
        h = -(log_snr[j] - log_snr[t])  # negative: clean values are predicted
        big_b = h if scale == "B1" else math.expm1(h)
        base = sigma[j] / sigma[t] * x - alpha[j] * math.expm1(h) * m0
        ratios = [(log_snr[i] - log_snr[t]) / -h for i, _ in older]
        slopes = [(m - m0) / r for (_, m), r in zip(older, ratios, strict=True)]
        predicted = base - alpha[j] * big_b * sum(0.5 * slope for slope in slopes)
        m = clean(predicted, j)
        rho = _phi_system(h, [*ratios, 1.0], big_b) if slopes else [0.5]
        terms = zip(rho, [*slopes, m - m0], strict=True)
        x = base - alpha[j] * big_b * sum(weight * slope for weight, slope in terms)
        history.append((j, m))
    end = unipc(wavy_network, start, grid, scale=scale)
    torch.testing.assert_close(end, history[-1][1])


# --------------------------------------------------------------------------------- few and many


@every_scale
@pytest.mark.parametrize(
    "grid", [GRIDS["respaced one"], GRIDS["masked one"], GRIDS["respaced two"]]
)
def test_chains_too_short_for_a_second_order_are_ddim(scale, grid):
    start = draws_of(0, SHAPE)()
    end = unipc(wavy_network, start, grid, scale=scale)
    torch.testing.assert_close(end, ddim(wavy_network, start, grid))


@every_scale
@laws
def test_the_full_chain_has_the_moments_of_the_data(scale, mu, v):
    grid, sampler = SCHEDULE.full(), partial(unipc, scale=scale)
    start = true_start(grid, mu, v)
    mean, variance = moments(sampler, grid, exact_noise(mu, v), exact_variance(v), *start)
    assert mean == pytest.approx(mu, abs=1e-9)
    assert variance == pytest.approx(v, rel=0.02)


@every_scale
@every_grid
@laws
def test_the_mean_is_exact_on_every_grid(scale, grid, mu, v):
    sampler, start = partial(unipc, scale=scale), true_start(grid, mu, v)
    mean, _ = moments(sampler, grid, exact_noise(mu, v), exact_variance(v), *start)
    assert mean == pytest.approx(mu, abs=1e-9)


# -------------------------------------------------------------------------------------- mechanics


@every_scale
@every_grid
def test_one_evaluation_a_level(scale, grid):
    assert_one_evaluation_a_level(partial(unipc, scale=scale), grid)


@every_scale
@every_grid
def test_keeps_the_dtype(scale, grid):
    assert_keeps_the_dtype(partial(unipc, scale=scale), grid)


def test_a_second_chain_knows_nothing_of_the_first():
    start = draws_of(0, SHAPE)()
    ends = [unipc(wavy_network, start, GRIDS["respaced 5"]) for _ in range(2)]
    assert torch.equal(*ends)


def test_an_unknown_scale_is_an_error():
    with pytest.raises(InputError, match=r"got scale='B3', expected one of \['B1', 'B2'\]"):
        unipc(wavy_network, torch.ones(3), SCHEDULE.full(), scale="B3")
