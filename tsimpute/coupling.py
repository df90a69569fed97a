"""Samples with given marginals and the dependence of other samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def couple(
    samples: FloatArray, marginal_quantiles: Callable[[list[float]], FloatArray]
) -> FloatArray:
    """Ensemble copula coupling (Schefzik, Thorarinsdottir and Gneiting 2013, ECC-Q).

    Each cell keeps the ranks of its samples, and takes as values the marginal's quantiles at the
    levels (i + 1/2) / S: the dependence over time and features is that of the samples, the
    marginals are exactly the given ones.

    Parameters
    ----------
    samples : ndarray of float, shape (S, ...)
    marginal_quantiles : callable
        From S levels in (0, 1) to quantiles (S, ...), increasing along the first axis.

    Returns
    -------
    ndarray of float, shape (S, ...)
        Ties are ranked in the order of the samples.
    """
    n = len(samples)
    values = marginal_quantiles([(i + 0.5) / n for i in range(n)])
    ranks = samples.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return np.take_along_axis(values, ranks, axis=0)
