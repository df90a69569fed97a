"""Time labels: known kinds, sorted, unique, and one regular step for the whole panel."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from tsimpute.errors import InputError, TimeIndexError

# A fixed step in ticks of the index, the name of a calendar frequency, or None (too few rows).
Step = float | str | None
_CALENDARS = ("YS", "YE", "QS", "QE", "MS", "ME")


def check_times(
    times: Sequence[pd.Index[Any]],
    series_ids: Sequence[Hashable] | None,
    name: str,
    regular: bool = True,
) -> None:
    """Raise InputError unless every series is sorted, unique and regular, all with one step.

    Parameters
    ----------
    times : sequence of pandas.Index
        Time labels of each series: datetimes, periods, timedeltas or numbers. Calendar steps
        that `pandas.infer_freq` knows (months, business days) are regular; fewer than 3 rows
        cannot be irregular.
    series_ids : sequence of hashable or None
        Names of the series for the message, None for a single unnamed one.
    name : str
        What the message calls the data.
    regular : bool, default=True
        Whether the step must be regular; kinds and order are checked in any case.
    """
    steps: list[Step] = []
    previous: pd.Index[Any] | None = None
    for i, index in enumerate(times):
        if index is not previous:  # arrays share one index among all series
            where = name if series_ids is None else f"{name}, series {series_ids[i]!r}"
            try:
                step = _checked_step(index, where, regular)
            except TimeIndexError as error:
                error.series = i
                raise
        previous = index
        steps.append(step)
    if series_ids is not None:
        _check_same_step(times, steps, series_ids, name)


def _checked_step(index: pd.Index[Any], where: str, regular: bool) -> Step:
    _check_kind(index, where)
    _check_order(index, where)
    return regular_step(index, where) if regular else None


def _check_kind(index: pd.Index[Any], where: str) -> None:
    timed = isinstance(index, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex)
    numeric = pd.api.types.is_numeric_dtype(index.dtype) and not (
        pd.api.types.is_bool_dtype(index.dtype) or pd.api.types.is_complex_dtype(index.dtype)
    )
    if isinstance(index, pd.MultiIndex) or not (timed or numeric):
        raise InputError(
            f"{where}: got a time index of {index.dtype} such as {index[0]!r}, expected "
            f"datetimes, periods, timedeltas or numbers; convert it, for example "
            f"df.index = pd.to_datetime(df.index)"
        )
    missing = index.isna() if timed else ~np.isfinite(index.to_numpy(np.float64, na_value=np.nan))
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise TimeIndexError(
            f"{where}: the time of row {row} is missing (NaT, NaN or infinite), expected a time in "
            f"every row; drop the row or repair its time",
            "missing",
            row,
        )


def _check_order(index: pd.Index[Any], where: str) -> None:
    if not index.is_unique:
        row = int(np.flatnonzero(index.duplicated())[0])
        raise TimeIndexError(
            f"{where}: duplicate time {str(index[row])!r}, expected each time once; keep one row "
            f"of each, for example df[~df.index.duplicated()]",
            "duplicate",
            row,
        )
    if not index.is_monotonic_increasing:
        row = int(np.flatnonzero(np.diff(_ticks(index)) < 0)[0]) + 1
        raise TimeIndexError(
            f"{where}: times are not sorted: {str(index[row])!r} comes after "
            f"{str(index[row - 1])!r}, expected increasing times; use df.sort_index()",
            "order",
            row,
        )


def _ticks(index: pd.Index[Any]) -> NDArray[Any]:
    """Times as numbers: int64 ticks of the index's own unit, or floats."""
    if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex):
        return np.asarray(index.asi8)
    numbers = index.to_numpy()
    return numbers.astype(np.float64 if numbers.dtype.kind == "f" else np.int64)


def _is_step(gaps: NDArray[Any], step: float, ticks: NDArray[Any]) -> NDArray[np.bool_]:
    """Which gaps equal the step; float times may be off by their rounding."""
    if ticks.dtype.kind != "f":
        return np.asarray(gaps == step)
    slack = 1e-6 * abs(step) + 8 * np.finfo(np.float64).eps * np.abs(ticks).max()
    return np.asarray(np.abs(gaps - step) <= slack)


def _usual_gap(gaps: NDArray[Any]) -> float:
    if gaps.dtype.kind == "f":
        return float(np.median(gaps))
    sizes, counts = np.unique(gaps, return_counts=True)
    return int(sizes[np.argmax(counts)])


def regular_step(index: pd.Index[Any], where: str) -> Step:
    """The one step of an index, or InputError; None where there are fewer than 3 rows."""
    if len(index) < 3:
        return None
    ticks = _ticks(index)
    gaps = np.diff(ticks)
    step = _usual_gap(gaps)
    fits = _is_step(gaps, step, ticks)
    if fits.all():
        return step
    if isinstance(index, pd.DatetimeIndex):
        calendar = _calendar(index)
        if calendar is not None:
            return calendar
    raise _irregular(index, fits, where)


def _calendar(index: pd.DatetimeIndex) -> str | None:
    if index.freqstr is not None:
        return index.freqstr
    with warnings.catch_warnings():  # pandas 3.1 warns that a later one returns an offset
        warnings.simplefilter("ignore", category=DeprecationWarning)
        inferred: Any = pd.infer_freq(index)
    return None if inferred is None else str(getattr(inferred, "freqstr", inferred))


def _irregular(index: pd.Index[Any], fits: NDArray[np.bool_], where: str) -> TimeIndexError:
    calendar = _calendar_guess(index)
    if calendar is not None:
        planned = pd.date_range(index[0], periods=len(index), freq=calendar)
        row = int(np.flatnonzero(index != planned)[0])
        expected, advice = f"{planned[row]} (frequency {calendar})", f"df.asfreq({calendar!r})"
    else:
        row, usual = int(np.argmin(fits)) + 1, int(np.argmax(fits))
        expected, advice = str(index[usual + 1] - index[usual]), _advice(index, usual)
    gap = index[row] - index[row - 1]
    message = (
        f"{where}: irregular time steps: row {str(index[row])!r} comes {gap} after "
        f"{str(index[row - 1])!r}, expected {expected}; put the data on a regular grid, its new "
        f"rows NaN, with {advice}, or fit with time='clock'"
    )
    return TimeIndexError(message, "step", row)


def _calendar_guess(index: pd.Index[Any]) -> str | None:
    """A month, quarter or year frequency that holds every label of an irregular index."""
    if not isinstance(index, pd.DatetimeIndex):
        return None
    if (index[1:] - index[:-1]).min() < pd.Timedelta(days=28):
        return None
    for calendar in _CALENDARS:
        offset = to_offset(calendar)
        if all(offset.is_on_offset(label) for label in index):
            return calendar
    return None


def _advice(index: pd.Index[Any], usual: int) -> str:
    if isinstance(index, pd.PeriodIndex):
        return f"df.reindex(pd.period_range(df.index[0], df.index[-1], freq={index.freqstr!r}))"
    step = index[usual + 1] - index[usual]
    if not isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        return f"df.reindex(np.arange(df.index[0], df.index[-1] + {step}, {step}))"
    freq = to_offset(step).freqstr
    ticks = _ticks(index)
    on_grid = not np.any((ticks - ticks[0]) % (ticks[usual + 1] - ticks[usual]))
    return f"df.asfreq({freq!r})" if on_grid else f"df.resample({freq!r}).mean()"


def _check_same_step(
    times: Sequence[pd.Index[Any]],
    steps: Sequence[Step],
    series_ids: Sequence[Hashable],
    name: str,
) -> None:
    known = [i for i, step in enumerate(steps) if step is not None]
    if not known:
        return
    # A calendar is the stricter model: July to September is both "31 days" and "monthly".
    model = next((i for i in known if isinstance(steps[i], str)), known[0])
    agreed = steps[model]
    for i, index in enumerate(times):
        if index is times[model] or _follows(index, steps[i], agreed):
            continue
        raise TimeIndexError(
            f"{name}: series {series_ids[i]!r} has a time step of {index[1] - index[0]}, but "
            f"series {series_ids[model]!r} has {times[model][1] - times[model][0]}; expected one "
            f"step for all series; resample them to a common one",
            "step",
            1,
            i,
        )


def _follows(index: pd.Index[Any], step: Step, agreed: Step) -> bool:
    if len(index) < 2 or step == agreed or agreed is None:
        return True
    if not isinstance(agreed, str):
        ticks = _ticks(index)
        return not isinstance(step, str) and bool(_is_step(np.diff(ticks), agreed, ticks).all())
    if isinstance(step, str) and step.split("-")[0] == agreed.split("-")[0]:
        return True
    planned = pd.date_range(index[0], periods=len(index), freq=agreed)
    return bool((index == planned).all())
