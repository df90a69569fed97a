"""Where timestamps stand in the day, the week and the year, as points on circles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tsimpute.errors import InputError
from tsimpute.panel.cells import FloatArray

Times = pd.DatetimeIndex

# Share of the cycle that is over, in [0, 1).
CALENDAR: dict[str, Callable[[Times], Any]] = {
    "minute": lambda t: (t.minute + t.second / 60) / 60,
    "hour": lambda t: (t.hour + t.minute / 60 + t.second / 3600) / 24,
    "dayofweek": lambda t: t.day_of_week / 7,
    "dayofmonth": lambda t: (t.day - 1) / t.days_in_month,
    "dayofyear": lambda t: (t.day_of_year - 1) / np.where(t.is_leap_year, 366, 365),
    "month": lambda t: (t.month - 1) / 12,
}


def calendar_columns(
    times: pd.Index[Any], names: Sequence[str], zone: str | None = None, data: str = "X"
) -> FloatArray:
    """Sine and cosine of each cycle, so that its end lies beside its beginning.

    Parameters
    ----------
    times : pandas.Index, length n_times
        Datetimes, or periods, whose start counts.
    names : sequence of str
        Of `CALENDAR`: "minute" of the hour, "hour" of the day, "dayofweek", "dayofmonth",
        "dayofyear", "month" of the year.
    zone : str, optional
        Time zone in which datetimes that have one are read; default: their own.
    data : str, default="X"
        What errors call the data.

    Returns
    -------
    ndarray of float64, shape (n_times, 2 * len(names))
        Sine and cosine of the first cycle, then of the next.

    Raises
    ------
    InputError
        If there are names and the times are no timestamps, or a name is unknown.
    """
    if not names:
        return np.zeros((len(times), 0))
    check_calendar(names)
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if not isinstance(times, pd.DatetimeIndex):
        raise InputError(
            f"calendar={list(names)!r} needs timestamps, but {data} has times of {times.dtype}; "
            f"pass a DataFrame with a DatetimeIndex, or leave calendar out"
        )
    if zone is not None and times.tz is not None:
        times = times.tz_convert(zone)
    angles = [2 * np.pi * np.asarray(CALENDAR[name](times), dtype=np.float64) for name in names]
    return np.column_stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)])


def check_calendar(names: Sequence[str]) -> None:
    """Raise InputError unless all are names of `CALENDAR`, each once."""
    unknown = [name for name in names if name not in CALENDAR]
    if unknown or len(set(names)) < len(names):
        raise InputError(
            f"calendar={list(names)!r} cannot be used; expected names out of {list(CALENDAR)}, "
            f"each once"
        )
