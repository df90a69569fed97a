"""DDIM from deterministic to ancestral, against exact Gaussians."""

from __future__ import annotations

import math
from functools import partial

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
    true_start,
    two_modes,
    wavy_network,
)
from tsimpute.errors import InputError
from tsimpute.samplers import Prediction, ancestral
from tsimpute.samplers.ddim import ddim
from tsimpute.samplers.variance import fixed, large

every_eta = pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
SHAPE = (2, 5, 3)


def _never():
    raise AssertionError("nothing may be drawn")


# ---------------------------------------------------------------------------------- exact moments


@every_grid
@laws
@every_eta
def test_with_the_exact_variance_every_grid_is_exact(grid, mu, v, eta):
    sampler = partial(ddim, eta=eta)
    start = true_start(grid, mu, v)
    found = moments(sampler, grid, exact_noise(mu, v), exact_variance(v), *start)
    assert found == pytest.approx((mu, v), rel=1e-9, abs=1e-9)


@laws
def test_the_full_chain_without_noise_is_nearly_right(mu, v):
    grid = SCHEDULE.full()
    mean, variance = moments(ddim, grid, exact_noise(mu, v), fixed, *true_start(grid, mu, v))
    assert mean == pytest.approx(mu, abs=1e-9)
    assert variance == pytest.approx(v, rel=0.1)
    assert variance < v


@every_eta
def test_a_network_that_knows_the_data_keeps_the_law_of_every_level(eta):
    """q(x_s | x_0) = N(sqrt(S) x_0, 1 - S), whatever eta is: the family's own property."""
    grid, mu = GRIDS["respaced 10"], 1.5
    records, size = [], len(grid) + 2
    units = iter(torch.eye(size, dtype=torch.float64)[1:])
    start = next(units)
    ddim(
        exact_noise(mu, 0.0),
        start,
        grid,
        draw_noise=lambda: next(units),
        callback=records.append,
        eta=eta,
    )
    top = float(grid.alpha_bar[-1])
    for record in records:
        level = float(grid.alpha_bar_previous[record.position])
        weights = (record.x[1:] - record.x[0]).tolist()
        mean = float(record.x[0]) + weights[0] * math.sqrt(top) * mu
        variance = weights[0] ** 2 * (1 - top) + sum(weight**2 for weight in weights[1:])
        assert mean == pytest.approx(math.sqrt(level) * mu)
        assert variance == pytest.approx(1 - level, abs=1e-12)


# ------------------------------------------------------------------------------------ both ends


@every_grid
@pytest.mark.parametrize("variance", [fixed, large, exact_variance(0.3)])
def test_with_eta_one_it_is_ancestral_draw_for_draw(grid, variance):
    ends = []
    for sampler in (ancestral, partial(ddim, eta=1.0)):
        draw, records = draws_of(0, SHAPE), []
        end = sampler(wavy_network, draw(), grid, variance, draw, records.append)
        ends.append((end, [record.spread for record in records], draw()))
    torch.testing.assert_close(ends[1][0], ends[0][0], rtol=1e-9, atol=1e-9)
    assert ends[1][1] == pytest.approx(ends[0][1], abs=1e-12)
    assert torch.equal(ends[1][2], ends[0][2])  # as many draws


@every_grid
def test_by_default_nothing_is_drawn(grid):
    start = draws_of(0, SHAPE)()
    ends = [ddim(wavy_network, start, grid, draw_noise=_never) for _ in range(2)]
    assert torch.equal(*ends)


@every_grid
def test_a_known_variance_adds_noise_to_every_step(grid):
    drawn = []
    ddim(
        exact_noise(0.0, 1.0),
        torch.ones(2),
        grid,
        exact_variance(1.0),
        lambda: drawn.append(1) or torch.zeros(2),
    )
    assert len(drawn) == len(grid)


@pytest.mark.parametrize("denoise_and_flow", ["one mode", "two modes"])
def test_without_noise_it_is_of_first_order(denoise_and_flow):
    if denoise_and_flow == "one mode":
        denoise, flow = exact_noise(1.5, 0.2), partial(exact_flow, mu=1.5, v=0.2)
    else:
        denoise = two_modes(1.0, 0.2)
        flow = partial(fine_flow, denoise=denoise)
    assert order_of_convergence(ddim, denoise, flow) == pytest.approx(1, abs=0.05)


def test_a_step_is_the_formula_of_the_paper():
    grid, eta = SCHEDULE.respaced([10, 30]), 0.6
    x, noise, z = torch.randn(3, 7, generator=torch.Generator().manual_seed(0)).double()
    a, s = float(grid.alpha_bar[1]), float(grid.alpha_bar[0])
    sigma = eta * math.sqrt((1 - s) / (1 - a)) * math.sqrt(1 - a / s)
    x0 = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
    expected = math.sqrt(s) * x0 + math.sqrt(1 - s - sigma**2) * noise + sigma * z
    records = []
    ddim(
        lambda x, step, level: Prediction(noise), x, grid, fixed, lambda: z, records.append, eta=eta
    )
    torch.testing.assert_close(records[0].x, expected)
    torch.testing.assert_close(records[0].x0, x0)


# -------------------------------------------------------------------------------------- mechanics


@every_grid
@every_eta
def test_one_evaluation_a_level(grid, eta):
    assert_one_evaluation_a_level(partial(ddim, eta=eta), grid)


@every_grid
@every_eta
def test_keeps_the_dtype(grid, eta):
    assert_keeps_the_dtype(partial(ddim, eta=eta), grid)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_eta_outside_its_range_is_an_error(eta):
    with pytest.raises(InputError, match=r"got eta=.*expected a number from 0"):
        ddim(wavy_network, torch.ones(3), SCHEDULE.full(), eta=eta)
