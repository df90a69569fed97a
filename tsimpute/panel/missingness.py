"""Ways to hide observed cells. Each returns a mask of what to hide and edits no value.

Every function takes one place (L, K), or n places (n, L, K), of L rows and K features, and
returns a `target_mask` of the same shape that is True only where `observed_mask` is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tsimpute.errors import InputError
from tsimpute.panel.cells import BoolArray, FloatArray


def hide_points(observed_mask: ArrayLike, rate: float, rng: np.random.Generator) -> BoolArray:
    """Hide single cells, drawn without replacement from the observed ones of each place.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K) or (n, L, K)
        True where a value is known.
    rate : float
        Share of the observed cells to hide, within (0, 1). Each place hides that share rounded
        down or up at random, so that it is met on average.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, same shape
        True where a cell is hidden.

    Raises
    ------
    InputError
        If the rate or the shape is out of range.
    """
    observed, places = _as_places(observed_mask)
    _check_rate(rate)
    flat = places.reshape(len(places), -1)
    order = np.where(flat, rng.random(flat.shape), np.inf).argsort(axis=1)
    n_hidden = np.floor(rate * flat.sum(axis=1) + rng.random(len(flat))).astype(np.int64)
    target = np.zeros_like(flat)
    np.put_along_axis(target, order, np.arange(flat.shape[1]) < n_hidden[:, None], axis=1)
    return (target & flat).reshape(observed.shape)


def hide_blocks(
    observed_mask: ArrayLike,
    rate: float,
    min_steps: int,
    max_steps: int,
    rng: np.random.Generator,
) -> BoolArray:
    """Hide contiguous stretches of single features.

    Stretches start at random rows and may overlap, or be cut by the first or last row; their
    density is such that every cell is hidden with probability `rate`.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K) or (n, L, K)
        True where a value is known.
    rate : float
        Expected share of cells to hide, within (0, 1).
    min_steps, max_steps : int
        Lengths are uniform over these, both included, in rows.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, same shape
        True where a cell is hidden.

    Raises
    ------
    InputError
        If the rate, the lengths or the shape are out of range.
    """
    observed, places = _as_places(observed_mask)
    _check_rate(rate)
    if not 1 <= min_steps <= max_steps:
        raise InputError(
            f"got min_steps={min_steps}, max_steps={max_steps}, expected "
            f"1 <= min_steps <= max_steps"
        )
    n, n_rows, n_features = places.shape
    longest = max_steps - 1
    drawn = (n, n_rows + longest, n_features)  # starts before row 0 too: no edge is special
    starts = rng.random(drawn) < _start_probability(rate, min_steps, max_steps)
    place, row, feature = np.nonzero(starts)
    stops = row + rng.integers(min_steps, max_steps + 1, size=len(row))
    change = np.zeros((n, drawn[1] + max_steps, n_features), dtype=np.int64)
    change[place, row, feature] += 1
    np.add.at(change, (place, stops, feature), -1)
    covered = change.cumsum(axis=1)[:, longest : longest + n_rows] > 0
    return (covered & places).reshape(observed.shape)


def _start_probability(rate: float, min_steps: int, max_steps: int) -> float:
    """The chance p of a start that solves prod over lags d of (1 - p P(length > d)) = 1 - rate."""
    lags = np.arange(max_steps)
    longer: FloatArray = np.clip((max_steps - lags) / (max_steps - min_steps + 1), 0.0, 1.0)
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection, to the last bit
        middle = (low + high) / 2
        if 1 - np.prod(1 - middle * longer) < rate:
            low = middle
        else:
            high = middle
    return high


def hide_features(observed_mask: ArrayLike, rate: float, rng: np.random.Generator) -> BoolArray:
    """Hide whole features, as if a sensor had been absent.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K) or (n, L, K)
        True where a value is known.
    rate : float
        Share of the features to hide in each place, within (0, 1), rounded at random. At least
        one is hidden, and at least one is kept where there are several.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, same shape
        True where a cell is hidden.

    Raises
    ------
    InputError
        If the rate or the shape is out of range.
    """
    observed, places = _as_places(observed_mask)
    _check_rate(rate)
    n, _, n_features = places.shape
    n_hidden = np.floor(rate * n_features + rng.random(n)).astype(np.int64)
    n_hidden = np.clip(n_hidden, 1, max(1, n_features - 1))
    rank = rng.random((n, n_features)).argsort(axis=1).argsort(axis=1)
    hidden: BoolArray = rank < n_hidden[:, None]  # (n, K)
    return (hidden[:, None, :] & places).reshape(observed.shape)


def hide_like(
    observed_mask: ArrayLike, pattern_missing: ArrayLike, rng: np.random.Generator
) -> BoolArray:
    """Lay the missing pattern of other data over these: hide what is missing there.

    Parameters
    ----------
    observed_mask : array_like of bool, shape (L, K) or (n, L, K)
        True where a value is known.
    pattern_missing : array_like of bool, shape (M, K) or (m, M, K), M >= L
        True where the other data are missing. For every place one of the m patterns and a
        stretch of L of its rows are drawn at random.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, shape of `observed_mask`
        True where a cell is hidden; all False where the drawn pattern has no hole there.

    Raises
    ------
    InputError
        If the pattern has other features or fewer rows.
    """
    observed, places = _as_places(observed_mask)
    _, patterns = _as_places(pattern_missing, "pattern_missing")
    n, n_rows, n_features = places.shape
    m, n_pattern_rows, n_pattern_features = patterns.shape
    if n_pattern_features != n_features or n_pattern_rows < n_rows or m == 0:
        raise InputError(
            f"pattern_missing: got {m} pattern(s) of {n_pattern_rows} rows and "
            f"{n_pattern_features} features, expected at least one of {n_rows} or more rows and "
            f"{n_features} features"
        )
    which = rng.integers(m, size=(n, 1))
    first = rng.integers(n_pattern_rows - n_rows + 1, size=(n, 1))
    laid: BoolArray = patterns[which, first + np.arange(n_rows)]  # (n, L, K)
    return (laid & places).reshape(observed.shape)


def _as_places(mask: ArrayLike, name: str = "observed_mask") -> tuple[BoolArray, BoolArray]:
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.ndim not in (2, 3):
        raise InputError(
            f"{name}: got {array.dtype} of shape {array.shape}, expected bool of shape "
            f"(rows, features) or (n, rows, features)"
        )
    return array, array[None] if array.ndim == 2 else array


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise InputError(f"rate: got {rate}, expected a share strictly between 0 and 1")
