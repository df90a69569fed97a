"""The past of a stream: the last readings of each series, and the fill of its newest row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError, InputTypeError
from tsimpute.model import FittedModel
from tsimpute.panel.clock import check_times
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Panel
from tsimpute.panel.refusal import Refusal
from tsimpute.sampling.answers import medians
from tsimpute.sampling.choices import Choice, Fitted

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """What a stream remembers of one series.

    Attributes
    ----------
    place : int
        Which series it is, counted in the order of their first rows.
    n_rows : int
        Rows that have come.
    values : ndarray of float64, shape (up to n_kept, K + C)
        The last of them as they came, NaN where missing: features in the model's order, then
        exogenous columns.
    times : tuple of hashable
        Their times; empty for rows without.
    """

    place: int
    n_rows: int
    values: FloatArray
    times: tuple[Hashable, ...]

    @classmethod
    def empty(cls, place: int, n_columns: int) -> Past:
        """Before the first row."""
        return cls(place, 0, np.empty((0, n_columns)), ())

    def followed_by(self, new: NewRow, n_kept: int, regular: bool, where: str) -> Past:
        """The past with one more row, of which the last `n_kept` rows are kept.

        Raises
        ------
        InputError
            If the time is not the next one.
        """
        times = (*self.times, *(() if new.time is None else (new.time,)))
        if self.n_rows:
            self._check_next(new.time, times, regular, where)
        kept = np.concatenate([self.values, new.cells])[-n_kept:]
        return Past(self.place, self.n_rows + 1, kept, times[-max(n_kept, 3) :])

    def _check_next(
        self, time: Hashable | None, times: tuple[Hashable, ...], regular: bool, where: str
    ) -> None:
        if (time is None) == bool(self.times):
            got, before = ("no time", "one") if time is None else (f"the time {time!s}", "none")
            raise InputError(
                f"{where}: the row has {got}, but the rows before it have {before}; give every "
                f"row of a stream a time, or none"
            )
        if time is None:
            return
        index = pd.Index(times)
        if not index.is_monotonic_increasing or not index.is_unique:
            raise InputError(
                f"{where}: the row of time {str(time)!r} does not come after the last one, "
                f"{str(times[-2])!r}; expected a later time; call reset_stream() to begin again"
            )
        check_times([index], None, where, regular)


def rows_kept(imputer: Fitted) -> int:
    """Rows that a stream needs: those of a window, and those of the longest gap that is filled.

    Raises
    ------
    InputError
        If that gap is a duration.
    """
    max_gap = Refusal.read(imputer.max_gap, imputer.min_observed).max_gap
    if isinstance(max_gap, pd.Timedelta):
        raise InputError(
            f"max_gap={imputer.max_gap!r} is a duration, and a stream counts rows; give it as a "
            f"number of rows, for example set_params(max_gap=6)"
        )
    return max(imputer.model_.window_steps, 0 if max_gap is None else max_gap + 1)


def fill_newest(imputer: Fitted, past: Past) -> FloatArray:
    """Newest row (K,) of a past, its holes filled with the median.

    What `transform` with mode "online" gives for this row of the whole past, up to the rounding
    of float32: the same readings, noise and windows.
    """
    k = imputer.model_.n_features
    if not np.isnan(past.values[-1]).any():
        return np.asarray(past.values[-1, :k])
    panel = _as_panel(past, k)
    origin = (past.place, past.n_rows - len(past.values))
    return np.asarray(medians(imputer, panel, Choice(origin=origin))[0][-1])


def _as_panel(past: Past, n_features: int) -> Panel:
    """The rows that are kept, with their times, exogenous columns set apart."""
    times = past.times[-len(past.values) :]
    frame = pd.DataFrame(past.values, index=pd.Index(times) if times else None)
    panel = read_panel(frame, regular=False)
    return replace(panel.with_covariates(range(n_features, panel.n_features)), feature_names=None)


@dataclass(frozen=True)
class NewRow:
    """One row of a stream, and the way back to what the user passed.

    Attributes
    ----------
    panel : Panel
        Of one series with one row, columns in the model's order.
    time : hashable or None
    series : hashable or None
        From a row with a (series, time) index.
    kind : type
        Of what the user passed.
    """

    panel: Panel
    time: Hashable | None
    series: Hashable | None
    kind: type

    @property
    def cells(self) -> FloatArray:
        """The row (1, K + C): features, then exogenous columns."""
        return np.hstack([self.panel.values[0], *(self.panel.covariates or ())])

    def filled(self, values: FloatArray) -> Any:
        """What the user passed, with values (K,) in its holes."""
        table = self.panel.fill([values[None]])
        if issubclass(self.kind, pd.DataFrame):
            return table
        if issubclass(self.kind, pd.Series):
            return table.iloc[0].rename(self.time)
        return table.iloc[0].to_dict() if issubclass(self.kind, Mapping) else table[0]


def read_row(row: Any, model: FittedModel) -> NewRow:
    """One row as the user holds it.

    Raises
    ------
    InputError, InputTypeError
        If it is not one row, or its columns or values do not fit the model.
    """
    time: Hashable | None = None
    table: Any
    if isinstance(row, pd.Series):
        time, table = row.name, row.to_frame().T
    elif isinstance(row, pd.DataFrame):
        time, table = _only_label(row), row
    elif isinstance(row, Mapping):
        table = pd.DataFrame({name: [value] for name, value in row.items()})
    elif np.ndim(row) == 1:
        table = np.asarray(row)[None]
    else:
        raise InputTypeError(
            f"row: got {type(row).__name__} of {np.ndim(row)} dimensions, expected one row: a "
            f"Series, a dict, a DataFrame of one row or a 1-d array"
        )
    panel = model.read(table, name="row")
    model.warn_of_fill_values(panel, stacklevel=5)
    series = None
    if isinstance(row, pd.DataFrame) and isinstance(row.index, pd.MultiIndex):
        series, time = row.index[0]
    return NewRow(panel, time, series, type(row))


def _only_label(row: pd.DataFrame) -> Hashable:
    if len(row) != 1:
        raise InputError(f"row: got a DataFrame of {len(row)} rows, expected one new row")
    label: Hashable = row.index[0]
    return label
