"""Central intervals: how often they hold the truth, and how wide they are."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from tsimpute.errors import InputError
from tsimpute.evaluation.cells import (
    FloatArray,
    checked_levels,
    sorted_quantiles,
    sorted_sample_blocks,
)


def coverage(
    samples: ArrayLike, truth: ArrayLike, target_mask: ArrayLike, level: float = 0.9
) -> float:
    """Share of the target cells inside the central interval of the samples, its ends included.

    The interval's ends are the linearly interpolated quantiles ``(1 ± level) / 2``; a calibrated
    model covers about ``level``.  Arrays and input errors are those of `metrics.ensemble_crps`.

    Raises
    ------
    InputError
        Also if ``level`` is not inside (0, 1).
    """
    ends, n_inside, n_cells = _central_levels(level), 0, 0
    for ordered, values in sorted_sample_blocks(samples, truth, target_mask):
        low, high = sorted_quantiles(ordered, ends)
        n_inside += int(((low <= values) & (values <= high)).sum())
        n_cells += values.size
    return n_inside / n_cells


def interval_width(
    samples: ArrayLike, truth: ArrayLike, target_mask: ArrayLike, level: float = 0.9
) -> float:
    """Mean width of the interval of `coverage` over the target cells, in the data's unit."""
    ends, total, n_cells = _central_levels(level), 0.0, 0
    for ordered, values in sorted_sample_blocks(samples, truth, target_mask):
        low, high = sorted_quantiles(ordered, ends)
        total += float((high - low).sum())
        n_cells += values.size
    return total / n_cells


def gaussian_quantiles(mean: ArrayLike, sd: ArrayLike, levels: Sequence[float]) -> FloatArray:
    """Quantiles (n_levels, ...) of a normal distribution in every cell.

    Parameters
    ----------
    mean, sd : array_like of float, shape (...)
        Mean and standard deviation in one unit; NaN gives NaN.
    levels : sequence of float
        Levels strictly between 0 and 1.

    Raises
    ------
    InputError
        If a level is not inside (0, 1) or a standard deviation is negative.
    """
    centre, spread = np.broadcast_arrays(np.asarray(mean, float), np.asarray(sd, float))
    if (spread < 0).any():
        raise InputError(f"sd: got {np.nanmin(spread)}, expected 0 or more; pass deviations")
    scores = np.array([NormalDist().inv_cdf(level) for level in checked_levels(levels)])
    return np.asarray(centre + scores.reshape(-1, *([1] * centre.ndim)) * spread)


def _central_levels(level: float) -> tuple[float, float]:
    (checked,) = checked_levels([level])
    return (1 - checked) / 2, (1 + checked) / 2
