"""DPM-Solver-2 and -3 (Lu et al. 2022a): exponential integrators of the predicted noise.

With lambda = 0.5 ln(A / (1 - A)) as the time, the deterministic chain from A to S is exactly

    x_s = sqrt(S / A) x - sqrt(S) * integral of exp(-lambda) eps(lambda) d lambda,

and only the noise has to be approximated: by a constant (DDIM's step), or by its slope as well.
These are single-step solvers. The paper puts the intermediate evaluations of a step at fixed
fractions of it; here they are levels of the grid, two or three intervals making one step, so
that the network is asked only about levels that were chosen for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.samplers.pndm import transfer
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    DrawNoise,
    ReverseVariance,
    Sampler,
    StepRecord,
    add_noise,
    clean_values,
)
from tsimpute.samplers.variance import fixed

Move = Callable[[int, Tensor, Tensor, Tensor], tuple[Tensor, float]]


def dpm_solver_2(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Second order: each step spans two intervals of the grid.

    An interval that is left over at the clean end is a step of first order. K levels cost K
    evaluations. As in the paper, the slope of the noise weighs as it does over a short step,
    which is too much over a wide one: with a handful of levels
    :func:`tsimpute.samplers.dpm_solver_pp.dpm_solver_pp_2m` is the better solver.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only. The
        state after every second evaluation only is a step of the solver: the one before it is
        the point where the step's noise is evaluated again.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    return stepwise(_single_steps(2))(denoise, x, grid, variance, draw_noise, callback)


def dpm_solver_3(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Third order: each step spans three intervals of the grid.

    One or two intervals that are left over at the clean end are a step of order one or two. The
    order is three where the last evaluation of each step lies near two thirds of it in half log
    SNR, as it does where the length of the intervals changes smoothly; two on other grids. K
    levels cost K evaluations.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only. The
        states after the first two evaluations of a step are points where its noise is evaluated.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    return stepwise(_single_steps(3))(denoise, x, grid, variance, draw_noise, callback)


def stepwise(solver: Callable[[TimeGrid], Move]) -> Sampler:
    """Sampler that asks the network once at each level, and moves on as a solver says.

    Parameters
    ----------
    solver : callable
        From a grid to a fresh move (position, state, noise, clean values) -> mean and variance
        of the state at the next cleaner level. A move is not asked at position 0, from where the
        step leads to the clean values that the network sees, plus noise of their variance.
    """

    def sample(
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance = fixed,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        move = solver(grid)
        for j in reversed(range(len(grid))):
            level = float(grid.alpha_bar[j])
            prediction = denoise(x, float(grid.network_step[j]), level)
            mean = clean = clean_values(x, prediction.noise, level)
            spread = variance(grid, 0, prediction) if j == 0 else 0.0
            if j > 0:
                mean, spread = move(j, x, prediction.noise, clean)
            x = add_noise(mean, spread, draw_noise)
            if callback is not None:
                callback(StepRecord(j, x, clean, spread))
        return x

    return sample


def mean_place(h: float) -> float:
    """Mean of t over [0, 1] with weights exp(-h t): where a linear function has its mean.

    A step of length h in lambda weighs the noise so, and clean values with -h.
    """
    return 1 / h - 1 / math.expm1(h)


def _single_steps(order: int) -> Callable[[TimeGrid], Move]:
    """Steps over `order` intervals of the grid each, and one over what is left at the end."""

    def solver(grid: TimeGrid) -> Move:
        level, log_snr = grid.alpha_bar.tolist(), grid.log_snr.tolist()
        top = bottom = len(grid) - 1  # positions where the present step starts and ends
        start: Tensor
        first: Tensor

        def move(j: int, x: Tensor, noise: Tensor, clean: Tensor) -> tuple[Tensor, float]:
            nonlocal start, first, top, bottom
            if j == bottom:
                start, first, top, bottom = x, noise, j, max(0, j - order)
            mean_noise = first
            if j < top:
                h = log_snr[j - 1] - log_snr[top]
                latest = (log_snr[j] - log_snr[top]) / h  # place of the latest noise in the step
                # DPM-Solver-2 takes the limit of short steps
                middle = 0.5 if top - bottom == 2 else mean_place(h)
                mean_noise = first + middle / latest * (noise - first)
            return transfer(start, mean_noise, level[top], level[j - 1]), 0.0

        return move

    return solver
