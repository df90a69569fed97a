"""Long series in windows of a fixed number of rows, and windows back into series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError
from tsimpute.panel.cells import BoolArray, FloatArray

IntArray = NDArray[np.int64]
_MOST_STRETCHES = 4
_LEAST_WINDOWS = 5


def window_starts(n_times: int, window_steps: int, stride: int, offset: int = 0) -> IntArray:
    """First rows of the windows that together cover every row of a series.

    Parameters
    ----------
    n_times : int
        Rows of the series.
    window_steps : int
        Rows of a window.
    stride : int
        Rows from one window to the next, at most `window_steps`.
    offset : int, default=0
        Shifts the grid: 0, offset, offset + stride, …; from 0 to `stride`.

    Returns
    -------
    ndarray of int64, shape (n,)
        0, stride, 2·stride, … until a window reaches the last row; that one may run past the
        end. [0] if the series is no longer than a window.

    Raises
    ------
    InputError
        If a size is out of range.
    """
    _check_sizes(n_times, window_steps, stride)
    if stride > window_steps:
        raise InputError(
            f"stride: got {stride}, expected at most window_steps={window_steps}, or rows between "
            f"windows would be skipped"
        )
    if not 0 <= offset <= stride:
        raise InputError(f"offset: got {offset}, expected 0 to stride={stride}")
    # The first start from which a window reaches the end is the last one.
    reach = max(n_times - window_steps, 0)
    n_more = 0 if reach == 0 else 1 + max(0, -(-(reach - offset) // stride))
    grid = offset + stride * np.arange(n_more, dtype=np.int64)
    return np.union1d(np.zeros(1, dtype=np.int64), grid)


def training_starts(n_times: int, window_steps: int, stride: int, offset: int = 0) -> IntArray:
    """First rows of the windows that lie wholly inside a series.

    Parameters
    ----------
    n_times, window_steps, stride : int
        Rows of the series, of a window, and from one window to the next.
    offset : int, default=0
        First start; one that leaves no room for a window is taken as the last possible.

    Returns
    -------
    ndarray of int64, shape (n,)
        At least one; [0] if the series is shorter than a window, which is then padded.

    Raises
    ------
    InputError
        If a size is out of range.
    """
    _check_sizes(n_times, window_steps, stride)
    if offset < 0:
        raise InputError(f"offset: got {offset}, expected 0 or more")
    last = max(n_times - window_steps, 0)
    return np.arange(min(offset, last), last + 1, stride, dtype=np.int64)


def cut(
    values: NDArray[np.floating[Any]], starts: ArrayLike, window_steps: int
) -> tuple[NDArray[np.floating[Any]], BoolArray]:
    """Windows of a series, padded by NaN before its first row and past its last.

    Parameters
    ----------
    values : ndarray of float, shape (n_times, n_features)
        NaN where missing.
    starts : array_like of int, shape (n,)
        First rows, strictly increasing; negative ones begin with padding. Each window holds a
        row of the series.
    window_steps : int
        Rows of a window.

    Returns
    -------
    windows : ndarray of the dtype of `values`, shape (n, window_steps, n_features)
        Copies; NaN also in padding.
    is_real : ndarray of bool, shape (n, window_steps)
        True where a row belongs to the series, False in padding.

    Raises
    ------
    InputError
        If a window lies outside the series.
    """
    first = _checked_starts(starts, len(values), lowest=1 - window_steps)
    rows = first[:, None] + np.arange(window_steps)  # (n, window_steps)
    is_real = (rows >= 0) & (rows < len(values))
    windows = values[np.where(is_real, rows, 0)]
    windows[~is_real] = np.nan
    return windows, is_real


def blend_weights(starts: ArrayLike, window_steps: int, n_times: int) -> FloatArray:
    """Weight of every window at every of its rows, for averaging overlapping windows.

    Where two windows overlap, one fades out while the other fades in, linearly; a row of only
    one window has weight 1.

    Parameters
    ----------
    starts : array_like of int, shape (n,)
        First rows, strictly increasing, inside the series.
    window_steps, n_times : int
        Rows of a window and of the series.

    Returns
    -------
    ndarray of float64, shape (n, window_steps)
        Positive inside the series, 0 on padding; over windows they sum to 1 at every row that
        any window covers.

    Raises
    ------
    InputError
        If the starts are not increasing or lie outside the series.
    """
    first = _checked_starts(starts, n_times)
    weights = np.zeros((len(first), window_steps))
    total = np.zeros(n_times)
    for i, start in enumerate(first):
        ramp = _ramp(first, i, window_steps, n_times)
        weights[i, : len(ramp)] = ramp
        total[start : start + len(ramp)] += ramp
    for i, start in enumerate(first):
        n_real = min(window_steps, n_times - start)
        weights[i, :n_real] /= total[start : start + n_real]
    return weights


def stitch(
    windows: Iterable[NDArray[np.floating[Any]]],
    starts: ArrayLike,
    window_steps: int,
    n_times: int,
) -> Iterator[tuple[int, int, NDArray[np.floating[Any]]]]:
    """Join windows into stretches of the series, each as soon as no later window touches it.

    Overlaps are averaged by `blend_weights` of the windows given, so windows without holes may
    be left out. No more than one window is held at a time.

    Parameters
    ----------
    windows : iterable of ndarray, each of shape (n_samples, window_steps, n_features)
        In the order of `starts`; rows past the end of the series are ignored.
    starts : array_like of int, shape (n,)
        First row of each given window, strictly increasing.
    window_steps, n_times : int
        Rows of a window and of the series.

    Yields
    ------
    row_start, row_stop : int
        The stretch, in increasing order and without overlap. Rows that no given window covers
        are not yielded.
    stretch : ndarray of the windows' dtype, shape (n_samples, row_stop - row_start, n_features)
        A mean of equal values is exactly that value.

    Raises
    ------
    InputError
        If the starts are not increasing or lie outside the series, or there are more or fewer
        windows than starts.
    """
    first = _checked_starts(starts, n_times)
    held: NDArray[Any] | None = None
    held_weight = np.zeros(0)
    n_given = 0
    for i, window in enumerate(windows):
        if i >= len(first):
            raise InputError(f"windows: got more than the {len(first)} starts; pass one for each")
        ramp = _ramp(first, i, window_steps, n_times)
        mean, weight = _merged(held, held_weight, window[:, : len(ramp)], ramp)
        following = first[i + 1] if i + 1 < len(first) else n_times
        n_final = min(int(following - first[i]), len(ramp))
        yield int(first[i]), int(first[i]) + n_final, mean[:, :n_final]
        held, held_weight = mean[:, n_final:], weight[n_final:]
        n_given = i + 1
    if n_given < len(first):
        raise InputError(f"windows: got {n_given}, expected one for each of {len(first)} starts")


def _merged(
    held: NDArray[Any] | None, held_weight: FloatArray, window: NDArray[Any], ramp: FloatArray
) -> tuple[NDArray[Any], FloatArray]:
    """Running weighted means of a window's rows, the first of which may be held already."""
    mean, weight = window.copy(), ramp.copy()
    n_held = len(held_weight)
    if held is not None and n_held:
        weight[:n_held] += held_weight
        # m + (x - m) w / W: equal values stay bit for bit what they are.
        share = (ramp[:n_held] / weight[:n_held]).astype(window.dtype)
        mean[:, :n_held] = held + (window[:, :n_held] - held) * share[:, None]
    return mean, weight


def _ramp(starts: IntArray, i: int, window_steps: int, n_times: int) -> FloatArray:
    """Unnormalised weight of window i on its real rows: fades in and out over its overlaps."""
    start = int(starts[i])
    stop = min(start + window_steps, n_times)
    row = np.arange(start, stop)
    ramp = np.ones(stop - start)
    if i > 0:
        overlap = max(0, min(int(starts[i - 1]) + window_steps, n_times) - start)
        ramp = np.minimum(ramp, (row - start + 1) / (overlap + 1))
    if i + 1 < len(starts):
        overlap = max(0, stop - int(starts[i + 1]))
        ramp = np.minimum(ramp, (stop - row) / (overlap + 1))
    return ramp


def validation_rows(
    n_times: int, window_steps: int, fraction: float, rng: np.random.Generator
) -> BoolArray:
    """Rows of a long series to hold out: up to 4 contiguous, evenly spaced stretches.

    Parameters
    ----------
    n_times, window_steps : int
        Rows of the series and of a window. No stretch is shorter than a window.
    fraction : float
        About what share of the rows to hold out, within (0, 0.5].
    rng : numpy.random.Generator
        Draws the common shift of the stretches.

    Returns
    -------
    ndarray of bool, shape (n_times,)
        True where a row is held out; all False if the series is shorter than 5 windows.

    Raises
    ------
    InputError
        If the fraction or a size is out of range.
    """
    _check_sizes(n_times, window_steps, 1)
    if not 0 < fraction <= 0.5:
        raise InputError(f"fraction: got {fraction}, expected more than 0 and at most 0.5")
    held_out = np.zeros(n_times, dtype=np.bool_)
    if n_times < _LEAST_WINDOWS * window_steps:
        return held_out
    wanted = round(fraction * n_times)
    n_stretches = min(max(wanted // window_steps, 1), _MOST_STRETCHES)
    length = max(window_steps, wanted // n_stretches)
    spacing = n_times // n_stretches
    shift = int(rng.integers(spacing - length + 1))
    for i in range(n_stretches):
        held_out[shift + i * spacing : shift + i * spacing + length] = True
    return held_out


def runs(row_mask: BoolArray) -> list[slice]:
    """Stretches of consecutive rows where a mask (n_times,) is True."""
    edges = np.flatnonzero(np.diff(np.pad(row_mask, 1).astype(np.int8)))
    return [slice(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]


def _checked_starts(starts: ArrayLike, n_times: int, lowest: int = 0) -> IntArray:
    first = np.asarray(starts, dtype=np.int64)
    outside = (first < lowest) | (first >= n_times)
    if first.ndim != 1 or np.any(np.diff(first) <= 0) or np.any(outside):
        raise InputError(
            f"starts: got {first}, expected strictly increasing rows from {lowest} to {n_times - 1}"
        )
    return first


def _check_sizes(n_times: int, window_steps: int, stride: int) -> None:
    for label, size in (("n_times", n_times), ("window_steps", window_steps), ("stride", stride)):
        if size < 1:
            raise InputError(f"{label}: got {size}, expected at least 1 row")
