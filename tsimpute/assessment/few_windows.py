"""Of many hidden cells those at a few random places, so that few windows have to be sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Rows = tuple[int, slice]  # of a series

_STRETCHES = 16  # at least so many are drawn, if the windows allow it
_LONGEST_STRETCH = 4  # in windows


def parts(targets: Sequence[BoolArray], window_steps: int, n_windows: int) -> list[Rows]:
    """Stretches of rows that hold targets (n_times_i, K), as long as n windows allow for."""
    rows = window_steps * min(max(n_windows // _STRETCHES, 1), _LONGEST_STRETCH)
    return [
        (i, slice(start, start + rows))
        for i, target in enumerate(targets)
        for start in range(0, len(target), rows)
        if target[start : start + rows].any()
    ]


def ends(targets: Sequence[BoolArray]) -> list[Rows]:
    """Rows from the first target of each series to its end."""
    return [
        (i, slice(int(target.any(axis=1).argmax()), len(target)))
        for i, target in enumerate(targets)
        if target.any()
    ]


def in_few_windows(
    targets: Sequence[BoolArray],
    places: Sequence[Rows],
    filled_by: Callable[[int], tuple[IntArray, IntArray]],
    n_windows: int,
    rng: np.random.Generator,
) -> list[BoolArray]:
    """The targets at random places that n windows cover, but at least one place.

    Parameters
    ----------
    targets : sequence of ndarray of bool, each of shape (n_times_i, K)
    places : sequence of (int, slice)
        Rows of a series that are taken or left together.
    filled_by : callable
        From the rows of a series to the first row, and the end, of what each window fills.
    n_windows : int
    rng : numpy.random.Generator
    """
    kept, left = [np.zeros_like(target) for target in targets], n_windows
    for place in rng.permutation(len(places)):
        i, part = places[place]
        kept[i][part] = targets[i][part]
        first, stop = filled_by(len(targets[i]))
        left -= int(((first < part.stop) & (stop > part.start)).sum())
        if left <= 0:
            break
    return kept
