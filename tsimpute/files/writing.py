"""Write a file, all of it or nothing."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tsimpute.errors import InputError
from tsimpute.files.kinds import PIPE, kind_of, need
from tsimpute.files.recording import Container, Recording

if TYPE_CHECKING:
    import xarray as xr


def check_target(path: str) -> None:
    """Check that a file can be written, before anything is computed.

    Parameters
    ----------
    path : str
        File, or ``-`` for standard output.

    Raises
    ------
    InputError
        If the ending is unknown, the folder is not there, or something else is.
    MissingExtraError
        If the library for such files is not installed.
    """
    kind = kind_of(path)
    need(kind)
    if path == PIPE:
        return
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise InputError(f"{path}: the folder {target.parent} does not exist; make it first")
    if target.is_dir() and not (kind == "zarr" and _is_store(target)):
        raise InputError(f"{path} is a folder of something else; choose another path")
    if target.is_file() and kind == "zarr":
        raise InputError(f"{path} is a file, but a Zarr store is a folder; choose another path")


def write(content: Container, recording: Recording, path: str) -> None:
    """Write a table or data set, in the place of what was there.

    Parameters
    ----------
    content : DataFrame or Dataset
        What `Recording.with_values` or `Recording.with_quantiles` gave.
    recording : Recording
        What it was made of.
    path : str
        File, or ``-`` for standard output as CSV.

    Raises
    ------
    InputError, MissingExtraError
        As in `check_target`.
    OSError
        If it cannot be written; nothing is left behind.
    """
    check_target(path)
    kind = kind_of(path)
    if path == PIPE:
        sys.stdout.buffer.write(_csv_bytes(as_table(content)))
        sys.stdout.buffer.flush()
        return
    with replacing(Path(path)) as new:
        _WRITERS[kind](content, recording, new)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A place for a new file or folder, which takes the target's place once it is complete."""
    folder = Path(tempfile.mkdtemp(dir=target.absolute().parent, prefix=f".{target.name}-"))
    try:
        yield folder / "new"
        _put(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_table(content: Container) -> pd.DataFrame:
    """A table; its index or dimensions become columns, series before time."""
    table = indexed(content)
    return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()


def indexed(content: Container) -> pd.DataFrame:
    """A table with an index of times, or of (series, time)."""
    if isinstance(content, pd.DataFrame):
        return content
    order = sorted(content.dims, key=lambda dim: dim in ("time", *_dated(content)))
    return content.to_dataframe(dim_order=order)


def as_dataset(content: Container, recording: Recording) -> xr.Dataset:
    """A data set with a variable for each column; times with an offset become UTC."""
    if not isinstance(content, pd.DataFrame):
        return content
    table = content.drop(columns=list(recording.labels))
    table.index = _in_utc(recording.data.index) if recording.labels else _in_utc(content.index)
    if table.index.names == [None]:
        table.index.name = "time"
    return table.to_xarray()


def _in_utc(index: pd.Index[Any]) -> pd.Index[Any]:
    if isinstance(index, pd.MultiIndex):
        levels: Any = [_in_utc(level) for level in index.levels]
        return index.set_levels(levels)
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    return index


def _dated(dataset: xr.Dataset) -> list[object]:
    return [dim for dim, index in dataset.indexes.items() if isinstance(index, pd.DatetimeIndex)]


def _csv_bytes(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _write_csv(content: Container, recording: Recording, path: Path) -> None:
    path.write_bytes(_csv_bytes(as_table(content)))


def _write_parquet(content: Container, recording: Recording, path: Path) -> None:
    table = content if isinstance(content, pd.DataFrame) else as_table(content)
    table.to_parquet(path)


def _write_netcdf(content: Container, recording: Recording, path: Path) -> None:
    as_dataset(content, recording).to_netcdf(path, engine="h5netcdf")


def _write_zarr(content: Container, recording: Recording, path: Path) -> None:
    # Version 2, because version 3 has no settled form of text yet.
    as_dataset(content, recording).to_zarr(path, zarr_format=2, consolidated=False)


_WRITERS = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "netcdf": _write_netcdf,
    "zarr": _write_zarr,
}


def _put(folder: Path, target: Path) -> None:
    """Move the new file or store to its place, and what was there away."""
    new = folder / "new"
    if new.is_file():
        with open(new, "rb") as file:
            os.fsync(file.fileno())
        os.replace(new, target)
        return
    if target.exists():
        os.rename(target, folder / "old")
    try:
        os.rename(new, target)
    except BaseException:
        if (folder / "old").exists():
            os.rename(folder / "old", target)
        raise


def _is_store(path: Path) -> bool:
    return any((path / name).exists() for name in (".zgroup", ".zmetadata", "zarr.json"))
