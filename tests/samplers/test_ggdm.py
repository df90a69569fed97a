"""GGDM with known coefficients is a known sampler; its coefficients pass through JSON."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest
import torch

from tests.samplers.oracle import (
    GRIDS,
    SCHEDULE,
    assert_keeps_the_dtype,
    count_calls,
    draws_of,
    every_grid,
    exact_noise,
    exact_variance,
    moments,
    true_start,
    wavy_network,
)
from tsimpute.errors import InputError
from tsimpute.samplers import Prediction
from tsimpute.samplers.ancestral import ancestral
from tsimpute.samplers.ddim import ddim
from tsimpute.samplers.ggdm import Coefficients, ddim_coefficients, ggdm
from tsimpute.samplers.variance import fixed, large

SHAPE = (2, 5, 3)
TWO = SCHEDULE.respaced([18, 38])


def _free(grid, seed=0):
    """Coefficients of no known sampler, all of them in use."""
    rng = np.random.default_rng(seed)
    n = len(grid)
    state = np.triu(rng.normal(size=(n, n))) / n
    return Coefficients(grid.alpha_bar, state, rng.normal(size=n), rng.random(n))


# ------------------------------------------------------------------------------- known samplers


@every_grid
@pytest.mark.parametrize(
    ("known", "eta"), [(ancestral, 1.0), (partial(ddim, eta=0.4), 0.4), (ddim, 0.0)]
)
def test_it_starts_as_a_known_sampler_draw_for_draw(known, eta, grid):
    ends = []
    for sampler in (known, ggdm(ddim_coefficients(grid, eta))):
        draw, records = draws_of(0, SHAPE), []
        end = sampler(wavy_network, draw(), grid, fixed, draw, records.append)
        ends.append((end, records, draw()))
    torch.testing.assert_close(ends[1][0], ends[0][0], rtol=1e-8, atol=1e-8)
    assert torch.equal(ends[1][2], ends[0][2])  # as many draws
    for found, expected in zip(ends[1][1], ends[0][1], strict=True):
        assert found.position == expected.position
        assert found.spread == pytest.approx(expected.spread, abs=1e-12)
        torch.testing.assert_close(found.x0, expected.x0, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_noise_of_the_right_size_the_law_is_exact(eta):
    """DDIM's steps with its optimal variance (Bao et al. 2022b) are GGDM steps."""
    mu, v = 1.5, 0.2
    start = ddim_coefficients(TWO, eta)
    unknown = [exact_variance(v)(TWO, j, None) for j in range(2)]
    deviation = np.sqrt(start.deviation**2 + start.clean_weight**2 * unknown)
    sampler = ggdm(Coefficients(TWO.alpha_bar, start.state_weight, start.clean_weight, deviation))
    found = moments(sampler, TWO, exact_noise(mu, v), fixed, *true_start(TWO, mu, v))
    assert found == pytest.approx((mu, v), rel=1e-9)


# ------------------------------------------------------------------------------------- mechanics


def test_a_chain_is_the_formula_of_the_paper():
    grid = SCHEDULE.respaced([5, 18, 38])
    c = _free(grid)
    x, z2, z1, z0 = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).double()
    noise = {38.0: 0.3, 18.0: -0.2, 5.0: 0.7}

    def clean(x, j):
        a = float(grid.alpha_bar[j])
        return (x - math.sqrt(1 - a) * noise[float(grid.index[j])]) / math.sqrt(a)

    (a, b, s) = (c.state_weight, c.clean_weight, c.deviation)
    y1 = a[2, 2] * x + b[2] * clean(x, 2) + s[2] * z2
    y0 = a[1, 1] * y1 + a[1, 2] * x + b[1] * clean(y1, 1) + s[1] * z1
    mean = a[0, 0] * y0 + a[0, 1] * y1 + a[0, 2] * x + b[0] * clean(y0, 0)
    draws, records = iter([z2, z1, z0]), []
    end = ggdm(c)(
        lambda x, step, level: Prediction(torch.full_like(x, noise[step])),
        x,
        grid,
        fixed,
        lambda: next(draws),
        records.append,
    )
    torch.testing.assert_close(end, mean + s[0] * z0)
    torch.testing.assert_close(records[-1].x0, mean)
    assert records[-1].spread == pytest.approx(s[0] ** 2)
    torch.testing.assert_close(records[0].x0, clean(x, 2))
    torch.testing.assert_close(records[1].x, y0)


@every_grid
def test_one_evaluation_a_level(grid):
    denoise, asked = count_calls(exact_noise(0.4, 0.5))
    ggdm(ddim_coefficients(grid))(denoise, torch.ones(2), grid)
    assert asked == list(zip(grid.network_step[::-1], grid.alpha_bar[::-1], strict=True))


@every_grid
def test_keeps_the_dtype(grid):
    def without_variance(denoise, x, grid, variance, draw_noise):
        return ggdm(ddim_coefficients(grid))(denoise, x, grid, fixed, draw_noise)

    assert_keeps_the_dtype(without_variance, grid)


# ---------------------------------------------------------------------------------------- errors


def test_another_variance_is_an_error():
    with pytest.raises(InputError, match=r"'ggdm', which has its own noise.*variance='fixed'"):
        ggdm(ddim_coefficients(TWO))(wavy_network, torch.ones(2, 3), TWO, large)


@pytest.mark.parametrize("other", ["all", "respaced one"])
def test_another_grid_is_an_error(other):
    with pytest.raises(InputError, match=r"coefficients of 2 levels.*fit them again"):
        ggdm(ddim_coefficients(TWO))(wavy_network, torch.ones(2, 3), GRIDS[other])


def test_a_grid_of_other_levels_is_an_error():
    with pytest.raises(InputError, match="fit them again"):
        ggdm(ddim_coefficients(TWO))(
            wavy_network, torch.ones(2, 3), SCHEDULE.masked(np.isin(np.arange(50), [18, 38]))
        )


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_eta_outside_its_range_is_an_error(eta):
    with pytest.raises(InputError, match=r"got eta=.*expected a number from 0"):
        ddim_coefficients(TWO, eta)


# ------------------------------------------------------------------------------------------ JSON


@every_grid
def test_coefficients_pass_through_json_without_loss(grid):
    before = _free(grid)
    after = Coefficients.from_dict(json.loads(json.dumps(before.to_dict(), allow_nan=False)))
    assert after.to_dict() == before.to_dict()
    start = draws_of(0, SHAPE)()
    ends = [ggdm(c)(wavy_network, start, grid, fixed, lambda: start) for c in (before, after)]
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deviation": [0.1]}, "got shapes"),
        ({"deviation": [0.1, -0.1]}, "negative deviation"),
        ({"deviation": [0.1, math.nan]}, "not finite"),
        ({"deviation": "much"}, "expected lists of floats"),
        ({"state_weight": [[0.0, 0.0], [0.1, 0.0]]}, "not reached yet"),
        ({"gain": [1.0]}, "got fields"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(change, message):
    with pytest.raises(InputError, match=message):
        Coefficients.from_dict(ddim_coefficients(TWO).to_dict() | change)
