"""Real distances between rows, in units of the usual one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsimpute.errors import InputError
from tsimpute.panel.cells import FloatArray
from tsimpute.panel.core import Panel

_ROUNDING = 1e-6  # of a step: nearer to a whole number than this is that number


@dataclass(frozen=True)
class Clock:
    """How far apart the rows of a training panel usually are.

    Attributes
    ----------
    step : float
        Median distance of neighbouring rows, in seconds or in the numbers of the index.
    in_seconds : bool
        Whether the times were timestamps, periods or durations, and not numbers.
    """

    step: float
    in_seconds: bool

    @classmethod
    def fit(cls, panel: Panel) -> Clock:
        """Clock of training data.

        Raises
        ------
        InputError
            If the panel has no times.
        """
        _check_labels(panel)
        gaps = np.concatenate([np.diff(elapsed(times)) for times in panel.times])
        step = float(np.median(gaps)) if len(gaps) else 1.0
        return cls(step, is_timed(panel.times[0]))

    def steps(self, panel: Panel) -> list[FloatArray]:
        """Distance (n_times_i,) of each row from the first of its series, in `step`.

        Raises
        ------
        InputError
            If the panel has no times, or of another kind.
        """
        _check_labels(panel)
        if is_timed(panel.times[0]) != self.in_seconds:
            expected = "timestamps or durations" if self.in_seconds else "numbers"
            raise InputError(
                f"time='clock': {panel.name} has times of {panel.times[0].dtype}, expected "
                f"{expected}, as in the training data"
            )
        return [_snapped(elapsed(times) / self.step) for times in panel.times]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return {"step": self.step, "in_seconds": self.in_seconds}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Clock:
        """The clock that `to_dict` described."""
        return cls(float(stored["step"]), bool(stored["in_seconds"]))


def _check_labels(panel: Panel) -> None:
    if not panel.source.layout.has_time_labels:
        raise InputError(
            f"time='clock' needs times, but {panel.name} is an array without any; pass a "
            f"DataFrame with a time index, or time='steps'"
        )


def is_timed(times: pd.Index[Any]) -> bool:
    """Whether labels are timestamps, periods or durations, and not numbers."""
    return isinstance(times, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex)


def elapsed(times: pd.Index[Any]) -> FloatArray:
    """Seconds, or numbers, since the first row."""
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if isinstance(times, pd.DatetimeIndex | pd.TimedeltaIndex):
        return np.asarray(pd.TimedeltaIndex(times - times[0]).total_seconds(), dtype=np.float64)
    return times.to_numpy(dtype=np.float64) - float(times[0])


def _snapped(steps: FloatArray) -> FloatArray:
    whole = np.rint(steps)
    return np.where(np.abs(steps - whole) < _ROUNDING, whole, steps)
