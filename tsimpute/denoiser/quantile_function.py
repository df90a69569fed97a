"""A whole distribution from its quantiles at a few levels.

Between the levels, and beyond the outermost two, the quantile function is linear in the normal
score of the level: it interpolates smoothly, never crosses, and its tails are Gaussian with the
slope of the last piece. Everything is then linear or quadratic in the known quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

FloatArray = NDArray[np.float64]

N_POINTS = 400  # of the rule that integrates over the levels


def interpolation_matrix(levels: Sequence[float], wanted: Sequence[float]) -> FloatArray:
    """Weights of the known quantiles in each wanted one; shape (n_wanted, n_levels).

    Parameters
    ----------
    levels, wanted : sequence of float
        In (0, 1); `levels` increasing, at least two.
    """
    left, share = _pieces(levels, wanted)
    weights = np.zeros((len(left), len(levels)))
    rows = np.arange(len(left))
    weights[rows, left] = 1 - share
    weights[rows, left + 1] += share
    return weights


def quantiles_at(
    marks: NDArray[np.floating], levels: Sequence[float], wanted: Sequence[float]
) -> FloatArray:
    """Quantiles (n_wanted, ...) from those at levels, `marks` (n_levels, ...).

    Read from two neighbours each: a product with the whole matrix, of which nearly all is 0, may
    wait longer for the threads of its library than it computes.
    """
    left, share = _pieces(levels, wanted)
    share = share.reshape(-1, *[1] * (marks.ndim - 1))
    return np.asarray((1 - share) * marks[left] + share * marks[left + 1])


def _pieces(
    levels: Sequence[float], wanted: Sequence[float]
) -> tuple[NDArray[np.intp], FloatArray]:
    """Left neighbour of each wanted level, and the share of the right one."""
    known, score = ndtri(np.asarray(levels)), ndtri(np.asarray(wanted))
    left = np.clip(np.searchsorted(known, score) - 1, 0, len(known) - 2)
    return left, (score - known[left]) / (known[left + 1] - known[left])


def moments(marks: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Mean and variance of the distributions, each (...), from marks (..., n_levels)."""
    points = (np.arange(N_POINTS) + 0.5) / N_POINTS
    weights = interpolation_matrix(levels, points.tolist())
    first = weights.mean(0)
    second = weights.T @ weights / N_POINTS - np.outer(first, first)
    mean = marks @ torch.from_numpy(first).to(marks)
    factor = torch.from_numpy(second).to(marks)
    variance = ((marks - mean[..., None]) @ factor * (marks - mean[..., None])).sum(-1)
    return mean, variance.clamp(min=0)
