"""Plain arrays: (time, feature) or (series, time, feature)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError, InputTypeError
from tsimpute.panel.cells import (
    BoolArray,
    FloatArray,
    fill_cells,
    not_numeric,
    objects_to_float,
)
from tsimpute.panel.core import Layout, Panel

_PLAIN = Layout(has_series_labels=False, has_time_labels=False)


@dataclass(frozen=True)
class ArraySource:
    """A numpy array of shape (time, feature) or (series, time, feature)."""

    original: NDArray[Any]
    layout: Layout = _PLAIN

    def rebuild(self, filled: Sequence[FloatArray], missing: Sequence[BoolArray]) -> NDArray[Any]:
        """A filled copy of the array, of the same dtype."""
        if self.original.ndim == 2:
            return fill_cells(self.original, filled[0], missing[0])
        return fill_cells(self.original, np.stack(list(filled)), np.stack(list(missing)))


def read_array(data: Any, name: str) -> Panel:
    """A panel from an array-like; lists come back as arrays."""
    values = array_to_float(data, name)
    original = np.asarray(data)
    if original.dtype == object and not isinstance(data, np.ndarray):
        original = values
    n_times, n_features = values.shape[-2:]
    stacked = values.reshape(-1, n_times, n_features)
    return Panel(
        values=tuple(stacked),
        feature_names=None,
        series_ids=tuple(range(len(stacked))) if values.ndim == 3 else None,
        times=(pd.RangeIndex(n_times),) * len(stacked),
        source=ArraySource(original),
        name=name,
    )


def array_to_float(data: Any, name: str) -> FloatArray:
    """A float64 copy of a 2-D or 3-D array-like, NaN where missing.

    The checks are scikit-learn's, so that messages are the familiar ones.
    """
    from sklearn.utils.validation import check_array

    if isinstance(data, np.ma.MaskedArray):
        raise InputTypeError(
            f"{name}: got a masked array, expected NaN in missing cells; pass "
            f"{name}.astype(float).filled(np.nan)"
        )
    try:
        checked = check_array(
            _numbers_only(data, name),
            dtype=np.float64,
            ensure_all_finite=False,
            allow_nd=True,
            copy=True,
            input_name=name,
        )
    except InputTypeError:
        raise
    except TypeError as error:
        raise InputTypeError(f"{name}: {error}") from error
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    check_shape(checked.shape, name)
    return np.asarray(checked, dtype=np.float64)


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raise InputError unless the shape is 2-D or 3-D and not empty."""
    if len(shape) not in (2, 3):
        raise InputError(
            f"{name}: got an array of {len(shape)} dimensions (shape={shape}), expected "
            f"(time, feature) or (series, time, feature)"
        )
    for size, what in zip(shape[-2:], ("sample", "feature"), strict=True):
        if size == 0:
            raise InputError(
                f"{name}: found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is "
                f"required"
            )
    if shape[0] == 0:
        raise InputError(f"{name}: found array with 0 series (shape={shape}), expected 1 or more")


def _numbers_only(data: Any, name: str) -> Any:
    if hasattr(data, "toarray"):
        return data  # sparse: check_array has the message
    array = np.asarray(data)
    if array.ndim == 0 or array.dtype.kind in "iufc" or array.size == 0:
        return data
    if array.dtype.kind != "O":
        raise not_numeric(name, f"{array.dtype} array", array.ravel()[0])
    columns = array.reshape(-1, array.shape[-1]).T
    cells = [objects_to_float(column, f"{name}: column {i}") for i, column in enumerate(columns)]
    return np.stack(cells, axis=-1).reshape(array.shape)
