"""Tables: which column is the time, which names the series, which are features."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsimpute.errors import InputError
from tsimpute.files.recording import Recording

TIME_NAMES = ("time", "timestamp", "date", "datetime", "")
SERIES_NAMES = ("series",)
# Numbers as the nearest to their text: the only way from pandas 3.1 on, and an option before.
PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
EXACT: dict[str, Any] = {} if PANDAS >= (3, 1) else {"float_precision": "round_trip"}


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what; None where the names tell."""

    time: str | None = None
    series: str | None = None
    features: Sequence[str] | None = None


def read_csv(data: bytes) -> pd.DataFrame:
    """Read CSV: numbers as the nearest to their text; an empty cell or NA is missing."""
    first = pd.read_csv(io.BytesIO(data), header=None, nrows=1, dtype=str, encoding="utf-8-sig")
    names = first.iloc[0].fillna("").tolist()
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"column {twice[0]!r} is there more than once")
    as_text = {i: "str" for i, name in enumerate(names) if name.lower() in SERIES_NAMES}
    table: pd.DataFrame = pd.read_csv(
        io.BytesIO(data),
        header=None,
        skiprows=1,
        names=range(len(names)),
        index_col=False,
        dtype=as_text,
        encoding="utf-8-sig",
        # In a single column an empty line is a missing value.
        skip_blank_lines=len(names) > 1,
        **EXACT,
    )
    table.columns = pd.Index(names)
    return table


def from_table(table: pd.DataFrame, name: str, columns: Columns) -> Recording:
    """A recording of a table.

    Raises
    ------
    InputError
        Naming the column or row that cannot be used.
    """
    if not len(table):
        raise InputError(f"{name}: got no rows, expected a header and at least one row")
    indexed = not isinstance(table.index, pd.RangeIndex)  # a Parquet file may bring its index
    if indexed and columns.time is None and columns.series is None:
        return Recording(name, table, _features(table, (), name, columns.features))
    table = table.reset_index() if indexed else table
    time = _label(table, columns.time, TIME_NAMES, "time", name)
    series = _label(table, columns.series, SERIES_NAMES, "series", name)
    labels = tuple(label for label in (time, series) if label is not None)
    data = _features(table, labels, name, columns.features)
    data.index = _index(table, time, series, name)
    return Recording(name, table, data, labels)


def _label(
    table: pd.DataFrame, wanted: str | None, usual: tuple[str, ...], role: str, name: str
) -> str | None:
    """Column of a role: the wanted one, or the only one of a usual name."""
    if wanted is not None:
        if wanted not in table:
            raise InputError(
                f"{role}_column={wanted!r}: {name} has the columns {list(table)}; name one of them"
            )
        return wanted
    found = [str(column) for column in table if str(column).lower() in usual]
    if len(found) > 1:
        raise InputError(
            f"{name}: the columns {found} could all be the {role}; say which with {role}_column"
        )
    return found[0] if found else None


def _features(
    table: pd.DataFrame, labels: tuple[str, ...], name: str, wanted: Sequence[str] | None
) -> pd.DataFrame:
    if wanted is None:
        names = [column for column in table if column not in labels]
    else:
        names = list(wanted)
        absent = [column for column in names if column not in table]
        if absent:
            raise InputError(f"{name}: got columns {list(table)}, expected also {absent[0]!r}")
    if not names:
        raise InputError(f"{name}: got no column but {list(labels)}, expected one or more features")
    for column in names:
        _check_numbers(table[column], f"{name}: column {column!r}")
    return table[names].copy()


def _check_numbers(column: pd.Series[Any], where: str) -> None:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return
    texts = column.dropna()
    row = pd.to_numeric(texts, errors="coerce").isna()
    place = int(column.index.get_indexer(row.index[row])[0]) if row.any() else 0
    raise InputError(
        f"{where} holds {column.iloc[place]!r} in row {place}, expected numbers or empty cells; "
        f"name it as time column or series column if it is one, or leave it out of the features"
    )


def _index(table: pd.DataFrame, time: str | None, series: str | None, name: str) -> pd.Index[Any]:
    """Index of times, or of (series, time)."""
    times: pd.Index[Any] = pd.RangeIndex(len(table), name="time")
    if time is not None:
        times = _times(table[time], f"{name}: column {time!r}").rename(time or "time")
    if series is None:
        return times
    ids = table[series]
    if time is None:
        times = pd.Index(ids.groupby(ids, sort=False, dropna=False).cumcount(), name="time")
    return pd.MultiIndex.from_arrays([pd.Index(ids), times])


def _times(column: pd.Series[Any], where: str) -> pd.Index[Any]:
    if column.isna().any():
        raise InputError(f"{where}: row {int(np.argmax(column.isna()))} is empty, expected a time")
    if not (pd.api.types.is_string_dtype(column.dtype) or column.dtype == object):
        found: pd.Index[Any] = pd.Index(column)
        return found
    try:  # also dates of Parquet, which are objects
        return pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601"))
    except ValueError:  # also where the offset from UTC changes, as with daylight saving
        times = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    if times.isna().any():
        row = int(np.argmax(times.isna()))
        raise InputError(
            f"{where}: row {row} holds {column.iloc[row]!r}, expected times as in ISO 8601, such "
            f"as 2026-01-31 or 2026-01-31T13:00:00, or numbers"
        )
    return pd.DatetimeIndex(times)
