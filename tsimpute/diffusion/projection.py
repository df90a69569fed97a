"""Projection of step scores onto the capped simplex."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError


def project_capped_simplex(scores: ArrayLike, budget: float) -> NDArray[np.float64]:
    """Nearest point of {s in [0, 1]^T : sum(s) <= budget} (EDDPM, Theorem 1).

    The answer is clip(scores - v, 0, 1) with v = 0 where that already fits the budget. Else v
    is the root of a piecewise linear function whose breakpoints are scores - 1 and scores, so
    it is found exactly by sorting those.

    Parameters
    ----------
    scores : array_like of float, shape (T,)
        Any real numbers; NaN is not allowed.
    budget : float
        Largest allowed sum, at least 0.

    Returns
    -------
    ndarray of float64, shape (T,)

    Raises
    ------
    InputError
        If a score is not finite or the budget is negative.
    """
    z = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(z).all() or budget < 0:
        raise InputError(f"scores must be finite and budget >= 0; got {z} and {budget}")
    if np.clip(z, 0, 1).sum() <= budget:
        return np.clip(z, 0, 1)
    # The root lies within 1 below the score that is first beyond the budget: what is further away
    # ends at 0 or 1, and huge scores must not cost the others their digits.
    z = np.clip(z - np.sort(z)[::-1][int(budget)], -1, 1)
    return np.asarray(np.clip(z - _shift(z, budget), 0, 1))


def _shift(z: NDArray[np.float64], budget: float) -> float:
    breakpoints = np.sort(np.concatenate([z - 1, z]))
    totals = np.clip(z[None, :] - breakpoints[:, None], 0, 1).sum(axis=1)  # falls with v
    after = int(np.searchsorted(-totals, -budget))  # first breakpoint with total <= budget
    left, right = breakpoints[after - 1], breakpoints[after]
    drop = totals[after - 1] - totals[after]
    return float(left + (right - left) * (totals[after - 1] - budget) / drop)
