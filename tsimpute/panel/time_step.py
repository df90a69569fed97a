"""What one row of a data set is in time, to tell whether several have a common scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pandas as pd

from tsimpute.panel.clock import regular_step
from tsimpute.panel.core import Panel
from tsimpute.panel.elapsed import Clock, elapsed, is_timed

DAY_S = 86_400.0
# Rows in a season by the days of a step, from and to; of shorter steps a day is one.
SEASONS = ((1.0, 1.0, 7), (7.0, 7.0, 52), (28.0, 31.0, 12), (89.0, 92.0, 4))
CALENDAR_DAYS = {"M": 30.0, "Q": 91.0}


def season_of(days: float) -> int | None:
    """Rows in the season that rows so many days apart usually have: a day, a week or a year."""
    if 0 < days < 1:
        rows = round(1 / days)
        return rows if rows > 1 else None
    return next((rows for low, high, rows in SEASONS if low <= days <= high), None)


@dataclass(frozen=True)
class TimeStep:
    """The regular step of a data set.

    Attributes
    ----------
    in_time : bool
        Whether there are timestamps, periods or durations; else rows are numbered.
    length : float or None
        Seconds, or the distance of the numbers; None where a calendar rules or there is too
        little to tell.
    calendar : str or None
        Name of a calendar frequency, for example "MS".
    """

    ROUNDING: ClassVar[float] = 1e-6  # share of a step that two of them may differ by

    in_time: bool
    length: float | None = None
    calendar: str | None = None

    @classmethod
    def of(cls, panel: Panel, clock: Clock | None = None) -> TimeStep:
        """Step of a regular panel, or the usual one that a clock measures in."""
        if clock is not None:
            return cls(clock.in_seconds, clock.step)
        times = max(panel.times, key=len)
        if isinstance(times, pd.PeriodIndex):
            times = times.to_timestamp()
        in_time = is_timed(times)
        step = regular_step(times, panel.name)
        if isinstance(step, str):
            return cls(in_time, calendar=step)
        return cls(in_time, float(elapsed(times)[1]) if len(times) > 1 else None)

    def agrees_with(self, other: TimeStep, tolerance: float = ROUNDING) -> bool:
        """Whether a row is as long in both, as far as is known; lengths up to a share of them."""
        if self.in_time != other.in_time:
            return False
        if self.calendar and other.calendar:
            return _unit(self.calendar) == _unit(other.calendar)
        if self.length and other.length:
            return math.isclose(self.length, other.length, rel_tol=tolerance)
        return not (self.is_known and other.is_known)

    @property
    def is_known(self) -> bool:
        """Whether the data tell the step."""
        return bool(self.length or self.calendar)

    @property
    def season(self) -> int | None:
        """Rows in a season that the step suggests: a day, a week or a year; else None."""
        if self.calendar is not None:
            return season_of(CALENDAR_DAYS.get(_unit(self.calendar), 0.0))
        return season_of(self.length / DAY_S) if self.in_time and self.length else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file: the fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TimeStep:
        """The step that `to_dict` described."""
        return cls(**stored)

    def __str__(self) -> str:
        if self.calendar is not None:
            return f"steps of the calendar frequency {self.calendar!r}"
        if not self.in_time:
            return "no timestamps" if self.length in (None, 1) else f"numbers {self.length:g} apart"
        if self.length is None:
            return "timestamps of an unknown step"
        return f"a step of {pd.Timedelta(seconds=self.length)}"


def _unit(calendar: str) -> str:
    """Month, quarter or year, whether its first or its last day stands for it."""
    return calendar.split("-")[0].rstrip("SE")
