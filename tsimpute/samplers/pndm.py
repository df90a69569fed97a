"""Pseudo numerical methods (PNDM, Liu et al. 2022): multistep solvers that move by DDIM's step.

With x / sqrt(A) as the state and gamma = sqrt((1 - A) / A) as the time, the deterministic chain
is the plain equation dx/dgamma = eps(x), and DDIM's step integrates a constant eps exactly. A
solver only has to find the mean noise of a step, and moves along that (:func:`along`).

The paper's coefficients, (3, -1) / 2 and (55, -59, 37, -9) / 24, suppose even steps. Here they
are those of the grid at hand (:func:`step_weights`), and equal the paper's where gamma falls
evenly: on kept levels that lie far from even, the fixed ones keep the second order at best.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    DrawNoise,
    Prediction,
    ReverseVariance,
    Sampler,
    StepRecord,
    add_noise,
    clean_values,
)
from tsimpute.samplers.variance import fixed

Direction = Callable[[Denoise, TimeGrid, int, Tensor, Prediction], Tensor]


def s_pndm(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Second order: Heun's method for the first step, then two-step Adams-Bashforth.

    K levels cost K + 1 evaluations, a single level one. Only levels of the grid are asked for.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    return along(_multistep(2))(denoise, x, grid, variance, draw_noise, callback)


def f_pndm(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Four-step Adams-Bashforth after three corrected steps of rising order.

    The paper starts with three Runge-Kutta steps, which evaluate the noise half-way between two
    levels. A network that was trained on whole steps knows nothing there, so the start uses the
    grid's own levels: each of the first three steps is predicted by Adams-Bashforth of order 1,
    2 and 3 and corrected by Adams-Moulton of order 2, 3 and 4 with the noise at its end. The
    chain as a whole has order 3, from its first step; the later steps have order 4.

    K levels cost K + min(3, K - 1) evaluations. A grid of fewer than five levels ends before the
    four-step formula is reached, and is walked by the corrected steps alone.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    return along(_multistep(4))(denoise, x, grid, variance, draw_noise, callback)


def along(direction: Direction) -> Sampler:
    """Sampler that moves from level to level by DDIM's step along a noise of its own choice.

    Parameters
    ----------
    direction : callable
        (denoise, grid, position, state, prediction at the state) -> mean noise of the step from
        `position` to the next cleaner level. Not asked at position 0, from where the step leads
        to the clean values that the network sees, plus noise of their variance.
    """

    def sample(
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance = fixed,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        for j in reversed(range(len(grid))):
            level, cleaner = float(grid.alpha_bar[j]), float(grid.alpha_bar_previous[j])
            prediction = denoise(x, float(grid.network_step[j]), level)
            clean = clean_values(x, prediction.noise, level)
            spread = variance(grid, 0, prediction) if j == 0 else 0.0
            if j > 0:
                x = transfer(x, direction(denoise, grid, j, x, prediction), level, cleaner)
            else:
                x = add_noise(clean, spread, draw_noise)
            if callback is not None:
                callback(StepRecord(j, x, clean, spread))
        return x

    return sample


def transfer(x: Tensor, noise: Tensor, alpha_bar: float, cleaner: float) -> Tensor:
    """State at the signal share `cleaner` if x consists of this noise and clean values (Eq. 11).

    DDIM's deterministic step, with both coefficients taken in float64.
    """
    growth = math.sqrt(cleaner / alpha_bar)
    return growth * x + (math.sqrt(1 - cleaner) - growth * math.sqrt(1 - alpha_bar)) * noise


def step_weights(times: Sequence[float], start: float, end: float) -> list[float]:
    """Weights with which values at some times give their mean over [start, end].

    Exact for polynomials of degree len(times) - 1: Adams-Bashforth where no time lies beyond the
    start, Adams-Moulton where the end is one of them.
    """
    places = (np.asarray(times) - start) / (end - start)
    degree = np.arange(len(places))
    moments = 1 / (degree + 1)  # mean of u^k over [0, 1]
    weights: list[float] = np.linalg.solve(places ** degree[:, None], moments).tolist()
    return weights


def noise_ratio(grid: TimeGrid, position: int) -> float:
    """Gamma = sqrt((1 - A) / A), the time in which the deterministic chain is dx/dgamma = eps."""
    return math.exp(-float(grid.log_snr[position]))


def _multistep(order: int) -> Direction:
    past: deque[tuple[float, Tensor]] = deque(maxlen=order)

    def direction(
        denoise: Denoise, grid: TimeGrid, j: int, x: Tensor, prediction: Prediction
    ) -> Tensor:
        start, end = noise_ratio(grid, j), noise_ratio(grid, j - 1)
        past.append((start, prediction.noise))
        predicted = _mean_noise(past, start, end)
        if len(grid) - j >= order:
            return predicted
        level, cleaner = float(grid.alpha_bar[j]), float(grid.alpha_bar[j - 1])
        ahead = transfer(x, predicted, level, cleaner)
        there = denoise(ahead, float(grid.network_step[j - 1]), cleaner).noise
        return _mean_noise([*past, (end, there)], start, end)

    return direction


def _mean_noise(points: Sequence[tuple[float, Tensor]], start: float, end: float) -> Tensor:
    weights = step_weights([time for time, _ in points], start, end)
    terms = [weight * noise for weight, (_, noise) in zip(weights, points, strict=True)]
    return sum(terms[1:], start=terms[0])
