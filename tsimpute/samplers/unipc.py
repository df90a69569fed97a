"""UniPC-2 (Zhao et al. 2023): a predictor and a corrector that share their evaluations.

Both find the mean clean values of a step and follow them: DPM-Solver++ with a correction.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import InputError
from tsimpute.samplers.dpm_solver import Move, mean_place, stepwise
from tsimpute.samplers.dpm_solver_pp import follow
from tsimpute.samplers.protocol import Callback, Denoise, DrawNoise, ReverseVariance
from tsimpute.samplers.variance import fixed

# B(h) of the paper over exp(-h) - 1, its h being negative where clean values are predicted
GAINS: dict[str, Callable[[float], float]] = {
    "B1": lambda h: -h / math.expm1(-h),
    "B2": lambda h: 1.0,
}


def unipc(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
    *,
    scale: str = "B2",
) -> Tensor:
    """UniP-2 with UniC-2, multistep, in terms of clean values.

    Each step is predicted to second order from the last two evaluations, and done again to third
    order with the evaluation at its end, which is not repeated at the corrected state. K levels
    cost K evaluations.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only. The
        callback hears of the predicted states, where the network is asked; the corrected ones
        are where the next steps start.
    scale : {"B1", "B2"}, default "B2"
        B(h) of the paper, h or exp(h) - 1. It weighs the slope where only two evaluations are
        known, in the predictor and in the first correction; later corrections do not depend on
        it.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.

    Raises
    ------
    InputError
        If the scale is unknown.
    """
    if scale not in GAINS:
        raise InputError(f"got scale={scale!r}, expected one of {sorted(GAINS)}")
    solver = partial(_predict_and_correct, gain=GAINS[scale])
    return stepwise(solver)(denoise, x, grid, variance, draw_noise, callback)


def _predict_and_correct(grid: TimeGrid, gain: Callable[[float], float]) -> Move:
    start: Tensor
    cleans: deque[Tensor] = deque(maxlen=2)  # predicted at the last levels, latest last

    def move(j: int, x: Tensor, noise: Tensor, clean: Tensor) -> tuple[Tensor, float]:
        nonlocal start
        if cleans:
            x = follow(start, _corrected(grid, j + 1, cleans, clean, gain), grid, j + 1)
        cleans.append(clean)
        start = x
        return follow(x, _predicted(grid, j, cleans, gain), grid, j), 0.0

    return move


def _predicted(
    grid: TimeGrid, position: int, cleans: Sequence[Tensor], gain: Callable[[float], float]
) -> Tensor:
    """Mean clean values of the step from `position`, from those at its start and one before."""
    if len(cleans) == 1:
        return cleans[0]
    before, here = cleans
    h, before_place = _places(grid, position)
    return here + gain(h) / 2 / before_place * (before - here)


def _corrected(
    grid: TimeGrid,
    position: int,
    cleans: Sequence[Tensor],
    ahead: Tensor,
    gain: Callable[[float], float],
) -> Tensor:
    """The same with those at the end of the step: exact for a parabola once there are three."""
    here = cleans[-1]
    if len(cleans) == 1:
        h = float(grid.log_snr[position - 1] - grid.log_snr[position])
        return here + gain(h) / 2 * (ahead - here)
    h, before_place = _places(grid, position)
    mean = mean_place(-h)
    mean_square = -1 / math.expm1(-h) - 2 * mean / h
    weight = (mean - mean_square) / (1 - before_place)
    return here + weight / before_place * (cleans[0] - here) + (mean - weight) * (ahead - here)


def _places(grid: TimeGrid, position: int) -> tuple[float, float]:
    """Length of the step in lambda, and the place of the level before it, in steps."""
    before, here, ahead = grid.log_snr[[position + 1, position, position - 1]].tolist()
    return ahead - here, (before - here) / (ahead - here)
