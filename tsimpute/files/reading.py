"""Read a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsimpute.errors import InputError
from tsimpute.files.kinds import PIPE, TITLES, kind_of, need
from tsimpute.files.recording import Recording
from tsimpute.files.tables import Columns, from_table, read_csv

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

FEATURE_DIMS = ("feature", "features", "variable")


def read(
    path: str,
    *,
    time_column: str | None = None,
    series_column: str | None = None,
    features: Sequence[str] | None = None,
) -> Recording:
    """Read series from a CSV, Parquet, NetCDF or Zarr file, or CSV from standard input.

    Parameters
    ----------
    path : str
        File, or ``-``.
    time_column : str, optional
        Column of a table that holds the time: ISO 8601 or numbers. Default: the one called
        time, timestamp, date or datetime, or without a name; if there is none, rows are counted.
    series_column : str, optional
        Column that names the series. Default: the one called series, if there is one.
    features : sequence of str, optional
        Columns or variables that are read; the others are left alone. Default: all.

    Returns
    -------
    Recording

    Raises
    ------
    InputError
        If there is no such file or column, or the file cannot be used.
    MissingExtraError
        If the library for such files is not installed.
    """
    kind = kind_of(path)
    if path != PIPE and not Path(path).exists():
        raise InputError(f"{path}: got no such file, expected a file of series")
    need(kind)
    try:
        content = _READERS[kind](path)
    except Exception as error:  # readers raise whatever they like about bytes from anywhere
        first = str(error).strip().split("\n")[0]
        raise InputError(f"{path} cannot be read as {TITLES[kind]}: {first}") from error
    name = "standard input" if path == PIPE else path
    if kind in ("csv", "parquet"):
        return from_table(content, name, Columns(time_column, series_column, features))
    for option, column in (("time", time_column), ("series", series_column)):
        if column is not None:
            raise InputError(
                f"{option}_column={column!r}: {name} is no table; its dimensions are used"
            )
    return _from_dataset(content, name, features)


def _csv(path: str) -> pd.DataFrame:
    return read_csv(sys.stdin.buffer.read() if path == PIPE else Path(path).read_bytes())


def _parquet(path: str) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = pd.read_parquet(io.BytesIO(Path(path).read_bytes()))
    return frame


def _netcdf(path: str) -> xr.Dataset:
    import xarray as xr

    return xr.load_dataset(path)


def _zarr(path: str) -> xr.Dataset:
    import xarray as xr

    with xr.open_zarr(path, consolidated=False) as dataset:
        loaded: xr.Dataset = dataset.load()
    return loaded


_READERS: dict[str, Any] = {"csv": _csv, "parquet": _parquet, "netcdf": _netcdf, "zarr": _zarr}


def _from_dataset(dataset: xr.Dataset, name: str, features: Sequence[str] | None) -> Recording:
    """A recording of a data set; a single variable with features is taken apart."""
    whole = dataset.drop_encoding()  # packed integers would round what is filled in
    variables = list(whole.data_vars)
    wide = [dim for dim in FEATURE_DIMS if len(variables) == 1 and dim in whole[variables[0]].dims]
    if wide:
        whole = whole[variables[0]].to_dataset(dim=wide[0])
    names = list(whole.data_vars) if features is None else list(features)
    absent = [label for label in names if label not in whole.data_vars]
    if absent:
        raise InputError(
            f"{name}: got variables {list(whole.data_vars)}, expected also {absent[0]!r}"
        )
    return Recording(name, whole, whole[names])
