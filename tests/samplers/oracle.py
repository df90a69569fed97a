"""Exact answers that samplers are tested against.

For x_0 ~ N(mu, v) the exact predicted noise is affine in x, so that a whole chain is affine in
its start and its draws. Its coefficients are read off by running it on unit vectors, which gives
the mean and variance of the samples without any Monte Carlo. The deterministic chain (the flow
that keeps the law of every level) is known in closed form, too; for data with two modes, where
the noise is not affine, a fine Runge-Kutta solution takes its place.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tsimpute.diffusion.schedule import TimeGrid, make_schedule
from tsimpute.samplers import Prediction
from tsimpute.samplers.variance import fixed

SCHEDULE = make_schedule()
EVEN_5, EVEN_10 = np.arange(8, 41, 8), np.arange(4, 41, 4)
GRIDS = {
    "all": SCHEDULE.full(),
    "respaced 10": SCHEDULE.respaced(EVEN_10),
    "respaced 5": SCHEDULE.respaced(EVEN_5),
    "respaced two": SCHEDULE.respaced([18, 38]),
    "respaced one": SCHEDULE.respaced([38]),
    "masked 5": SCHEDULE.masked(np.isin(np.arange(50), EVEN_5)),
    "masked top 10": SCHEDULE.masked(np.arange(50) >= 40),
    "masked one": SCHEDULE.masked(np.arange(50) == 0),
}
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
laws = pytest.mark.parametrize(("mu", "v"), [(0.0, 1.0), (1.5, 0.2), (-0.7, 3.0)])

LOG_SNR_ENDS = (-3.0, 2.0)  # of smooth grids: from mostly noise to mostly signal


# --------------------------------------------------------------------------------- exact networks


def exact_noise(mu, v):
    """Denoiser that knows E[noise | x] for x_0 ~ N(mu, v)."""

    def denoise(x, network_step, alpha_bar):
        gap = x - math.sqrt(alpha_bar) * mu
        return Prediction(math.sqrt(1 - alpha_bar) * gap / (alpha_bar * v + 1 - alpha_bar))

    return denoise


def exact_variance(v):
    """Reverse variance that knows Var[x_0 | x] for x_0 ~ N(mu, v)."""

    def variance(grid, position, prediction):
        a = float(grid.alpha_bar[position])
        return v * (1 - a) / (a * v + 1 - a)

    return variance


def two_modes(mode, v):
    """Denoiser that knows E[noise | x] for x_0 ~ half N(-mode, v), half N(mode, v)."""

    def denoise(x, network_step, alpha_bar):
        total = alpha_bar * v + 1 - alpha_bar
        side = torch.tanh(math.sqrt(alpha_bar) * mode * x / total)
        gap = x - math.sqrt(alpha_bar) * mode * side
        return Prediction(math.sqrt(1 - alpha_bar) * gap / total)

    return denoise


def count_calls(denoise):
    """The same denoiser, and the list of (network_step, alpha_bar) that it is asked for."""
    asked = []

    def counted(x, network_step, alpha_bar):
        asked.append((network_step, alpha_bar))
        return denoise(x, network_step, alpha_bar)

    return counted, asked


# ---------------------------------------------------------------------------------- exact moments


def true_start(grid, mu, v):
    """Mean and variance of the true law at the noisiest level, the corrected start."""
    top = float(grid.alpha_bar[-1])
    return math.sqrt(top) * mu, 1 - top + top * v


def moments(sampler, grid, denoise, variance=fixed, start_mean=0.0, start_variance=1.0):
    """Mean and variance of the samples, from the coefficients of the affine chain.

    The denoiser has to be affine and act on each cell alone, like `exact_noise`.
    """
    size = 2 * len(grid) + 4  # nothing, the start, then each draw
    units = iter(torch.eye(size, dtype=torch.float64)[1:])
    start = next(units)
    end = sampler(denoise, start, grid, variance, lambda: next(units))
    coefficients = (end[1:] - end[0]).tolist()
    mean = float(end[0]) + coefficients[0] * start_mean
    return mean, coefficients[0] ** 2 * start_variance + sum(c**2 for c in coefficients[1:])


# ----------------------------------------------------------------------------- the exact solution


def smooth_grid(n_steps, ends=LOG_SNR_ENDS, bend=0.0):
    """Grid of n_steps + 1 levels, even in half log SNR where bend is 0.

    A bend between -1 and 1 shrinks the steps smoothly towards one end.
    """
    place = np.linspace(1, 0, n_steps + 1)  # cleanest first
    place = place + bend * place * (1 - place)
    log_snr = ends[0] + (ends[1] - ends[0]) * place
    index = np.arange(n_steps + 1)
    return TimeGrid(index, 1 / (1 + np.exp(-2 * log_snr)), index.astype(np.float64))


def exact_flow(x, grid, mu, v):
    """Where the deterministic chain takes x, from the noisiest to the cleanest level of a grid."""
    start, end = float(grid.alpha_bar[-1]), float(grid.alpha_bar[0])
    growth = math.sqrt((end * v + 1 - end) / (start * v + 1 - start))
    return math.sqrt(end) * mu + growth * (x - math.sqrt(start) * mu)


def fine_flow(x, grid, denoise, n_steps=400):
    """The same for any denoiser, by Runge-Kutta steps of dx/d(lambda) = (1 - A) x - sqrt(1-A) eps.

    lambda = 0.5 ln(A / (1 - A)).
    """

    def slope(x, log_snr):
        level = 1 / (1 + math.exp(-2 * log_snr))
        return (1 - level) * x - math.sqrt(1 - level) * denoise(x, math.nan, level).noise

    at, h = float(grid.log_snr[-1]), float(grid.log_snr[0] - grid.log_snr[-1]) / n_steps
    for _ in range(n_steps):
        k1 = slope(x, at)
        k2 = slope(x + h / 2 * k1, at + h / 2)
        k3 = slope(x + h / 2 * k2, at + h / 2)
        k4 = slope(x + h * k3, at + h)
        x, at = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), at + h
    return x


def state_before_the_end(sampler, denoise, x, grid):
    """State at the cleanest level of a grid: the jump from there to clean values is a decode."""
    records = []
    sampler(denoise, x, grid, fixed, callback=records.append)
    return next(record.x for record in records if record.position == 1)


def order_of_convergence(sampler, denoise, exact, steps=(12, 24, 48, 96), bend=0.0):
    """Slope of log error on log step size; `exact(x, grid)` is the true end of the flow."""
    x = torch.linspace(-1.7, 2.1, 7, dtype=torch.float64)
    errors = []
    for n_steps in steps:
        grid = smooth_grid(n_steps, bend=bend)
        end = state_before_the_end(sampler, denoise, x, grid)
        errors.append(float((end - exact(x, grid)).square().mean().sqrt()))
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


# -------------------------------------------------------------------------------------- mechanics


def wavy_network(x, network_step, alpha_bar):
    """Noise that mixes the cells, depends on the step, and is far from linear."""
    weight = torch.linspace(-1, 1, x.shape[-1] ** 2, dtype=x.dtype).view(x.shape[-1], -1)
    return Prediction(torch.tanh(x @ weight + 0.1 * math.sin(network_step)))


def draws_of(seed, shape, dtype=torch.float64):
    """Function that returns the next standard normal numbers of a seed."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=dtype)


def assert_one_evaluation_a_level(sampler, grid):
    """K levels cost K evaluations, each reported, and the last one tells the law of the sample."""
    denoise, asked = count_calls(exact_noise(0.4, 0.5))
    records = []
    noise = torch.tensor([0.5, -2.0], dtype=torch.float64)
    start = torch.tensor([1.3, -0.2], dtype=torch.float64)
    kept = start.clone()
    end = sampler(denoise, start, grid, exact_variance(0.5), lambda: noise, records.append)
    assert [level for _, level in asked] == grid.alpha_bar[::-1].tolist()
    assert [step for step, _ in asked] == grid.network_step[::-1].tolist()
    assert [record.position for record in records] == list(reversed(range(len(grid))))
    last = records[-1]
    assert last.x is end
    assert last.spread == pytest.approx(exact_variance(0.5)(grid, 0, None))
    torch.testing.assert_close(end, last.x0 + math.sqrt(last.spread) * noise)
    assert torch.equal(start, kept)


def assert_keeps_the_dtype(sampler, grid):
    """float32 stays float32 and lies near float64."""
    ends = []
    for dtype in (torch.float64, torch.float32):
        start = torch.linspace(-1.5, 2, 24, dtype=torch.float64).view(2, 3, 4).to(dtype)
        ones = torch.ones_like(start)
        end = sampler(exact_noise(0.4, 0.5), start, grid, exact_variance(0.5), lambda x=ones: x)
        assert (end.shape, end.dtype) == (start.shape, dtype)
        ends.append(end)
    torch.testing.assert_close(ends[1].double(), ends[0], rtol=1e-3, atol=1e-3)
