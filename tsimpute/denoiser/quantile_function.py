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
    known, score = ndtri(np.asarray(levels)), ndtri(np.asarray(wanted))
    left = np.clip(np.searchsorted(known, score) - 1, 0, len(known) - 2)
    share = (score - known[left]) / (known[left + 1] - known[left])
    weights = np.zeros((len(score), len(known)))
    rows = np.arange(len(score))
    weights[rows, left] = 1 - share
    weights[rows, left + 1] += share
    return weights


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
