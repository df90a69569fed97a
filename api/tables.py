"""A request's cells as the imputer wants them, and whether they are within the limits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from api.errors import Location, ServiceError, invalid
from api.registry import Loaded
from api.schemas import ImputeRequest, Record, too_many_cells
from api.settings import Settings
from api.times import BadTimeError, Times, check_kind, in_zone, parse_times

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one or many series.

    Attributes
    ----------
    columns : tuple of str
        Features as they were sent.
    values : ndarray of float64, shape (n_rows, n_features)
        NaN where missing.
    timestamps : list of str or float, or None
        As they were sent, one a row.
    series : list or None
        Series ids as they were sent, one a row.
    times : Index or None
        The timestamps, understood.
    records : list of int or None
        Of the long form: a record of each row.
    """

    columns: tuple[str, ...]
    values: FloatArray
    timestamps: list[Any] | None = None
    series: list[Any] | None = None
    times: Times | None = None
    records: list[int] | None = None

    @property
    def n_series(self) -> int:
        """Number of series."""
        return 1 if self.series is None else len(set(self.series))

    def time_place(self, row: int) -> Location:
        """Where the time of a row was sent."""
        if self.records is None:
            return ("body", "timestamps", row)
        return ("body", "records", self.records[row], "timestamp")

    def read_in(self, zone: str | None) -> Table:
        """The same with its times in a time zone."""
        return self if zone is None else replace(self, times=in_zone(self.times, zone))

    @property
    def facts(self) -> dict[str, Any]:
        """What the log may know."""
        return {
            "n_rows": len(self.values),
            "n_columns": len(self.columns),
            "n_series": self.n_series,
            "missing_share": round(float(np.isnan(self.values).mean()), 4),
        }


def read_table(body: ImputeRequest, settings: Settings) -> Table:
    """Cells of a JSON request.

    Raises
    ------
    ServiceError
        422, naming the place.
    """
    if body.records is not None:
        return _from_records(body.records, settings)
    assert body.columns is not None and body.rows is not None
    n, k = len(body.rows), len(body.columns)
    check_size(n, k, settings)
    for i, row in enumerate(body.rows):
        if len(row) != k:
            raise invalid(("body", "rows", i), "ragged", f"expected {k} cells, one a column")
    for name, labels in (("timestamps", body.timestamps), ("series", body.series)):
        if labels is not None and len(labels) != n:
            raise invalid(("body", name), "length", f"expected {n} entries, one a row")
    values = np.array(body.rows, dtype=np.float64).reshape(n, k)
    times = None if body.timestamps is None else understood(body.timestamps)
    return Table(tuple(body.columns), values, body.timestamps, body.series, times)


def understood(stamps: Sequence[Any]) -> Times:
    """Times of the rows of a table.

    Raises
    ------
    ServiceError
        422, naming the row.
    """
    try:
        return parse_times(stamps)
    except BadTimeError as error:
        raise invalid(("body", "timestamps", error.row), "timestamp", error.message) from None


def _from_records(records: Sequence[Record], settings: Settings) -> Table:
    """Long form to wide: one row for each series and time, in order."""
    with_series = records[0].series is not None
    if any((record.series is not None) != with_series for record in records):
        raise invalid(("body", "records"), "series", "expected a series in every record or none")
    columns = list(dict.fromkeys(record.feature for record in records))
    at = _times_of(records)
    ids = list(dict.fromkeys(record.series for record in records))
    rank = {label: i for i, label in enumerate(ids)}
    keys = sorted({(rank[r.series], at[r.timestamp], r.timestamp) for r in records})
    check_size(len(keys), len(columns), settings)
    place = {(i, stamp): row for row, (i, _, stamp) in enumerate(keys)}
    column = {name: k for k, name in enumerate(columns)}
    values = np.full((len(keys), len(columns)), np.nan)
    given_by = np.full(values.shape, -1)
    for i, record in enumerate(records):
        cell = place[rank[record.series], record.timestamp], column[record.feature]
        if given_by[cell] >= 0:
            raise invalid(("body", "records", i), "duplicate", "this cell was given before")
        given_by[cell] = i
        values[cell] = np.nan if record.value is None else record.value
    return Table(
        tuple(columns),
        values,
        [stamp for _, _, stamp in keys],
        [ids[i] for i, _, _ in keys] if with_series else None,
        pd.Index([time for _, time, _ in keys]),
        given_by.max(axis=1).tolist(),
    )


def _times_of(records: Sequence[Record]) -> dict[Any, Any]:
    """What each timestamp of the records means."""
    stamps = list(dict.fromkeys(record.timestamp for record in records))
    try:
        return dict(zip(stamps, parse_times(stamps), strict=True))
    except BadTimeError as error:
        wrong = stamps[error.row]
        first = next(i for i, record in enumerate(records) if record.timestamp == wrong)
        where = ("body", "records", first, "timestamp")
        raise invalid(where, "timestamp", error.message) from None


def check_size(n_rows: int, n_columns: int, settings: Settings) -> None:
    """Limit the number of cells, before an array is made.

    Raises
    ------
    ServiceError
        422.
    """
    if n_rows * n_columns > settings.max_cells:
        raise too_many_cells(settings)


def check_table(table: Table, model: Loaded, settings: Settings) -> None:
    """Limits on values and shape, and the model's own features.

    Raises
    ------
    ServiceError
        422, naming the place.
    """
    large = np.argwhere(np.abs(table.values) > settings.max_magnitude)
    if len(large):
        where = ("body", "rows", int(large[0][0]), int(large[0][1]))
        raise invalid(where, "magnitude", f"expected at most {settings.max_magnitude:g} in size")
    if sorted(table.columns) != sorted(model.features):
        known = ", ".join(model.features[:50])
        raise invalid(
            ("body", "columns"),
            "features",
            f"expected exactly the model's {len(model.features)} features: {known}",
        )
    if table.n_series > settings.max_series:
        expected = f"expected at most {settings.max_series} series"
        raise invalid(("body", "series"), "too_many_series", expected)
    _check_side(table, model)
    longest = len(table.values) if table.series is None else _longest(table.series)
    if longest > settings.max_steps:
        expected = f"expected at most {settings.max_steps} rows in a series"
        raise invalid(("body", "rows"), "too_many_steps", expected)


def _check_side(table: Table, model: Loaded) -> None:
    """What conditions the model must be there in every row."""
    check_kind(table.times, model.times_needed)
    for name in model.exogenous:
        column = table.columns.index(name)
        holes = np.flatnonzero(np.isnan(table.values[:, column]))
        if len(holes):
            where = ("body", "rows", int(holes[0]), column)
            expected = "expected a value in every row of this exogenous column"
            raise invalid(where, "exogenous", expected)


def _longest(series: Sequence[Hashable]) -> int:
    return int(np.bincount(codes_of(series)).max())


def codes_of(series: Sequence[Hashable]) -> NDArray[np.int64]:
    """Number of the series of each row, in order of appearance."""
    return pd.factorize(np.array(series, dtype=object))[0]


def method_error(known: Sequence[str]) -> ServiceError:
    """A 422 for a method that a model does not have, or is not calibrated for."""
    names = " or ".join(repr(name) for name in known) or "no method as it is"
    return invalid(
        ("body", "method"),
        "method",
        f"this model answers by {names}; 'head' needs fit_marginals(X) on the fitted imputer, and "
        f"a calibrated model fit_calibration(X) for each method; then save it again",
    )
