"""AQI-36: a year of hourly PM2.5 at 36 stations in Beijing."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tsimpute.datasets.files import DataFile, data_directory, read_plain

_SOURCE = (
    "Microsoft Research, Urban Computing: STMVL-Release.zip (Yi et al. 2016, ST-MVL, IJCAI; no "
    "licence stated, published for research use), folder Code/STMVL/SampleData"
)
_GROUND = DataFile(
    "aqi36/pm25_ground.txt",
    "8f77b738ae4c50621705a308e606e6229564ad7ad20358986bd6031355f0ab5f",
    _SOURCE,
    "584a8df916a06f9adc36d69af9c5ecb9dec5a449ee57e8997f0feaded9eb2646",
)
_MISSING = DataFile(
    "aqi36/pm25_missing.txt",
    "3f991eab5bbc5e644e61360e6b71ce45179c86cf650b3bb9a53771d8f9953fe3",
    _SOURCE,
    "f9a75a6292b3943d733b7acb14ee46231cde4beaa907c9bc83bc27a5de69ce08",
)
_STATIONS = DataFile(
    "aqi36/pm25_latlng.txt",
    "a7423dafe4ecdec5ba04b4b6b047a53df1b9c04aed0a2957f1c698761715d7c1",
    _SOURCE,
)


@dataclass(frozen=True)
class AirQuality:
    """The AQI-36 tables.

    Attributes
    ----------
    ground : DataFrame of float64, (8759 hours, 36 stations)
        PM2.5 in µg/m³; NaN where nothing was measured.  Hourly DatetimeIndex ``time`` (local, no
        zone), 2014-05-01 01:00 to 2015-04-30 23:00; columns are sensor ids as text.
    missing : DataFrame of float64, (8759 hours, 36 stations)
        The same with the evaluation holes blanked as well: what a model may see.
    stations : DataFrame of float64
        Degrees ``latitude`` and ``longitude`` by sensor id, in the order of the columns.
    """

    ground: pd.DataFrame
    missing: pd.DataFrame
    stations: pd.DataFrame

    @property
    def target_mask(self) -> pd.DataFrame:
        """DataFrame of bool: True where ``ground`` has a reading that ``missing`` hides."""
        return self.ground.notna() & self.missing.isna()


def load_air_quality(directory: str | os.PathLike[str] | None = None) -> AirQuality:
    """Read the AQI-36 air-quality data.

    Parameters
    ----------
    directory : path-like, optional
        Holds the folder ``aqi36``; by default ``TSIMPUTE_DATA``, else ``./data``.

    Returns
    -------
    AirQuality

    Raises
    ------
    DatasetError
        If a file is absent or its bytes are not the expected ones.
    """
    place = data_directory(directory)
    stations = pd.read_csv(io.BytesIO(read_plain(_STATIONS, place)), dtype={"sensor_id": str})
    return AirQuality(
        ground=_readings(_GROUND, place),
        missing=_readings(_MISSING, place),
        stations=stations.set_index("sensor_id").astype("float64"),
    )


def _readings(file: DataFile, place: Path) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(read_plain(file, place)), index_col="datetime")
    table.index = pd.to_datetime(table.index, format="%Y/%m/%d %H:%M:%S")
    return table.astype("float64").rename_axis(index="time").asfreq("h")
