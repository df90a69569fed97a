"""Each reverse variance against its formula and against exact Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tsimpute.diffusion.schedule import make_schedule
from tsimpute.samplers import Prediction, ancestral
from tsimpute.samplers.variance import analytic, fixed, large, noise_residual, squared_noise

GRID = make_schedule().respaced([8, 16, 24, 32, 40])
V = 0.3


def _moments_of_noise(level):
    """E eps_hat^2 and Var[eps | x] for x_0 ~ N(0, V) with the exact denoiser."""
    total = level * V + 1 - level
    return (1 - level) / total, 1 - (1 - level) / total


def _true_variance(level):
    return V * (1 - level) / (level * V + 1 - level)


@pytest.mark.parametrize("position", range(5))
def test_with_exact_inputs_all_of_them_are_the_exact_variance(position):
    level = float(GRID.alpha_bar[position])
    power, residual = _moments_of_noise(level)
    noise = torch.tensor([0.3, -1.2], dtype=torch.float64)
    expected = _true_variance(level)
    by_step = {int(GRID.index[position]): power}
    assert analytic(by_step)(GRID, position, Prediction(noise)) == pytest.approx(expected)
    head = torch.full((2,), residual / level, dtype=torch.float64)
    np.testing.assert_allclose(noise_residual(GRID, position, Prediction(noise, head)), expected)
    sn = squared_noise(GRID, position, Prediction(noise, noise.square() + residual))
    np.testing.assert_allclose(sn, expected, rtol=1e-9)


@pytest.mark.parametrize("position", range(5))
def test_large_gives_an_ancestral_step_the_variance_beta(position):
    level, cleaner = float(GRID.alpha_bar[position]), float(GRID.alpha_bar_previous[position])
    step = level / cleaner
    pull = math.sqrt(cleaner) * (1 - step) / (1 - level)
    var0 = large(GRID, position, Prediction(torch.zeros(1)))
    assert float(GRID.posterior_variance[position]) + pull**2 * var0 == pytest.approx(1 - step)


def test_none_of_them_is_negative_or_wider_than_the_data():
    noise = torch.tensor([0.0, 5.0])
    assert fixed(GRID, 0, Prediction(noise)) == 0
    for power, expected in ((2.0, 0.0), (-1.0, 1.0)):
        assert analytic({int(GRID.index[-1]): power})(GRID, 4, Prediction(noise)) == expected
    assert torch.all(squared_noise(GRID, 4, Prediction(noise, torch.tensor([0.1, 0.1]))) >= 0)


def test_the_callback_hears_of_the_noise_of_every_step():
    records = []
    residual = torch.full((2,), 0.01)
    ancestral(
        lambda x, step, level: Prediction(0.1 * x, residual),
        torch.ones(2),
        GRID,
        noise_residual,
        lambda: torch.zeros(2),
        records.append,
    )
    last = records[-1]
    level = float(GRID.alpha_bar[0])
    torch.testing.assert_close(last.spread, residual * (1 - level))
    torch.testing.assert_close(last.x0, last.x)  # the noise was zero
