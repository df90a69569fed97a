"""Gaps: how long they are, how far the nearest reading is, and which features fail together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.panel.cells import BoolArray

IntArray = NDArray[np.int64]

NOWHERE = 2**31  # rows to the nearest reading of a feature that has none


def distance_to_observed(observed_mask: ArrayLike, past_only: bool = False) -> IntArray:
    """Rows from each cell to the nearest observed cell of its feature.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K)
        One series; True where a value is known.
    past_only : bool, default=False
        To the last one before.

    Returns
    -------
    ndarray of int64, shape (L, K)
        0 at observed cells, `NOWHERE` where there is none.
    """
    observed = np.asarray(observed_mask, dtype=bool)
    before, after = gap_edges(observed)
    rows = np.arange(len(observed))[:, None]
    up = np.where(before < 0, NOWHERE, rows - before)
    if past_only:
        return up
    down = np.where(after == len(observed), NOWHERE, after - rows)
    return np.minimum(up, down)


def gap_lengths(observed_mask: ArrayLike, past_only: bool = False) -> IntArray:
    """Rows of the gap that each missing cell lies in: of its feature, from reading to reading.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K)
        One series; True where a value is known.
    past_only : bool, default=False
        Up to the cell, its own row included.

    Returns
    -------
    ndarray of int64, shape (L, K)
        0 at observed cells; a gap at an end of the series ends there.
    """
    observed = np.asarray(observed_mask, dtype=bool)
    before, after = gap_edges(observed)
    if past_only:
        after = np.arange(1, len(observed) + 1)[:, None]
    return np.where(observed, 0, after - before - 1)


def gap_edges(observed_mask: BoolArray) -> tuple[IntArray, IntArray]:
    """Rows of the nearest observed cells of each cell's feature.

    Parameters
    ----------
    observed_mask : ndarray of bool, shape (L, K)
        One series; True where a value is known.

    Returns
    -------
    before, after : ndarray of int64, shape (L, K)
        At or above the cell, -1 where there is none; at or below it, L where there is none.
    """
    n_rows = len(observed_mask)
    rows = np.arange(n_rows, dtype=np.int64)[:, None]
    before = np.maximum.accumulate(np.where(observed_mask, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(observed_mask, rows, n_rows)[::-1], axis=0)[::-1]
    return before, after


def gap_numbers(observed_mask: ArrayLike) -> IntArray:
    """A number for each cell that the missing cells of one gap, and no others, have in common.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K)
        One series; True where a value is known.

    Returns
    -------
    ndarray of int64, shape (L, K)
        0 to (L + 1) K - 1; meaningless at observed cells.
    """
    observed = np.asarray(observed_mask, dtype=bool)
    before, _ = gap_edges(observed)
    return np.asarray((before + 1) * observed.shape[1] + np.arange(observed.shape[1]))


def outages(observed_mask: ArrayLike) -> tuple[IntArray, BoolArray]:
    """Gaps of a series; features that are missing over exactly the same rows are one outage.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K)
        One series; True where a value is known.

    Returns
    -------
    n_rows : ndarray of int64, shape (n,)
        How long each outage lasts.
    features : ndarray of bool, shape (n, K)
        True at the features that it takes.
    """
    missing = np.pad(~np.asarray(observed_mask, dtype=bool), ((1, 1), (0, 0)))
    edges = np.diff(missing.astype(np.int8), axis=0).T  # (K, L + 1)
    feature, start = np.nonzero(edges == 1)
    stop = np.nonzero(edges == -1)[1]
    rows, place = np.unique(np.stack([start, stop], axis=1), axis=0, return_inverse=True)
    together = np.zeros((len(rows), len(edges)), dtype=bool)
    together[place.ravel(), feature] = True
    return rows[:, 1] - rows[:, 0], together
