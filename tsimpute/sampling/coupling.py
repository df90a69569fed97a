"""Samples with given marginals and the dependence of other samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


def even_levels(n_samples: int) -> list[float]:
    """Levels (i + 1/2) / S, at which S samples stand for a distribution."""
    return [(i + 0.5) / n_samples for i in range(n_samples)]


def couple(samples: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Ensemble copula coupling (Schefzik, Thorarinsdottir and Gneiting 2013, ECC-Q).

    Each cell keeps the ranks of its samples, and takes the marginal's quantiles as values: the
    dependence over time and features is that of the samples, the marginals are exactly the given
    ones.

    Parameters
    ----------
    samples : ndarray of float, shape (S, ...)
    quantiles : ndarray of float, shape (S, ...)
        Of the marginals, at `even_levels`; increasing along the first axis.

    Returns
    -------
    ndarray of the dtype of `quantiles`, shape (S, ...)
        Ties are ranked in the order of the samples.
    """
    ranks = samples.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return np.take_along_axis(quantiles, ranks, axis=0)
