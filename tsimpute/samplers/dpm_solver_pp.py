"""DPM-Solver++ (Lu et al. 2022b): exponential integrators of the predicted clean values.

With lambda = 0.5 ln(A / (1 - A)) as the time and h the length of a step, the step follows the
clean values D that two evaluations predict for its middle (2M: two-step, multistep).
"""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.samplers.dpm_solver import Move, stepwise
from tsimpute.samplers.protocol import Callback, Denoise, DrawNoise, ReverseVariance
from tsimpute.samplers.variance import fixed


def dpm_solver_pp_2m(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Second order, deterministic; its first step is DDIM's.

    K levels cost K evaluations.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    return stepwise(partial(_two_steps, eta=0))(denoise, x, grid, variance, draw_noise, callback)


def dpm_solver_pp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The same for the reverse diffusion (SDE-DPM-Solver++(2M)); its first step is ancestral.

    Each step adds the noise of an ancestral one with the fixed variance. What that leaves out,
    the two-step formula makes up for to second order, so that no other variance is needed before
    the last step. K levels cost K evaluations.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    return stepwise(partial(_two_steps, eta=1))(denoise, x, grid, variance, draw_noise, callback)


def follow(x: Tensor, clean: Tensor, grid: TimeGrid, position: int, eta: int = 0) -> Tensor:
    """Mean of the state one level on, if the same clean values are predicted all the way.

    Exact for them: the deterministic chain with eta = 0; the reverse diffusion with eta = 1,
    where the state decays twice as fast in lambda, and noise makes up for it.
    """
    level, cleaner = float(grid.alpha_bar[position]), float(grid.alpha_bar[position - 1])
    h = float(grid.log_snr[position - 1] - grid.log_snr[position])
    kept = math.sqrt((1 - cleaner) / (1 - level)) * math.exp(-eta * h)
    return kept * x - math.sqrt(cleaner) * math.expm1(-(1 + eta) * h) * clean


def _two_steps(grid: TimeGrid, eta: int) -> Move:
    log_snr = grid.log_snr.tolist()
    previous: Tensor | None = None

    def move(j: int, x: Tensor, noise: Tensor, clean: Tensor) -> tuple[Tensor, float]:
        nonlocal previous
        h = log_snr[j - 1] - log_snr[j]
        middle = clean
        if previous is not None:
            r = (log_snr[j] - log_snr[j + 1]) / h
            middle = clean + (clean - previous) / (2 * r)
        previous = clean
        spread = eta * (1 - float(grid.alpha_bar[j - 1])) * -math.expm1(-2 * h)
        return follow(x, middle, grid, j, eta), spread

    return move
