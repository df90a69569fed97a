"""PhysioNet/CinC 2012, set-a: 4000 stays in intensive care, 35 variables, 48 hours."""

from __future__ import annotations

import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.datasets.files import absent, checked_bytes, data_directory, sha256
from tsimpute.errors import DatasetError

_UNIT_OF = {
    "DiasABP": "mmHg",
    "HR": "bpm",
    "Na": "mEq/L",
    "Lactate": "mmol/L",
    "NIDiasABP": "mmHg",
    "PaO2": "mmHg",
    "WBC": "cells/nL",
    "pH": "pH",
    "Albumin": "g/dL",
    "ALT": "IU/L",
    "Glucose": "mg/dL",
    "SaO2": "%",
    "Temp": "degC",
    "AST": "IU/L",
    "Bilirubin": "mg/dL",
    "HCO3": "mEq/L",
    "BUN": "mg/dL",
    "RespRate": "1/min",
    "Mg": "mmol/L",
    "HCT": "%",
    "SysABP": "mmHg",
    "FiO2": "1",
    "K": "mEq/L",
    "GCS": "score",
    "Cholesterol": "mg/dL",
    "NISysABP": "mmHg",
    "TroponinT": "ug/L",
    "MAP": "mmHg",
    "TroponinI": "ug/L",
    "PaCO2": "mmHg",
    "Platelets": "cells/nL",
    "Urine": "mL",
    "NIMAP": "mmHg",
    "Creatinine": "mg/dL",
    "ALP": "IU/L",
}
VARIABLES: tuple[str, ...] = tuple(_UNIT_OF)
UNITS: tuple[str, ...] = tuple(_UNIT_OF.values())
N_HOURS = 48
DESCRIPTORS = ("Age", "Gender", "Height", "ICUType", "Weight")

_FOLDER = "physionet2012"
_SOURCE = (
    "PhysioNet: physionet.org/content/challenge-2012, file set-a.tar.gz (Silva et al. 2012, "
    "Goldberger et al. 2000; Open Data Commons Attribution 1.0)"
)
_GRID_FILE = "physionet2012_set_a_hourly.npz"
_GRID_SHA256 = "0f54dd99c4f775ad9cef6e5f6f60a9dda32183636e55207482091ff2160d8e56"
# Of what the original files give when gridded, so that any archive of them is accepted.
_CONTENT_SHA256 = "b5cd350f29e706df55d50f04fb611de1b74f2ba6df4e4728d1b0f0d13f9b551b"
_DESCRIPTORS_SHA256 = "11754860820dbb99ad7fccbe92cf297a13b36227c9b021dbe65d499eb8c5a5c8"


@dataclass(frozen=True)
class Healthcare:
    """Hourly grid of intensive-care stays.

    Attributes
    ----------
    values : ndarray of float64, shape (n_stays, 48, 35)
        Last reading of each hour since admission, in the units of ``units``; NaN where there is
        none.  Values are those of float32.  Impossible readings of the source are kept.
    record_ids : ndarray of int64, shape (n_stays,)
        PhysioNet's RecordID, ascending.
    variables, units : tuple of str
        Names and nominal units of the 35 variables ("1" for a fraction).
    """

    values: NDArray[np.float64]
    record_ids: NDArray[np.int64]
    variables: tuple[str, ...] = VARIABLES
    units: tuple[str, ...] = UNITS

    @property
    def non_empty(self) -> Healthcare:
        """The stays with at least one reading: 3,997 of the 4,000, as in the CSDI protocol."""
        kept = ~np.isnan(self.values).all(axis=(1, 2))
        return replace(self, values=self.values[kept], record_ids=self.record_ids[kept])

    def to_frame(self) -> pd.DataFrame:
        """DataFrame, one row for each (series, time): record id and hour since admission."""
        n_stays, n_hours, n_variables = self.values.shape
        index = pd.MultiIndex.from_product(
            [self.record_ids, np.arange(n_hours)], names=["series", "time"]
        )
        flat = self.values.reshape(n_stays * n_hours, n_variables)
        return pd.DataFrame(flat, index=index, columns=list(self.variables))


def load_healthcare(directory: str | os.PathLike[str] | None = None) -> Healthcare:
    """Read the Healthcare benchmark: the hourly grid, or the original files, gridded here.

    Looked for in this order in the folder ``physionet2012``: the grid
    ``physionet2012_set_a_hourly.npz``, the archive ``set-a.tar.gz`` or ``set-a.tar``, the folder
    ``set-a``.  Gridding (Cao et al. 2018, BRITS): the last reading in each hour 0 to 47.

    Parameters
    ----------
    directory : path-like, optional
        Holds the folder ``physionet2012``; by default ``TSIMPUTE_DATA``, else ``./data``.

    Returns
    -------
    Healthcare

    Raises
    ------
    DatasetError
        If nothing is there or the contents are not the expected ones.
    """
    folder = data_directory(directory) / _FOLDER
    if (folder / _GRID_FILE).is_file():
        return _from_grid(checked_bytes(folder / _GRID_FILE, _GRID_SHA256, _SOURCE))
    for name in ("set-a.tar.gz", "set-a.tar"):
        if (folder / name).is_file():
            return _from_texts(_archive_texts(folder / name), folder / name)
    if (folder / "set-a").is_dir():
        return _from_texts(_folder_texts(folder / "set-a"), folder / "set-a")
    places = [folder / name for name in (_GRID_FILE, "set-a.tar.gz", "set-a.tar", "set-a")]
    raise absent(f"{_FOLDER}/{_GRID_FILE} or {_FOLDER}/set-a.tar.gz", places, _SOURCE)


def load_healthcare_descriptors(
    directory: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Read what is told of each stay at admission, from the original files.

    The hourly grid does not hold it: the archive ``set-a.tar.gz`` or ``set-a.tar``, or the folder
    ``set-a``, must be in the folder ``physionet2012``.

    Parameters
    ----------
    directory : path-like, optional
        As in `load_healthcare`.

    Returns
    -------
    DataFrame of float64, indexed by `record_id`, ascending
        ``Age`` (years), ``Gender`` (0 female, 1 male), ``Height`` (cm), ``ICUType`` (1 coronary,
        2 cardiac surgery, 3 medical, 4 surgical) and ``Weight`` (kg); NaN where unknown.

    Raises
    ------
    DatasetError
        If nothing is there or the contents are not the expected ones.
    """
    folder = data_directory(directory) / _FOLDER
    archives = [
        folder / name for name in ("set-a.tar.gz", "set-a.tar") if (folder / name).is_file()
    ]
    if not archives and not (folder / "set-a").is_dir():
        places = [folder / name for name in ("set-a.tar.gz", "set-a.tar", "set-a")]
        raise absent(f"{_FOLDER}/set-a.tar.gz", places, _SOURCE)
    path = archives[0] if archives else folder / "set-a"
    texts = _archive_texts(path) if archives else _folder_texts(path)
    table = described_stays(texts)
    got = sha256(table.reset_index().to_numpy("<f8").tobytes())
    if got != _DESCRIPTORS_SHA256:
        raise DatasetError(
            f"{path.absolute()}: got {len(table)} stays whose descriptors have SHA-256 {got}, "
            f"expected 4000 with {_DESCRIPTORS_SHA256}. Get it again from {_SOURCE}"
        )
    return table


def described_stays(texts: Iterator[tuple[int, str]]) -> pd.DataFrame:
    """Descriptors of stays from their texts; see `load_healthcare_descriptors`."""
    stays = {}
    for record_id, text in texts:
        told: dict[str, float] = {}
        for line in text.splitlines()[1:]:
            time, name, value = line.split(",")
            if time == "00:00" and name in DESCRIPTORS:
                told.setdefault(name, float(value))  # a reading of the weight may follow
        stays[record_id] = [told.get(name, -1.0) for name in DESCRIPTORS]
    table = pd.DataFrame.from_dict(stays, orient="index", columns=list(DESCRIPTORS)).sort_index()
    return table.mask(table < 0).rename_axis("record_id")


def grid_stays(texts: Iterator[tuple[int, str]]) -> Healthcare:
    """Grid the texts of stays, (RecordID, ``Time,Parameter,Value`` lines), by hour.

    Parameters
    ----------
    texts : iterator of (int, str)
        In any order.

    Returns
    -------
    Healthcare
        In ascending order of the RecordID.
    """
    stays = sorted(
        ((record_id, _grid(text)) for record_id, text in texts), key=lambda stay: stay[0]
    )
    values = np.array([grid for _, grid in stays], dtype=np.float32).astype(np.float64)
    record_ids = np.array([record_id for record_id, _ in stays], dtype=np.int64)
    return Healthcare(values.reshape(-1, N_HOURS, len(VARIABLES)), record_ids)


def _grid(text: str) -> NDArray[np.float64]:
    grid = np.full((N_HOURS, len(VARIABLES)), np.nan)
    columns = {name: column for column, name in enumerate(VARIABLES)}
    for line in text.splitlines()[1:]:
        time, parameter, value = line.split(",")
        hour = int(time.split(":")[0])
        if parameter in columns and hour < N_HOURS:
            grid[hour, columns[parameter]] = float(value)
    return grid


def _from_grid(raw: bytes) -> Healthcare:
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        values, record_ids = arrays["values"], arrays["record_id"]
    return Healthcare(values.astype(np.float64), record_ids.astype(np.int64))


def _archive_texts(path: Path) -> Iterator[tuple[int, str]]:
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if _record_id(member.name) else None
            if content is not None:
                yield _record_id(member.name), content.read().decode("utf-8")


def _folder_texts(folder: Path) -> Iterator[tuple[int, str]]:
    for path in sorted(folder.glob("*.txt")):
        if _record_id(path.name):
            yield _record_id(path.name), path.read_text(encoding="utf-8")


def _record_id(name: str) -> int:
    """The number in ``132539.txt``; 0 for another name."""
    match = re.fullmatch(r"(?:.*/)?(\d{6})\.txt", name)
    return int(match.group(1)) if match else 0


def content_sha256(stays: Healthcare) -> str:
    """Checksum of the record ids and the gridded readings, whatever file they came from."""
    readings = np.where(np.isnan(stays.values), np.nan, stays.values).astype("<f4")
    return sha256(stays.record_ids.astype("<i8").tobytes() + readings.tobytes())


def _from_texts(texts: Iterator[tuple[int, str]], path: Path) -> Healthcare:
    """Grid the original files and check what came out."""
    try:
        stays = grid_stays(texts)
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DatasetError(
            f"{path.absolute()}: got contents that cannot be read ({error}), expected the stays "
            f"of set-a. Get it again from {_SOURCE}"
        ) from error
    got = content_sha256(stays)
    if got != _CONTENT_SHA256:
        raise DatasetError(
            f"{path.absolute()}: got {len(stays.record_ids)} stays whose hourly readings have "
            f"SHA-256 {got}, expected 4000 with {_CONTENT_SHA256}; the set is incomplete or "
            f"another edition. Get it again from {_SOURCE}"
        )
    return stays
