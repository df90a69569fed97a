"""The one border: whatever the user holds becomes a Panel here."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd

from tsimpute.errors import InputError, InputTypeError
from tsimpute.panel.arrays import read_array
from tsimpute.panel.cells import check_no_infinity
from tsimpute.panel.clock import check_times
from tsimpute.panel.core import Panel
from tsimpute.panel.frames import read_frame

_ACCEPTED = "a pandas DataFrame, a numpy array, an xarray DataArray or an xarray Dataset"


def read_panel(data: Any, *, name: str = "X", regular: bool = True) -> Panel:
    """Read the user's container into a panel of float64 series.

    Parameters
    ----------
    data : DataFrame, array-like, DataArray or Dataset
        * DataFrame with a datetime, period, timedelta or numeric index: one series.
        * DataFrame with a MultiIndex (series, time): many series of any length.
        * array-like of shape (time, feature) or (series, time, feature).
        * DataArray with dims (time, feature) or (series, time, feature), found by name
          ("series"; "time" or the one dimension with datetime labels; "feature", "features" or
          "variable"), what is left by position.
        * Dataset with one variable per feature, of dims (time,) or (series, time).

        NaN (also None and NA) is missing. Numbers only; time regular, sorted and unique.
    name : str, default="X"
        What errors call the data.
    regular : bool, default=True
        Whether time must have one regular step.

    Returns
    -------
    Panel
        With copies of the values; `data` is kept, unmodified, to rebuild a filled one.

    Raises
    ------
    InputError
        If shape, labels, time steps or values cannot be used (also infinities).
    InputTypeError
        If the container is unknown, sparse, or holds something else than real numbers.
    """
    panel = _read(data, name)
    check_times(panel.times, panel.series_ids, name, regular)
    for i, values in enumerate(panel.values):
        where = name if panel.series_ids is None else f"{name}, series {panel.series_ids[i]!r}"
        check_no_infinity(values, panel.times[i], panel.feature_names, where)
    return panel


def _read(data: Any, name: str) -> Panel:
    if isinstance(data, pd.DataFrame):
        return read_frame(data, name)
    if isinstance(data, pd.Series):
        raise InputError(
            f"{name}: got a pandas Series, which is 1-D; expected {_ACCEPTED}; "
            f"use series.to_frame()"
        )
    xarray = sys.modules.get("xarray")  # an xarray object cannot exist before its import
    if xarray is not None and isinstance(data, xarray.DataArray | xarray.Dataset):
        from tsimpute.panel.labelled import read_dataarray, read_dataset

        return (
            read_dataset(data, name) if hasattr(data, "data_vars") else read_dataarray(data, name)
        )
    if _is_array_like(data):
        return read_array(data, name)
    raise InputTypeError(f"{name}: got {type(data).__name__}, expected {_ACCEPTED}")


def _is_array_like(data: Any) -> bool:
    if hasattr(data, "__dataframe__") or isinstance(data, pd.Index):
        return False  # another library's frame: its type could not be given back
    return isinstance(data, list | tuple) or hasattr(data, "__array__") or hasattr(data, "toarray")
