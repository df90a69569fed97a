"""Ancestral sampling against exact Gaussians and a plain DDPM.

For x_0 ~ N(mu, v) the exact predicted noise is affine in x, so that a whole chain is affine in
its start and its draws. Its coefficients are read off by running it on unit vectors, which gives
the mean and variance of the samples without any Monte Carlo.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.samplers.oracle import (
    EVEN_5,
    EVEN_10,
    GRIDS,
    SCHEDULE,
    every_grid,
    exact_noise,
    exact_variance,
    laws,
    moments,
    true_start,
)
from tsimpute.samplers import Prediction, ancestral
from tsimpute.samplers.variance import fixed

# ---------------------------------------------------------------------------------- exact moments


@every_grid
@laws
def test_with_the_exact_variance_every_grid_is_exact(grid, mu, v):
    found = moments(
        ancestral, grid, exact_noise(mu, v), exact_variance(v), *true_start(grid, mu, v)
    )
    assert found == pytest.approx((mu, v), rel=1e-10, abs=1e-10)


@every_grid
@laws
def test_the_mean_is_exact_whatever_the_variance(grid, mu, v):
    mean, variance = moments(ancestral, grid, exact_noise(mu, v), fixed, *true_start(grid, mu, v))
    assert mean == pytest.approx(mu, abs=1e-10)
    assert variance < v  # what the network does not know is left out


@laws
def test_the_full_chain_starts_well_at_pure_noise(mu, v):
    mean, variance = moments(
        ancestral,
        SCHEDULE.full(),
        exact_noise(mu, v),
        exact_variance(v),
        start_mean=0,
        start_variance=1,
    )
    assert mean == pytest.approx(mu, abs=1e-3)
    assert variance == pytest.approx(v, rel=1e-3)


def test_the_more_steps_the_less_variance_is_missing():
    missing = []
    for index in (EVEN_5, EVEN_10, range(50)):
        grid = SCHEDULE.respaced(list(index))
        missing.append(1 - moments(ancestral, grid, exact_noise(0, 1), fixed, 0, 1)[1])
    assert missing[0] > missing[1] > missing[2] > 0


def test_a_noisy_start_of_a_masked_chain_is_a_wrong_one():
    """At 5 evenly masked steps much signal is left at the top, but sampling starts without any."""
    grid = GRIDS["masked 5"]
    assert grid.alpha_bar[-1] > 0.3
    mean, _ = moments(ancestral, grid, exact_noise(1.5, 0.2), exact_variance(0.2), 0, 1)
    assert abs(mean - 1.5) > 0.1


@every_grid
@laws
def test_the_moments_follow_the_posterior_in_its_other_form(grid, mu, v):
    """x_s ~ N(c1 x0_hat + c2 x, beta-tilde + c1^2 Var0), as a recursion of mean and variance."""
    mean, variance = 0.3, 1.7
    for j in reversed(range(len(grid))):
        a, s = float(grid.alpha_bar[j]), float(grid.alpha_bar_previous[j])
        step = a / s
        c1 = math.sqrt(s) * (1 - step) / (1 - a)
        c2 = math.sqrt(step) * (1 - s) / (1 - a)
        tilde = (1 - step) * (1 - s) / (1 - a)
        gain = math.sqrt(a) * v / (a * v + 1 - a)  # x0_hat = mu + gain (x - sqrt(A) mu)
        var0 = v * (1 - a) / (a * v + 1 - a)
        mean = c1 * (mu + gain * (mean - math.sqrt(a) * mu)) + c2 * mean
        variance = (c1 * gain + c2) ** 2 * variance + tilde + c1**2 * var0
    found = moments(ancestral, grid, exact_noise(mu, v), exact_variance(v), 0.3, 1.7)
    assert found == pytest.approx((mean, variance), rel=1e-9)


def test_a_variance_may_differ_from_cell_to_cell():
    grid, v = SCHEDULE.respaced(EVEN_5), torch.tensor([0.2, 3.0], dtype=torch.float64)

    def variance(grid, position, noise):
        a = float(grid.alpha_bar[position])
        return v * (1 - a) / (a * v + 1 - a)

    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.randn(20_000, 2, generator=generator, dtype=torch.float64)

    samples = ancestral(exact_noise(0.0, v), draw(), grid, variance, draw)
    torch.testing.assert_close(samples.var(0), v, rtol=0.05, atol=0)


# ------------------------------------------------------------------------------------- plain DDPM


def _some_network(x, network_step, alpha_bar):
    weight = torch.linspace(-1, 1, x.shape[-1] ** 2, dtype=x.dtype).view(x.shape[-1], -1)
    return Prediction(torch.tanh(x @ weight + 0.1 * math.sin(network_step)))


def _plain_ddpm(beta, x, generator):
    """CSDI's sampler: t = 49 .. 0 with sigma_t, no noise at t = 0."""
    product = torch.cumprod(1 - beta, 0)
    for t in reversed(range(len(beta))):
        predicted = _some_network(x, t, None).noise
        x = (x - beta[t] / (1 - product[t]).sqrt() * predicted) / (1 - beta[t]).sqrt()
        if t > 0:
            sigma = ((1 - product[t - 1]) / (1 - product[t]) * beta[t]).sqrt()
            x = x + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return x


@pytest.mark.parametrize("seed", range(3))
def test_with_every_step_kept_it_is_ddpm_draw_for_draw(seed):
    beta = torch.from_numpy(SCHEDULE.beta)
    generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
    start, same = (torch.randn(4, 6, 3, generator=g, dtype=torch.float64) for g in generators)
    expected = _plain_ddpm(beta, start, generators[0])

    def draw():
        return torch.randn(4, 6, 3, generator=generators[1], dtype=torch.float64)

    samples = ancestral(_some_network, same, SCHEDULE.masked(np.ones(50, dtype=bool)), fixed, draw)
    torch.testing.assert_close(samples, expected, rtol=0, atol=1e-10)
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


# -------------------------------------------------------------------------------------- mechanics


@every_grid
def test_with_fixed_variance_the_last_step_adds_no_noise(grid):
    draws, records = [], []

    def draw():
        draws.append(torch.ones(2))
        return draws[-1]

    end = ancestral(exact_noise(0, 1), torch.zeros(2), grid, fixed, draw, records.append)
    assert len(draws) == len(grid) - 1
    torch.testing.assert_close(end, records[-1].x0, rtol=0, atol=1e-6)


@every_grid
def test_with_a_known_variance_every_step_adds_noise(grid):
    draws = []
    ancestral(
        exact_noise(0, 1),
        torch.zeros(2),
        grid,
        exact_variance(1.0),
        lambda: draws.append(1) or torch.zeros(2),
    )
    assert len(draws) == len(grid)


@every_grid
def test_the_callback_hears_of_every_step_in_order(grid):
    records, seen = [], []

    def denoise(x, network_step, alpha_bar):
        seen.append((x, network_step, alpha_bar))
        return exact_noise(0.4, 1)(x, network_step, alpha_bar)

    end = ancestral(denoise, torch.ones(3), grid, callback=records.append)
    assert [record.position for record in records] == list(reversed(range(len(grid))))
    assert [step for _, step, _ in seen] == grid.network_step[::-1].tolist()
    assert [level for _, _, level in seen] == grid.alpha_bar[::-1].tolist()
    assert records[-1].x is end
    for (x, _, level), record in zip(seen, records, strict=True):
        noise = exact_noise(0.4, 1)(x, None, level).noise
        clean = (x - math.sqrt(1 - level) * noise) / math.sqrt(level)
        torch.testing.assert_close(record.x0, clean)


def test_the_callback_may_stop_the_chain():
    def stop(record):
        if record.position == 30:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        ancestral(exact_noise(0, 1), torch.ones(3), SCHEDULE.full(), callback=stop)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_answer_has_the_shape_and_dtype_of_the_start(dtype):
    start = torch.ones(2, 3, 4, dtype=dtype)
    end = ancestral(exact_noise(0, 1), start, SCHEDULE.respaced(EVEN_5), exact_variance(1.0))
    assert (end.shape, end.dtype) == (start.shape, dtype)
    assert torch.equal(start, torch.ones(2, 3, 4, dtype=dtype))


def test_without_a_source_of_noise_the_global_one_is_used():
    ends = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            ends.append(ancestral(exact_noise(0, 1), torch.ones(5), SCHEDULE.full()))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_no_more_than_kept_steps_evaluations():
    count = []

    def denoise(x, network_step, alpha_bar):
        count.append(network_step)
        return Prediction(x)

    ancestral(denoise, torch.ones(1), SCHEDULE.respaced(EVEN_5))
    assert count == [40, 32, 24, 16, 8]
