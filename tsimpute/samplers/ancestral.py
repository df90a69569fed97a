"""Ancestral sampling (DDPM, Ho et al. 2020, Algorithm 2) on any grid."""

from __future__ import annotations

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    DrawNoise,
    ReverseVariance,
    StepRecord,
    add_noise,
    clean_values,
)
from tsimpute.samplers.variance import fixed


def ancestral(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Walk the grid from its noisiest level to clean values.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    for j in reversed(range(len(grid))):
        level, cleaner = float(grid.alpha_bar[j]), float(grid.alpha_bar_previous[j])
        step = level / cleaner
        prediction = denoise(x, float(grid.network_step[j]), level)
        clean = clean_values(x, prediction.noise, level)
        mean = (x - (1 - step) / (1 - level) ** 0.5 * prediction.noise) / step**0.5
        pull = cleaner**0.5 * (1 - step) / (1 - level)  # weight of x_0 in the posterior mean
        spread = float(grid.posterior_variance[j]) + pull**2 * variance(grid, j, prediction)
        x = add_noise(mean, spread, draw_noise)
        if callback is not None:
            callback(StepRecord(j, x, clean, spread))
    return x
