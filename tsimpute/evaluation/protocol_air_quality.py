"""The Air-quality benchmark (AQI-36) as CSDI cuts it (Tashiro et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError
from tsimpute.evaluation.cells import BoolArray, FloatArray

IndexArray = NDArray[np.intp]

AQI_TEST_MONTHS = (3, 6, 9, 12)
AQI_TRAINING_MONTHS = (1, 2, 4, 5, 7, 8, 10, 11)
AQI_PATTERN_MONTHS = (2, 5, 8, 11)


@dataclass(frozen=True)
class AirQualitySplit:
    """Where the windows of the AQI-36 protocol start, and how values are standardised.

    Attributes
    ----------
    train_starts, validation_starts : ndarray of int, shape (n,)
        First rows of the windows, stride 1, none crossing a month's end.
    pattern_starts : ndarray of int, shape (n,)
        First rows of the training windows whose missing pattern may serve as a training mask.
        Months 1, 4, 7 and 10 are not among them: their patterns are the test months' holes.
    test_starts : ndarray of int, shape (82,)
        First rows of the test windows.
    scored : ndarray of bool, shape (82, window_steps)
        True at the window rows that are scored; a month's last window is aligned to its end, and
        what it repeats of the window before is False.
    mean, sd : ndarray of float64, shape (n_stations,)
        Per station over the non-test months, ddof 1, in the data's unit.
    window_steps : int
        Rows of a window.
    """

    train_starts: IndexArray
    validation_starts: IndexArray
    pattern_starts: IndexArray
    test_starts: IndexArray
    scored: BoolArray
    mean: FloatArray
    sd: FloatArray
    window_steps: int


def aqi_split(
    ground: pd.DataFrame, validation_month: int = 1, window_steps: int = 36
) -> AirQualitySplit:
    """Cut the AQI-36 year into the windows of the CSDI protocol.

    Parameters
    ----------
    ground : DataFrame, (n_hours, n_stations)
        All readings, hourly DatetimeIndex; NaN where there is none.
    validation_month : int, default 1
        One of the training months 1, 2, 4, 5, 7, 8, 10, 11; it is taken out of training.
    window_steps : int, default 36
        Rows of a window.

    Returns
    -------
    AirQualitySplit

    Raises
    ------
    InputError
        If the month is a test month, or the index is not hourly without gaps.
    """
    if validation_month not in AQI_TRAINING_MONTHS:
        raise InputError(
            f"validation_month: got {validation_month}, expected one of {AQI_TRAINING_MONTHS}"
        )
    runs = _month_runs(_hourly(ground))
    training = [month for month in AQI_TRAINING_MONTHS if month != validation_month]
    patterns = [month for month in training if month in AQI_PATTERN_MONTHS]
    test_starts, scored = _test_windows(_chosen(runs, AQI_TEST_MONTHS), window_steps)
    seen = ground[~_hourly(ground).month.isin(AQI_TEST_MONTHS)]
    return AirQualitySplit(
        train_starts=_stride_one(_chosen(runs, training), window_steps),
        validation_starts=_stride_one(_chosen(runs, [validation_month]), window_steps),
        pattern_starts=_stride_one(_chosen(runs, patterns), window_steps),
        test_starts=test_starts,
        scored=scored,
        mean=seen.mean().to_numpy(dtype=np.float64),
        sd=seen.std(ddof=1).to_numpy(dtype=np.float64),
        window_steps=window_steps,
    )


def aqi_windows(values: ArrayLike, starts: ArrayLike, window_steps: int = 36) -> NDArray[Any]:
    """Copy the windows that begin at ``starts`` out of a long array.

    Parameters
    ----------
    values : array_like, shape (n_hours, ...)
        Values or masks of the whole year.
    starts : array_like of int, shape (n,)
        First rows, as in `AirQualitySplit`.
    window_steps : int, default 36
        Rows of a window.

    Returns
    -------
    ndarray, shape (n, window_steps, ...)

    Raises
    ------
    InputError
        If a window begins before the first row or ends after the last one.
    """
    long, first = np.asarray(values), np.asarray(starts, dtype=np.intp)
    if first.size and (first.min() < 0 or first.max() + window_steps > len(long)):
        raise InputError(
            f"starts: got {first.min()} to {first.max()} with windows of {window_steps}, expected "
            f"them inside the {len(long)} rows; make the starts from the same table"
        )
    return np.asarray(long[first[:, None] + np.arange(window_steps)])


def _hourly(table: pd.DataFrame) -> pd.DatetimeIndex:
    index = table.index
    if not isinstance(index, pd.DatetimeIndex):
        raise InputError(f"ground: got an index of {type(index).__name__}, expected dates")
    if (np.diff(index.to_numpy()) != np.timedelta64(1, "h")).any():
        raise InputError("ground: got gaps or other steps, expected every hour; use asfreq('h')")
    return index


def _month_runs(index: pd.DatetimeIndex) -> dict[int, list[tuple[int, int]]]:
    """First and past-the-end row of every unbroken run of one calendar month."""
    months = index.month.to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(months)) + 1).tolist(), len(months)]
    runs: dict[int, list[tuple[int, int]]] = {}
    for start, stop in pairwise(edges):
        runs.setdefault(int(months[start]), []).append((start, stop))
    return runs


def _chosen(runs: dict[int, list[tuple[int, int]]], months: Sequence[int]) -> list[tuple[int, int]]:
    return sorted(run for month in months for run in runs.get(month, []))


def _stride_one(runs: Sequence[tuple[int, int]], window_steps: int) -> IndexArray:
    starts = [np.arange(start, stop - window_steps + 1) for start, stop in runs]
    return np.concatenate([np.empty(0, dtype=np.intp), *starts])


def _test_windows(
    runs: Sequence[tuple[int, int]], window_steps: int
) -> tuple[IndexArray, BoolArray]:
    """Windows side by side; a remainder is covered by one more that ends with the month."""
    starts: list[int] = []
    n_repeated: list[int] = []
    for start, stop in runs:
        whole = range(start, stop - window_steps + 1, window_steps)
        starts += whole
        n_repeated += [0] * len(whole)
        remainder = (stop - start) % window_steps
        if remainder and len(whole):
            starts.append(stop - window_steps)
            n_repeated.append(window_steps - remainder)
    scored = np.arange(window_steps) >= np.array(n_repeated, dtype=np.intp)[:, None]
    return np.array(starts, dtype=np.intp), scored
