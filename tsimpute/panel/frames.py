"""pandas DataFrames: one series, or many under a MultiIndex (series, time)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError, InputTypeError
from tsimpute.panel.arrays import check_shape
from tsimpute.panel.cells import (
    BoolArray,
    FloatArray,
    clip_to_dtype,
    fill_cells,
    not_numeric,
    objects_to_float,
)
from tsimpute.panel.columns import check_unique_names
from tsimpute.panel.core import Layout, Panel

Rows = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class FrameSource:
    """A DataFrame and the row numbers of each of its series."""

    frame: pd.DataFrame
    rows: Rows
    layout: Layout = field(default_factory=Layout)

    def rebuild(self, filled: Sequence[FloatArray], missing: Sequence[BoolArray]) -> pd.DataFrame:
        """A filled copy of the frame."""
        filled_cells = np.empty(self.frame.shape, dtype=np.float64)
        missing_cells = np.zeros(self.frame.shape, dtype=np.bool_)
        for rows, series, holes in zip(self.rows, filled, missing, strict=True):
            filled_cells[rows], missing_cells[rows] = series, holes
        result = self.frame.copy()
        if _is_one_block(self.frame):  # the same, many times faster
            result.iloc[:, :] = fill_cells(self.frame.to_numpy(), filled_cells, missing_cells)
            return result
        for i in np.flatnonzero(missing_cells.any(axis=0)).tolist():
            column = self.frame.iloc[:, i]
            result.isetitem(i, _filled_column(column, filled_cells[:, i], missing_cells[:, i]))
        return result


def read_frame(frame: pd.DataFrame, name: str) -> Panel:
    """A panel from a DataFrame."""
    if frame.columns.nlevels > 1:
        raise InputError(
            f"{name} has MultiIndex columns of {frame.columns.nlevels} levels, expected one "
            f"level; join them, for example df.columns = df.columns.map('_'.join)"
        )
    check_shape(frame.shape, name)
    check_unique_names(list(frame.columns), name)
    values = _to_float(frame, name)
    ids, rows, times = _split_rows(frame.index, name)
    return Panel(
        values=tuple(values[series] for series in rows),
        feature_names=tuple(frame.columns),
        series_ids=ids,
        times=times,
        source=FrameSource(frame, rows),
        name=name,
    )


def _split_rows(
    index: pd.Index[Any], name: str
) -> tuple[tuple[Hashable, ...] | None, Rows, tuple[pd.Index[Any], ...]]:
    """Series ids in order of appearance, the row numbers of each, and its times."""
    if not isinstance(index, pd.MultiIndex):
        return None, (np.arange(len(index)),), (index,)
    if index.nlevels != 2:
        raise InputError(
            f"{name}: got an index of {index.nlevels} levels {list(index.names)}, expected two "
            f"(series, time); join the levels that name a series into one"
        )
    codes, ids = pd.factorize(index.get_level_values(0))
    if (codes < 0).any():
        raise InputError(
            f"{name}: row {int(np.argmin(codes))} has no series id (NaN in the first index "
            f"level); give it one or drop the row"
        )
    by_series = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))[:-1]
    rows = tuple(np.split(by_series, ends))
    times = index.get_level_values(1)
    return tuple(ids), rows, tuple(times.take(series) for series in rows)


def _is_one_block(frame: pd.DataFrame) -> bool:
    """Whether all columns are numpy floats of one width."""
    kinds = set(frame.dtypes)
    return len(kinds) == 1 and all(isinstance(k, np.dtype) and k.kind == "f" for k in kinds)


def _to_float(frame: pd.DataFrame, name: str) -> FloatArray:
    if _is_one_block(frame):
        return frame.to_numpy(dtype=np.float64, copy=True)
    columns = [_column_to_float(frame.iloc[:, i], name) for i in range(frame.shape[1])]
    return np.column_stack(columns)


def _column_to_float(column: pd.Series[Any], name: str) -> FloatArray:
    dtype, where = column.dtype, f"{name}: column {column.name!r}"
    if isinstance(dtype, pd.SparseDtype):
        raise InputTypeError(
            f"{where} is sparse ({dtype}), expected a dense column; use df.sparse.to_dense()"
        )
    if pd.api.types.is_complex_dtype(dtype):
        raise InputError(f"Complex data not supported: {where} has dtype {dtype}; use .real")
    if pd.api.types.is_object_dtype(dtype):
        return objects_to_float(column.array, where)
    if pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        raise InputTypeError(
            f"{where}: got times ({dtype}), expected numbers; if they are those of the rows, make "
            f"them the index with df.set_index({column.name!r}), else drop the column"
        )
    if pd.api.types.is_bool_dtype(dtype) or not pd.api.types.is_numeric_dtype(dtype):
        raise not_numeric(where, dtype, column.iloc[0])
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def _filled_column(column: pd.Series[Any], filled: FloatArray, missing: BoolArray) -> Any:
    dtype: Any = column.dtype
    if isinstance(dtype, np.dtype):
        return fill_cells(column.to_numpy(), filled, missing)
    if pd.api.types.is_integer_dtype(dtype) and not _fit(filled[missing], dtype.numpy_dtype):
        arrow = type(dtype).__name__ == "ArrowDtype"
        column = column.astype("double[pyarrow]" if arrow else "Float64")
    array: Any = column.array.copy()
    array[missing] = clip_to_dtype(filled[missing], np.dtype(array.dtype.numpy_dtype))
    return array


def _fit(values: FloatArray, dtype: np.dtype[Any]) -> bool:
    """Whether an integer dtype can hold values: whole ones within its range."""
    limits = np.iinfo(dtype)
    within = (limits.min <= values) & (values <= limits.max)
    return bool((within & (values == np.round(values))).all())
