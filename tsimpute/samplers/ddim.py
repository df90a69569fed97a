"""DDIM (Song et al. 2021): from deterministic steps to ancestral sampling by one number, eta."""

from __future__ import annotations

import math

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import InputError
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


def ddim(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """Step to sqrt(S) x_0 + sqrt(1 - S - lambda^2) eps + lambda z, lambda = eta beta-tilde^(1/2).

    Eq. 12 of the paper. The samples are deterministic in x where eta is 0 and the variance fixed.
    Any other variance adds noise to every step, whatever eta is (Bao et al. 2022b): the step's
    mean takes the network's x_0 for the true one, and what that leaves out is the variance of
    x_0 times the square of its weight, sqrt(S) - sqrt((1 - S - lambda^2) A / (1 - A)).
    K levels cost K evaluations.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`.
    eta : float, default 0.0
        Share of the ancestral noise, in [0, 1]; 1 is :func:`tsimpute.samplers.ancestral`.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.

    Raises
    ------
    InputError
        If eta lies outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise InputError(f"got eta={eta!r}, expected a number from 0 (no noise) to 1 (ancestral)")
    for j in reversed(range(len(grid))):
        level, cleaner = float(grid.alpha_bar[j]), float(grid.alpha_bar_previous[j])
        prediction = denoise(x, float(grid.network_step[j]), level)
        clean = clean_values(x, prediction.noise, level)
        fresh = eta**2 * float(grid.posterior_variance[j])  # lambda^2
        kept = math.sqrt(max(0.0, 1 - cleaner - fresh))
        weight = math.sqrt(cleaner) - kept * math.sqrt(level / (1 - level))  # of x_0
        mean = math.sqrt(cleaner) * clean + kept * prediction.noise
        spread = fresh + weight**2 * variance(grid, j, prediction)
        x = add_noise(mean, spread, draw_noise)
        if callback is not None:
            callback(StepRecord(j, x, clean, spread))
    return x
