"""Holes that are better left open: too long a gap, too little observed around."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import Day, Tick

from tsimpute.arguments import is_whole
from tsimpute.errors import InputError
from tsimpute.panel.cells import BoolArray, FloatArray
from tsimpute.panel.core import Panel
from tsimpute.panel.gaps import gap_edges
from tsimpute.panel.modes import filling_starts
from tsimpute.panel.windows import IntArray

TOO_LONG = "gap too long"
TOO_LITTLE = "too little observed"
NOTHING = "nothing observed near"


@dataclass(frozen=True)
class Refusal:
    """When a hole is not imputed.

    Attributes
    ----------
    max_gap : int, Timedelta or None
        Longest gap that is imputed, in rows or in time.
    min_observed : int, float or None
        Observed cells of a feature that one of the windows that see a hole must have: a
        number, or, if a float, a share of the window's rows.
    """

    max_gap: int | pd.Timedelta | None = None
    min_observed: float | None = None

    @classmethod
    def read(cls, max_gap: Any, min_observed: Any) -> Refusal:
        """Refusal from what a user writes.

        Raises
        ------
        InputError
            If `max_gap` is neither rows nor a duration, or `min_observed` neither a number of
            cells nor a share.
        """
        whole = is_whole(min_observed) and min_observed >= 1
        share = isinstance(min_observed, float | np.floating) and 0 < min_observed < 1
        if min_observed is not None and not (whole or share):
            raise InputError(
                f"min_observed={min_observed!r} cannot be used; expected a whole number of cells "
                f"of at least 1, or a share of the window in (0, 1)"
            )
        return cls(_read_gap(max_gap), min_observed)

    @property
    def refuses(self) -> bool:
        """Whether any hole could be refused."""
        return self.max_gap is not None or self.min_observed is not None

    def check(self, panel: Panel, window_steps: int) -> None:
        """Raise InputError if a limit cannot be told on the panel, or no hole could meet it."""
        if self.min_observed is not None and self.min_observed >= window_steps:
            raise InputError(
                f"min_observed={self.min_observed} cannot be met: a window has {window_steps} "
                f"rows, and one of them is the hole; expected 1 to {window_steps - 1}"
            )
        if not isinstance(self.max_gap, pd.Timedelta):
            return
        for times in panel.times:
            if not isinstance(times, pd.DatetimeIndex | pd.TimedeltaIndex | pd.PeriodIndex):
                raise InputError(
                    f"max_gap={str(self.max_gap)!r} is a duration, but {panel.name} has no times "
                    f"(got an index of {times.dtype}); give max_gap as a number of rows"
                )

    def reasons(
        self, panel: Panel, window_steps: int, stride: int, mode: str = "offline"
    ) -> list[NDArray[np.object_]]:
        """Why each cell of each series is refused, (n_times_i, K); empty text where it is not.

        With mode "online" a gap is as long as it has lasted, its own row included.
        """
        return [
            self._reasons(values, times, window_steps, stride, mode)
            for values, times in zip(panel.values, panel.times, strict=True)
        ]

    def _reasons(
        self,
        values: FloatArray,
        times: pd.Index[Any],
        window_steps: int,
        stride: int,
        mode: str,
    ) -> NDArray[np.object_]:
        observed = ~np.isnan(values)
        reasons = np.full(values.shape, "", dtype=object)
        if self.min_observed is not None:
            found, rows = best_window(observed, window_steps, stride, mode)
            needed = self.min_observed * (1 if is_whole(self.min_observed) else rows)
            reasons[~observed & (found < needed)] = TOO_LITTLE
            reasons[~observed & (found < needed) & (found == 0)] = NOTHING
        if self.max_gap is not None:
            reasons[too_long(observed, times, self.max_gap, mode == "online")] = TOO_LONG
        return reasons


def too_long(
    observed_mask: BoolArray,
    times: pd.Index[Any],
    max_gap: int | pd.Timedelta,
    so_far: bool = False,
) -> BoolArray:
    """Missing cells (L, K) in a gap of more than `max_gap`.

    A gap of n rows lasts from its first row to the next observed row, which is n steps; at the
    end of a series, the last row counts as long as the one before. `so_far`: to each row's own
    end, and every row counts as long as the one before.
    """
    before, after = gap_edges(observed_mask)
    if so_far:
        after = np.broadcast_to(np.arange(1, len(after) + 1)[:, None], after.shape)
    if not isinstance(max_gap, pd.Timedelta):
        return np.asarray(~observed_mask & (after - before - 1 > max_gap))
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    assert isinstance(times, pd.DatetimeIndex | pd.TimedeltaIndex)
    ticks = times.as_unit("ns").asi8
    steps = np.diff(ticks, prepend=ticks[:1])
    # Where each row begins, and where the last ends.
    ends = np.append(ticks, ticks[-1] + steps[-1])
    until = (ticks + steps)[:, None] if so_far else ends[after]
    return np.asarray(~observed_mask & (until - ends[before + 1] > max_gap.value))


def best_window(
    observed_mask: BoolArray, window_steps: int, stride: int, mode: str = "offline"
) -> tuple[IntArray, IntArray]:
    """Of the windows that see a cell, the most observed cells of its feature in one of them.

    Returns
    -------
    found : ndarray of int64, shape (L, K)
    rows : ndarray of int64, shape (L, 1)
        Rows of a window, at most those of the series; online, those up to the cell.
    """
    n_rows = len(observed_mask)
    found = np.zeros(observed_mask.shape, dtype=np.int64)
    for start in filling_starts(n_rows, window_steps, stride, mode).tolist():
        window = slice(max(0, start), start + window_steps)
        filled = slice(window.stop - 1, window.stop) if mode == "online" else window
        found[filled] = np.maximum(found[filled], observed_mask[window].sum(axis=0))
    n_seen = np.arange(1, n_rows + 1)[:, None] if mode == "online" else np.full((n_rows, 1), n_rows)
    return found, np.minimum(window_steps, n_seen)


def _read_gap(max_gap: Any) -> int | pd.Timedelta | None:
    if max_gap is None or (is_whole(max_gap) and max_gap >= 1):
        return None if max_gap is None else int(max_gap)
    if isinstance(max_gap, timedelta) or (isinstance(max_gap, str) and not _is_calendar(max_gap)):
        with suppress(ValueError):
            duration = pd.Timedelta(max_gap)
            if duration > pd.Timedelta(0):  # not NaT either
                return duration.as_unit("ns")
    raise InputError(
        f"max_gap={max_gap!r} cannot be used; expected a whole number of rows of at least 1, or "
        f"a fixed duration such as '6h' or pd.Timedelta('6h')"
    )


def _is_calendar(text: str) -> bool:
    """Whether a text is an offset of no fixed length; pandas takes "2MS" for 2 milliseconds."""
    with suppress(ValueError):
        return not isinstance(to_offset(text), Tick | Day)
    return False
