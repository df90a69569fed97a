"""How many independent cells the cells of a few gaps tell as much as."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsimpute.evaluation.cells import FloatArray

IntArray = NDArray[np.int64]


def likeness(scores: FloatArray, levels: FloatArray, features: IntArray, gaps: IntArray) -> float:
    """Intraclass correlation of whether cells of one gap lie beyond a quantile of their feature.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_levels, n)
        What is compared, for each level by itself.
    levels : ndarray of float64, shape (n_levels,)
        Of the quantiles, strictly between 0 and 1.
    features, gaps : ndarray of int64, shape (n,)
        Feature of each cell; a number for each gap.

    Returns
    -------
    float
        From 0 (cells of one gap go wrong independently, or each gap is one cell) to 1. From all
        pairs of cells of one gap, pooled over features and levels.
    """
    _, gap = np.unique(gaps, return_inverse=True)
    together = n_pairs = 0.0
    for feature in np.unique(features):
        own, in_gap = scores[:, features == feature], gap[features == feature]
        ordered = np.sort(own, axis=1)
        rank = np.ceil(own.shape[1] * levels).astype(np.int64) - 1
        beyond = own > ordered[np.arange(len(own)), rank][:, None]
        share = beyond.mean(axis=1, keepdims=True)
        spread = np.sqrt(share * (1 - share))
        away = np.divide(beyond - share, spread, out=np.zeros(own.shape), where=spread > 0)
        sums = np.array([np.bincount(in_gap, row) for row in away])
        sizes = np.bincount(in_gap)
        together += float(np.square(sums).sum() - np.square(away).sum())
        n_pairs += float((sizes * (sizes - 1.0)).sum()) * int((spread > 0).sum())
    return float(np.clip(together / n_pairs, 0.0, 1.0)) if n_pairs else 0.0


def independent_cells(gaps: IntArray, alike: float) -> float:
    """How many independent cells these tell as much as: n by the design effect (Kish 1965).

    At least the number of gaps, which it is if the cells of one are all alike and it is as long as
    the others; at most the number of cells.
    """
    sizes = np.unique(gaps, return_counts=True)[1]
    n = float(sizes.sum())
    effect = 1 + alike * (float(np.square(sizes).sum()) / n - 1)
    return float(np.clip(n / effect, len(sizes), n))
