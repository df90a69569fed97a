"""CSV and Parquet in and out."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from api.asking import Answer
from api.errors import ServiceError, invalid
from api.settings import Settings
from api.tables import Table, check_size, understood
from api.times import BadTimeError, Times, checked_numbers
from tsimpute.files import level_suffix
from tsimpute.files.tables import SERIES_NAMES, TIME_NAMES

INDEX_NAMES = (*TIME_NAMES, *SERIES_NAMES)
EXPANDED = 16  # a Parquet file may be this many times the limit of the body once unpacked
KIND_OF_TYPE = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/parquet": "parquet",
    "application/x-parquet": "parquet",
}
TYPE_OF_KIND = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


@dataclass(frozen=True, eq=False)
class File:
    """A file as it was sent.

    Attributes
    ----------
    kind : {"csv", "parquet"}
    frame : DataFrame
        All columns, the leading ones of `INDEX_NAMES` first.
    table : Table
    """

    kind: str
    frame: pd.DataFrame
    table: Table


def read_file(data: bytes, name: str, content_type: str, settings: Settings) -> File:
    """Read a file.

    Raises
    ------
    ServiceError
        415 if it is neither CSV nor Parquet, 422 for what is in it.
    """
    kind = _kind(data, name, content_type)
    try:
        frame = _read_csv(data) if kind == "csv" else _read_parquet(data, settings)
    except ServiceError:
        raise
    except Exception:  # readers raise whatever they like about bytes from anywhere
        raise unreadable(kind) from None
    return File(kind, frame, _table(frame, settings))


def unreadable(kind: str) -> ServiceError:
    """A 415."""
    return ServiceError("unsupported_media_type", f"the file cannot be read as {kind}", 415)


def _kind(data: bytes, name: str, content_type: str) -> str:
    suffix = name.rsplit(".", 1)[-1].lower()
    if data[:4] == b"PAR1":
        return "parquet"
    kind = KIND_OF_TYPE.get(content_type.split(";")[0].strip().lower())
    kind = suffix if suffix in TYPE_OF_KIND else kind
    if kind is None or (kind == "csv" and b"\0" in data[:4096]):
        raise ServiceError("unsupported_media_type", "expected a CSV or Parquet file", 415)
    return kind


def _read_csv(data: bytes) -> pd.DataFrame:
    """Read by Arrow, whose numbers are the nearest to their text."""
    later = csv.ParseOptions(invalid_row_handler=lambda row: "skip")
    with csv.open_csv(pa.BufferReader(data), parse_options=later) as header:
        names = header.schema.names
    if len(set(names)) < len(names):
        raise invalid(("body", "file"), "columns", "expected each column name once")
    as_text = {name: pa.string() for name in _leading(names)}
    ragged: list[int] = []

    def refuse(row: csv.InvalidRow) -> str:
        ragged.append(row.number)
        return "error"

    # In a single column an empty line is a missing value.
    parse = csv.ParseOptions(ignore_empty_lines=len(names) > 1, invalid_row_handler=refuse)
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=parse,
            convert_options=csv.ConvertOptions(column_types=as_text, strings_can_be_null=True),
        )
    except pa.ArrowInvalid:
        if not ragged:
            raise
        message = "expected every row to be as long as the header"
        raise invalid(("body", "file", "line", ragged[0]), "ragged", message) from None
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _read_parquet(data: bytes, settings: Settings) -> pd.DataFrame:
    file = pq.ParquetFile(pa.BufferReader(data))
    about = file.metadata
    check_size(about.num_rows, about.num_columns - len(INDEX_NAMES), settings)
    unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if unpacked > EXPANDED * settings.max_body_bytes:
        raise invalid(("body", "file"), "too_large", "the file is too large once unpacked")
    frame: pd.DataFrame = file.read(use_threads=False).to_pandas()
    return frame if isinstance(frame.index, pd.RangeIndex) else _with_index_columns(frame)


def _with_index_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The index as leading columns; levels without a name get the usual ones."""
    usual = ["time"] if frame.index.nlevels == 1 else ["series", "time"]
    usual += ["time"] * (frame.index.nlevels - len(usual))
    names = [own or other for own, other in zip(frame.index.names, usual, strict=True)]
    return frame.reset_index(names=names)


def _leading(names: Iterable[Any]) -> list[Any]:
    """First names, as long as they are those of the index."""
    return list(takewhile(lambda name: str(name).lower() in INDEX_NAMES, names))


def _table(frame: pd.DataFrame, settings: Settings) -> Table:
    leading = _leading(frame.columns)
    features = frame.drop(columns=leading)
    if not len(frame) or not len(features.columns):
        raise invalid(("body", "file"), "empty", "expected a header and at least one row")
    check_size(len(frame), len(features.columns), settings)
    columns = [_numbers(features.iloc[:, k], k) for k in range(features.shape[1])]
    stamps, ids = (_the_column(frame, leading, names) for names in (TIME_NAMES, SERIES_NAMES))
    for label, column in (("timestamps", stamps), ("series", ids)):
        if column is not None and column.isna().any():
            raise invalid(("body", label), "missing", "expected an entry in every row")
    return Table(
        tuple(map(str, features.columns)),
        np.column_stack(columns),
        None if stamps is None else [str(stamp) for stamp in stamps],
        None if ids is None else [label if isinstance(label, str) else int(label) for label in ids],
        None if stamps is None else _times(stamps),
    )


def _the_column(
    frame: pd.DataFrame, leading: Iterable[Any], names: Iterable[str]
) -> pd.Series[Any] | None:
    """The one leading column of these names."""
    found = [name for name in leading if str(name).lower() in names]
    if len(found) > 1:
        raise invalid(("body", "file"), "columns", "expected one column of times, one of series")
    return frame[found[0]] if found else None


def _times(stamps: pd.Series[Any]) -> Times:
    """Times of a column: as they are, if they have a type, else as their text says."""
    is_text = pd.api.types.is_string_dtype(stamps.dtype) or stamps.dtype == object
    if not is_text:
        index: Times = pd.Index(stamps)
        return _finite(index) if pd.api.types.is_numeric_dtype(stamps.dtype) else index
    texts = [str(stamp) for stamp in stamps]
    try:
        return _finite(pd.Index(pd.to_numeric(pd.Series(texts))))
    except ValueError:
        return understood(texts)


def _finite(numbers: Times) -> Times:
    try:
        return checked_numbers(numbers)
    except BadTimeError as error:
        raise invalid(("body", "timestamps", error.row), "timestamp", error.message) from None


def _numbers(column: pd.Series[Any], place: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    where = ("body", "file", "column", place)
    is_bool = pd.api.types.is_bool_dtype(column.dtype)
    if column.isna().all() and not is_bool:
        return np.full(len(column), np.nan)
    if is_bool or not pd.api.types.is_numeric_dtype(column.dtype):
        raise invalid(where, "float_type", "expected numbers or empty cells")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise invalid(where, "finite_number", "expected finite numbers or empty cells")
    return values


def write_file(file: File, answer: Answer) -> bytes:
    """The file with its holes filled by the median, and a column for each feature and level.

    Raises
    ------
    ServiceError
        422 if such a column is there already.
    """
    frame = file.frame.copy()
    first = len(frame.columns) - len(answer.table.columns)
    for k in range(len(answer.table.columns)):
        if np.isnan(answer.table.values[:, k]).any():
            frame.isetitem(first + k, answer.median[:, k])
    added = {
        f"{name}_q{level_suffix(level)}": answer.quantiles[i, :, k]
        for k, name in enumerate(answer.table.columns)
        for i, level in enumerate(answer.levels)
    }
    if set(added) & set(map(str, frame.columns)):
        raise invalid(("body", "file"), "columns", "a column <feature>_q<level> is there already")
    filled = pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis=1)
    return _WRITERS[file.kind](filled)


def _to_csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def _to_parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


_WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {"csv": _to_csv, "parquet": _to_parquet}
