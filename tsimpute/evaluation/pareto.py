"""What cannot be had both cheaper and better."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError


def pareto_front(cost: ArrayLike, error: ArrayLike) -> NDArray[np.bool_]:
    """Points than which no other is at least as good in both numbers and better in one.

    Parameters
    ----------
    cost, error : array_like of float, shape (n,)
        Two numbers for each point; less is better. A point with a NaN is not on the front and
        keeps no other from it.

    Returns
    -------
    ndarray of bool, shape (n,)
        True on the front; of equal points all or none are.

    Raises
    ------
    InputError
        If the shapes differ or are not (n,).
    """
    first, second = (np.asarray(numbers, dtype=np.float64) for numbers in (cost, error))
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(
            f"cost and error: got shapes {first.shape} and {second.shape}, expected the same (n,)"
        )
    no_worse = (first[:, None] <= first) & (second[:, None] <= second)
    better = (first[:, None] < first) | (second[:, None] < second)
    known = np.isfinite(first) & np.isfinite(second)
    front: NDArray[np.bool_] = known & ~(no_worse & better).any(axis=0)
    return front
