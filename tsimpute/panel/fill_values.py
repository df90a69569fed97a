"""Numbers that no sensor can have meant: left-over fill values, such as 1e20 or 9.96921e36."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence

import numpy as np

from tsimpute.errors import DataWarning
from tsimpute.panel.cells import FloatArray
from tsimpute.panel.scaling import FeatureScaler

FAR = 1e6  # interquartile ranges from the median of the training data
FAR_RANGES = 1e5  # of the training data, from their ends: about a million standard deviations


def warn_of_fill_values(
    series: Sequence[FloatArray],
    labels: Sequence[Hashable] | None,
    name: str,
    scaler: FeatureScaler | None = None,
    stacklevel: int = 3,
) -> None:
    """Warn of columns with cells that lie impossibly far from the others.

    Parameters
    ----------
    series : sequence of ndarray of float64, each of shape (n_times_i, n_columns)
        In the user's units, NaN where missing.
    labels : sequence of hashable or None
        Of the columns; None: 0, 1, ….
    name : str
        What the warning calls the data.
    scaler : FeatureScaler, optional
        What training data were like, which the cells are compared with; None: these are the
        training data, and cells are compared with the column's median and interquartile range,
        where that is not 0.
    stacklevel : int, default=3
        Of the warning: 2 is the caller, 3 who called that.

    Warns
    -----
    DataWarning
        For each such column, with the number of cells and the furthest of them.
    """
    with np.errstate(over="ignore"):  # a limit that is no float is never passed
        low, high = _usual(series) if scaler is None else _near_training(scaler)
    far = [(values < low) | (values > high) for values in series]  # False where missing
    for k in np.flatnonzero(np.any([mask.any(axis=0) for mask in far], axis=0)).tolist():
        cells = np.concatenate([v[mask[:, k], k] for v, mask in zip(series, far, strict=True)])
        warnings.warn(
            f"{name}: column {k if labels is None else labels[k]!r} has {len(cells)} "
            f"cell{'s' if len(cells) > 1 else ''} impossibly far from the others, such as "
            f"{cells[np.abs(cells).argmax()]:g}: that looks like a fill value; mark such cells as "
            f"missing (NaN)",
            DataWarning,
            stacklevel=stacklevel,
        )


def _usual(series: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value (K,) that columns of training data may hold unsuspected."""
    columns = [np.concatenate(parts) for parts in zip(*(v.T for v in series), strict=True)]
    observed = [column[~np.isnan(column)] for column in columns]
    marks = [np.quantile(x, [0.25, 0.5, 0.75]) if len(x) else [0.0] * 3 for x in observed]
    low, middle, high = np.array(marks).T
    reach = np.where(high > low, FAR * (high - low), np.inf)
    return middle - reach, middle + reach


def _near_training(scaler: FeatureScaler) -> tuple[FloatArray, FloatArray]:
    """The same (K,) for other data."""
    low, high = scaler.inverse(scaler.low), scaler.inverse(scaler.high)
    # A column that never varied has no range: its size, or 1, must do.
    width = np.where(high > low, high - low, np.maximum(1.0, np.abs(low)))
    return low - FAR_RANGES * width, high + FAR_RANGES * width
