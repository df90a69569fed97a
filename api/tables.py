"""A request's cells as the imputer wants them, and whether they are within the limits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from api.errors import ServiceError, invalid
from api.registry import Loaded
from api.schemas import ImputeRequest, Record, too_many_cells
from api.settings import Settings
from tsimpute.errors import TsimputeError
from tsimpute.panel.core import Panel
from tsimpute.panel.refusal import Refusal

FloatArray = NDArray[np.float64]
Times: TypeAlias = "pd.Index[Any]"


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one or many series.

    Attributes
    ----------
    columns : tuple of str
        Features as they were sent.
    values : ndarray of float64, shape (n_rows, n_features)
        NaN where missing.
    timestamps : list or None
        As they were sent, one a row.
    series : list or None
        Series ids as they were sent, one a row.
    times : Index or None
        The timestamps, understood.
    """

    columns: tuple[str, ...]
    values: FloatArray
    timestamps: list[str] | None = None
    series: list[Any] | None = None
    times: Times | None = None

    @property
    def n_series(self) -> int:
        """Number of series."""
        return 1 if self.series is None else len(set(self.series))

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
    times = None if body.timestamps is None else parse_times(body.timestamps)
    return Table(tuple(body.columns), values, body.timestamps, body.series, times)


def _from_records(records: Sequence[Record], settings: Settings) -> Table:
    """Long form to wide: one row for each series and time, in order."""
    with_series = records[0].series is not None
    if any((record.series is not None) != with_series for record in records):
        raise invalid(("body", "records"), "series", "expected a series in every record or none")
    columns = list(dict.fromkeys(record.feature for record in records))
    stamps = sorted({record.timestamp for record in records})
    parsed = parse_times(stamps)
    at = dict(zip(stamps, parsed, strict=True))
    ids = list(dict.fromkeys(record.series for record in records))
    rank = {label: i for i, label in enumerate(ids)}
    keys = sorted({(rank[r.series], at[r.timestamp], r.timestamp) for r in records})
    check_size(len(keys), len(columns), settings)
    place = {(i, stamp): row for row, (i, _, stamp) in enumerate(keys)}
    column = {name: k for k, name in enumerate(columns)}
    values = np.full((len(keys), len(columns)), np.nan)
    seen = np.zeros(values.shape, dtype=np.bool_)
    for i, record in enumerate(records):
        cell = place[rank[record.series], record.timestamp], column[record.feature]
        if seen[cell]:
            raise invalid(("body", "records", i), "duplicate", "this cell was given before")
        seen[cell] = True
        values[cell] = np.nan if record.value is None else record.value
    return Table(
        tuple(columns),
        values,
        [stamp for _, _, stamp in keys],
        [ids[i] for i, _, _ in keys] if with_series else None,
        pd.DatetimeIndex([time for _, time, _ in keys]),
    )


def parse_times(timestamps: Sequence[str]) -> pd.DatetimeIndex:
    """ISO 8601 times, in UTC where they have an offset.

    Raises
    ------
    ServiceError
        422, naming the first that is none.
    """
    try:
        return pd.DatetimeIndex(pd.to_datetime(list(timestamps), format="ISO8601", utc=True))
    except (ValueError, OverflowError, TypeError):
        pass
    parsed = pd.to_datetime(list(timestamps), format="ISO8601", utc=True, errors="coerce")
    wrong = np.flatnonzero(parsed.isna())
    where: tuple[str | int, ...] = ("body", "timestamps", int(wrong[0]) if len(wrong) else 0)
    raise invalid(where, "timestamp", "expected ISO 8601 times, such as 2026-01-31T12:00:00Z")


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
    if model.needs_times and table.times is None:
        expected = "expected timestamps: this model reads the calendar from them"
        raise invalid(("body", "timestamps"), "missing", expected)
    for name in model.exogenous:
        column = table.columns.index(name)
        holes = np.flatnonzero(np.isnan(table.values[:, column]))
        if len(holes):
            where = ("body", "rows", int(holes[0]), column)
            expected = "expected a value in every row of this exogenous column"
            raise invalid(where, "exogenous", expected)


def _longest(series: Sequence[Hashable]) -> int:
    codes, _ = pd.factorize(np.array(series, dtype=object))
    return int(np.bincount(codes).max())


def to_frame(table: Table, model: Loaded) -> tuple[pd.DataFrame, int]:
    """The frame that the imputer is asked about, and its windows that hold a missing cell.

    Raises
    ------
    ServiceError
        422 if the times are not regular, or absent and the model limits gaps in time.
    """
    order = [table.columns.index(name) for name in model.features]
    times = table.times if table.times is not None else _counted(table)
    index = times
    if table.series is not None:
        codes, _ = pd.factorize(np.array(table.series, dtype=object))
        index = pd.MultiIndex.from_arrays([codes, times])
    frame = pd.DataFrame(table.values[:, order], index=index, columns=model.labels)
    try:
        panel = model.imputers[0].model_.read(frame)
    except TsimputeError:  # its message holds times of the request
        raise invalid(
            ("body", "timestamps"),
            "irregular",
            "expected increasing, unique times at one regular step within each series; add the "
            "rows that are missing, with null cells",
        ) from None
    _check_refusal(panel, model)
    return frame, _hole_windows(panel.values, model)


def _check_refusal(panel: Panel, model: Loaded) -> None:
    imputer = model.imputers[0]
    try:
        Refusal.read(imputer.max_gap, imputer.min_observed).check(panel, model.window_steps)
    except TsimputeError:
        message = "this model leaves gaps open that last too long; expected times"
        raise invalid(("body", "timestamps"), "needed", message) from None


def _counted(table: Table) -> Times:
    """Rows of each series, counted from 0."""
    if table.series is None:
        return pd.RangeIndex(len(table.values))
    codes, _ = pd.factorize(np.array(table.series, dtype=object))
    return pd.Index(pd.Series(codes).groupby(codes).cumcount().to_numpy())


def _hole_windows(series: Sequence[FloatArray], model: Loaded) -> int:
    from tsimpute.placing import hole_windows

    imputer = model.imputers[0]
    fitted, overlap = imputer.model_, imputer.overlap
    return len(hole_windows(fitted, list(series), overlap, mode=imputer.mode))


def in_sent_order(quantiles: FloatArray, table: Table, model: Loaded) -> FloatArray:
    """Quantiles (n_levels, n_rows, n_features) with the columns as they were sent."""
    back = [model.features.index(name) for name in table.columns]
    return np.ascontiguousarray(quantiles[:, :, back])


def method_error() -> ServiceError:
    """A 422 for method="head" without a head."""
    return invalid(
        ("body", "method"),
        "method",
        "method 'head' needs a marginal head, which this model does not have; call "
        "fit_marginals(X) on the fitted imputer and save it again",
    )
