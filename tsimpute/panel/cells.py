"""Single cells: numbers in, NaN for a hole, and holes filled without touching the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError, InputTypeError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_NOT_NUMBERS = (str, bytes, bool, np.bool_, np.datetime64, np.timedelta64)


def objects_to_float(cells: Iterable[Any], where: str) -> FloatArray:
    """Python objects as float64; None, NaN, NA and NaT become NaN, anything else must be a number.

    Parameters
    ----------
    cells : iterable of object
        The cells of one column.
    where : str
        What to call the column in an error.

    Raises
    ------
    InputTypeError
        If a cell is neither missing nor a number.
    """
    return np.array([_number(cell, where) for cell in cells], dtype=np.float64)


def _number(cell: Any, where: str) -> float:
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return np.nan
    if isinstance(cell, _NOT_NUMBERS):
        raise not_numeric(where, type(cell).__name__, cell)
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputTypeError(
            f"{where} holds {cell!r}, expected numbers: {error}; convert or drop it"
        ) from error


def not_numeric(where: str, kind: object, sample: Any) -> InputTypeError:
    """The error for a column that cannot be imputed as numbers."""
    sample = sample.item() if isinstance(sample, np.generic) else sample
    return InputTypeError(
        f"{where}: got {kind} values such as {sample!r}, expected numbers; "
        f"drop the column or encode it as numbers (float, NaN where missing)"
    )


def fill_cells(original: NDArray[Any], filled: FloatArray, missing: BoolArray) -> NDArray[Any]:
    """A copy of `original` with its missing cells filled, in the dtype of `original`.

    Parameters
    ----------
    original : ndarray of any real dtype or object
        The user's cells; never modified, and copied bit for bit where not missing.
    filled : ndarray of float64, same shape
        Read only where `missing`.
    missing : ndarray of bool, same shape
        True where a cell is to be replaced.
    """
    result = np.array(original)
    if missing.any():
        result[missing] = clip_to_dtype(filled[missing], result.dtype)
    return result


def clip_to_dtype(values: FloatArray, dtype: np.dtype[Any]) -> FloatArray:
    """Values within what a float dtype can hold, so that a narrow column never gets infinities."""
    if dtype.kind != "f":
        return values
    limit = float(min(np.finfo(dtype).max, np.finfo(np.float64).max))
    return np.clip(values, -limit, limit)


def check_no_infinity(values: FloatArray, row_labels: Any, column_labels: Any, where: str) -> None:
    """Raise InputError at the first infinite cell of a (n_times, n_features) array."""
    infinite = np.isinf(values)
    if not infinite.any():
        return
    row, column = (int(place) for place in np.argwhere(infinite)[0])
    label = column if column_labels is None else column_labels[column]
    raise InputError(
        f"{where} contains infinity: row {str(row_labels[row])!r}, column {label!r} holds "
        f"{values[row, column]}, expected finite numbers or NaN; mark it as missing, for "
        f"example with X.replace([np.inf, -np.inf], np.nan) or X[np.isinf(X)] = np.nan"
    )
