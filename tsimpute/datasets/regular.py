"""Fully observed records, for holes of your own making: ETT and the Jena weather station."""

from __future__ import annotations

import io
import os

import numpy as np
import pandas as pd

from tsimpute.datasets.files import DataFile, data_directory, read_plain
from tsimpute.errors import InputError

_ETT_SOURCE = (
    "github.com/zhouhaoyi/ETDataset (Zhou et al. 2021, Informer, AAAI; CC BY-ND 4.0), "
    "folder ETT-small"
)
_ETT = {
    "ETTh1": DataFile(
        "ett/ETTh1.csv",
        "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
        _ETT_SOURCE,
        "f1141f82f9d46968f05afa77ba16abfc4f790fe07583f9de06bb685b29a5411f",
    ),
    "ETTm1": DataFile(
        "ett/ETTm1.csv",
        "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
        _ETT_SOURCE,
        "a3d8dc1454f3762c72f6a3b5c56cf852077724ec52f5316896f17c937474cde7",
    ),
}
_ETT_STEP = {"ETTh1": "h", "ETTm1": "15min"}
_WEATHER = DataFile(
    "weather/weather.csv",
    "34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63",
    "the forecasting collection of Wu et al. 2021 (Autoformer, NeurIPS), file weather.csv; "
    "measured by the Max Planck Institute for Biogeochemistry, Jena (no licence stated)",
    "e659cd0f7e9bde45adb03b9754dcdb56189e7a735fdb10c4e9542dfa6ab81355",
)
_WEATHER_MISSING = -9999.0
# The signs µ and ² were lost before publication; the order of the columns tells what they were.
_WEATHER_NAMES = {16: "SWDR (W/m2)", 17: "PAR (umol/m2/s)", 18: "max. PAR (umol/m2/s)"}


def load_ett(directory: str | os.PathLike[str] | None = None, name: str = "ETTh1") -> pd.DataFrame:
    """Read two years of an electricity transformer's load and oil temperature.

    Parameters
    ----------
    directory : path-like, optional
        Holds the folder ``ett``; by default ``TSIMPUTE_DATA``, else ``./data``.
    name : {"ETTh1", "ETTm1"}, default "ETTh1"
        Hourly (17420 rows) or every 15 minutes (69680 rows): the same transformer twice.

    Returns
    -------
    DataFrame of float64, 7 columns
        Loads ``HUFL``, ``HULL``, ``MUFL``, ``MULL``, ``LUFL``, ``LULL`` (the publisher states no
        unit) and the oil temperature ``OT`` in °C; no NaN.  Regular DatetimeIndex ``time`` from
        2016-07-01 00:00, local time.

    Raises
    ------
    InputError
        If there is no such name.
    DatasetError
        If the file is absent or its bytes are not the expected ones.
    """
    if name not in _ETT:
        raise InputError(f"name: got {name!r}, expected one of {sorted(_ETT)}")
    table = pd.read_csv(io.BytesIO(read_plain(_ETT[name], data_directory(directory))))
    return _by_time(table).asfreq(_ETT_STEP[name])


def load_weather(directory: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Read the year 2020 of the Jena weather station, every 10 minutes.

    The marker -9999 becomes NaN (81 cells).  The record holds the time 2020-05-12 06:00 twice,
    with equal readings: the first is kept.  It lacks the nine times between 2020-05-29 09:30 and
    11:10: they become rows of NaN, so that the index is regular.

    Parameters
    ----------
    directory : path-like, optional
        Holds the folder ``weather``; by default ``TSIMPUTE_DATA``, else ``./data``.

    Returns
    -------
    DataFrame of float64, (52704, 21)
        Units are in the column names, with m2 and umol for what the file garbles; ``OT`` is the
        carbon dioxide in ppm.  DatetimeIndex ``time``, 2020-01-01 00:10 to 2021-01-01 00:00.

    Raises
    ------
    DatasetError
        If the file is absent or its bytes are not the expected ones.
    """
    table = pd.read_csv(io.BytesIO(read_plain(_WEATHER, data_directory(directory))))
    readings = _by_time(table)
    readings.columns = pd.Index(
        [_WEATHER_NAMES.get(place, name) for place, name in enumerate(readings.columns)]
    )
    readings = readings[~readings.index.duplicated(keep="first")]
    return readings.mask(readings == _WEATHER_MISSING, np.nan).asfreq("10min")


def _by_time(table: pd.DataFrame) -> pd.DataFrame:
    index = pd.to_datetime(table["date"], format="%Y-%m-%d %H:%M:%S").rename("time")
    return table.drop(columns="date").set_index(index).astype("float64")
