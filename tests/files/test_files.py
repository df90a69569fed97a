"""Series in files: what is read is what is written, and only holes differ."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tsimpute.errors import InputError, MissingExtraError
from tsimpute.files import KINDS, Recording, check_target, kind_of, read, write
from tsimpute.files.kinds import LIBRARIES

netcdf = pytest.mark.skipif(find_spec("h5py") is None, reason="needs h5py")
HOURS = pd.date_range("2026-01-01", periods=6, freq="h", name="time")


def table() -> pd.DataFrame:
    columns = {"a": [0.1, np.nan, 1 / 3, 4, 5, 6], "b": [1e-300, 2, np.nan, np.nan, 1e300, -0.0]}
    return pd.DataFrame(columns, index=HOURS)


def panel() -> pd.DataFrame:
    return pd.concat({"p": table(), "q": table().iloc[1:4] + 1}, names=["series", "time"])


def as_read(recording: Recording, columns: Sequence[str] = ("a", "b")) -> pd.DataFrame:
    """What was read, as a table; Zarr keeps no order of variables."""
    data = recording.data
    frame = data if isinstance(data, pd.DataFrame) else data.to_dataframe()
    assert set(frame) == set(columns)
    return frame[list(columns)]


def save(frame: pd.DataFrame, path: Path) -> str:
    kind = kind_of(str(path))
    if kind == "csv":
        frame.to_csv(path)
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "netcdf":
        frame.to_xarray().to_netcdf(path, engine="h5netcdf")
    else:
        frame.to_xarray().to_zarr(path, zarr_format=2, consolidated=False)
    return str(path)


@pytest.fixture
def text(tmp_path: Path):
    def written(content: str, name: str = "data.csv") -> str:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return str(tmp_path / name)

    return written


def endings(names: Iterable[str]) -> list[Any]:
    """Parameters of a test, skipped where the library for a kind is not installed."""
    libraries = {ending: LIBRARIES[KINDS[ending]] for ending in names}
    absent = {e: [x for x in libraries[e] if find_spec(x) is None] for e in names}
    marks = {e: pytest.mark.skipif(bool(absent[e]), reason=f"needs {absent[e]}") for e in names}
    return [pytest.param(e, marks=marks[e]) for e in names]


ALL = endings(sorted(KINDS))
KIND = endings([".csv", ".parquet", ".nc", ".zarr"])


# ------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize("ending", ALL)
def test_a_series_is_read_bit_for_bit(tmp_path: Path, ending: str) -> None:
    found = as_read(read(save(table(), tmp_path / f"data{ending}")))
    pd.testing.assert_frame_equal(found, table(), check_freq=False, check_index_type=False)
    assert found.to_numpy().tobytes() == table().to_numpy().tobytes()


@pytest.mark.parametrize("ending", ALL)
def test_many_series_are_read(tmp_path: Path, ending: str) -> None:
    found = as_read(read(save(panel(), tmp_path / f"data{ending}")))
    found = found.reindex(panel().index)  # NetCDF and Zarr hold a row for each series and time
    np.testing.assert_array_equal(found.to_numpy(), panel().to_numpy())


@pytest.mark.parametrize("after", KIND)
@pytest.mark.parametrize("before", KIND)
@pytest.mark.parametrize("frame", [table(), panel()], ids=["one series", "many series"])
def test_every_kind_becomes_every_other(
    tmp_path: Path, before: str, after: str, frame: pd.DataFrame
) -> None:
    recording = read(save(frame, tmp_path / f"in{before}"))
    target = str(tmp_path / f"out{after}")
    write(recording.with_values(recording.data.fillna(0.25)), recording, target)
    found = as_read(read(target)).reindex(frame.index)
    np.testing.assert_array_equal(found.to_numpy(), frame.fillna(0.25).to_numpy())


def test_a_table_keeps_its_columns_and_the_text_of_its_labels(text, tmp_path: Path) -> None:
    path = text(
        "b,when,note,series,a\n"
        "1,2026-03-29T01:00+01:00,x,007,\n"
        "2,2026-03-29T03:00+02:00,,007,5\n"
        "3,2026-03-29T04:00+02:00,y,007,6\n"
    )
    recording = read(path, time_column="when", features=["a", "b"])
    assert recording.data.index.get_level_values(0).unique().tolist() == ["007"]
    assert pd.Series(recording.data.index.get_level_values(1)).diff().nunique() == 1
    out = tmp_path / "out.csv"
    write(recording.with_values(recording.data.fillna(9)), recording, str(out))
    assert out.read_text(encoding="utf-8") == (
        "b,when,note,series,a\n"
        "1,2026-03-29T01:00+01:00,x,007,9.0\n"
        "2,2026-03-29T03:00+02:00,,007,5.0\n"
        "3,2026-03-29T04:00+02:00,y,007,6.0\n"
    )


@netcdf
def test_times_with_an_offset_are_utc_in_netcdf(text, tmp_path: Path) -> None:
    path = text("time,a\n2026-01-01T00:00+01:00,1\n2026-01-01T01:00+01:00,2\n")
    recording = read(path)
    write(recording.with_values(recording.data), recording, str(tmp_path / "out.nc"))
    times = xr.load_dataset(tmp_path / "out.nc")["time"].to_numpy()
    assert times[0] == np.datetime64("2025-12-31T23:00")


def test_a_frame_that_pandas_wrote_with_a_nameless_index_is_dated(tmp_path: Path) -> None:
    frame = table().rename_axis(index=None)
    recording = read(save(frame, tmp_path / "data.csv"))
    assert isinstance(recording.data.index, pd.DatetimeIndex)
    out = tmp_path / "out.csv"
    write(recording.with_values(recording.data), recording, str(out))
    assert out.read_text(encoding="utf-8") == (tmp_path / "data.csv").read_text(encoding="utf-8")


def test_without_a_time_rows_are_counted_in_each_series(text) -> None:
    recording = read(text("series,a\np,1\nq,2\np,3\n"))
    assert recording.data.index.tolist() == [("p", 0), ("q", 0), ("p", 1)]


def test_in_a_single_column_an_empty_line_is_a_missing_value(text) -> None:
    assert read(text("a\n1\n\n3\n")).data["a"].isna().tolist() == [False, True, False]


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow")
def test_dates_of_parquet_are_times(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": HOURS.shift(24).date, "a": range(6)})
    frame["date"] = pd.date_range("2026-01-01", periods=6).date
    frame.to_parquet(tmp_path / "data.parquet")
    recording = read(str(tmp_path / "data.parquet"))
    assert isinstance(recording.data.index, pd.DatetimeIndex) and recording.features == ["a"]


@netcdf
def test_an_array_in_netcdf_is_taken_apart_by_feature(tmp_path: Path) -> None:
    array = xr.DataArray(
        table().to_numpy(), dims=("time", "feature"), coords={"time": HOURS, "feature": ["a", "b"]}
    )
    array.to_dataset(name="x").to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    recording = read(str(tmp_path / "data.nc"))
    assert recording.features == ["a", "b"]
    np.testing.assert_array_equal(recording.data["b"].to_numpy(), table()["b"].to_numpy())


@netcdf
def test_packed_numbers_do_not_round_what_is_filled_in(tmp_path: Path) -> None:
    data = xr.Dataset({"a": ("time", [1.0, np.nan, 3.0])})
    packing = {"a": {"dtype": "int16", "scale_factor": 1.0, "_FillValue": -1}}
    data.to_netcdf(tmp_path / "data.nc", engine="h5netcdf", encoding=packing)
    recording = read(str(tmp_path / "data.nc"))
    write(recording.data.fillna(2.25), recording, str(tmp_path / "out.nc"))
    assert xr.load_dataset(tmp_path / "out.nc")["a"].to_numpy().tolist() == [1, 2.25, 3]


# ---------------------------------------------------------------------------------------- bands


def bands(data: pd.DataFrame, levels: list[float]) -> xr.DataArray:
    from tsimpute.panel.containers import read_panel

    laid = read_panel(data)
    cells = [np.where(np.isnan(v), 0.0, v) for v in laid.values]
    holes = [np.isnan(v) for v in laid.values]
    spread = [np.stack([c + h * q for q in levels]) for c, h in zip(cells, holes, strict=True)]
    return laid.label(spread, "quantile", levels)


@pytest.mark.parametrize("ending", KIND)
@pytest.mark.parametrize("frame", [table(), panel()], ids=["one series", "many series"])
def test_each_level_is_a_column_beside_the_filled_ones(
    tmp_path: Path, ending: str, frame: pd.DataFrame
) -> None:
    recording = read(save(frame, tmp_path / f"in{ending}"))
    found = recording.with_quantiles(bands(recording.data, [0.05, 0.5, 0.975]), [0.05, 0.975])
    target = str(tmp_path / f"out{ending}")
    write(found, recording, target)
    columns = ["a", "b", "a_q05", "a_q97_5", "b_q05", "b_q97_5"]
    assert list(found)[-6:] == columns or ending == ".zarr"
    again = as_read(read(target), columns).reindex(frame.index)
    for column, value in (("a", 0.5), ("a_q05", 0.05), ("a_q97_5", 0.975)):
        np.testing.assert_array_equal(again[column].to_numpy(), frame["a"].fillna(value).to_numpy())


def test_a_column_of_a_band_that_is_there_already_is_refused(text) -> None:
    recording = read(text("a,a_q05\n1,2\n,3\n"), features=["a"])
    with pytest.raises(InputError, match="'a_q05' is there already"):
        recording.with_quantiles(bands(recording.data, [0.05, 0.5]), [0.05])


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "cannot be read as CSV"),
        ("a,b\n", {}, "got no rows"),
        ("a,b\n1,2\n1,2,3\n", {}, "cannot be read as CSV.*line"),
        ("a,a\n1,2\n", {}, "'a' is there more than once"),
        ("time\n1\n2\n", {}, "expected one or more features"),
        ("a,b\n1,2\n3,x\n", {}, "column 'b' holds 'x' in row 1"),
        ("a\n1\n", {"time_column": "when"}, "time_column='when'.*name one of them"),
        ("a\n1\n", {"series_column": "id"}, "series_column='id'"),
        ("time,date,a\n1,1,1\n", {}, r"\['time', 'date'\] could all be the time"),
        ("time,a\n31/12/2025,1\n01/01/2026,2\n", {}, "row 0 holds '31/12/2025'.*ISO 8601"),
        ("time,a\n2026-01-01,1\n,2\n", {}, "row 1 is empty, expected a time"),
        ("a\n1\n", {"features": ["a", "z"]}, "expected also 'z'"),
    ],
)
def test_an_error_says_what_is_wrong_with_a_table(text, content, options, message) -> None:
    path = text(content)
    with pytest.raises(InputError, match=message) as caught:
        read(path, **options)
    assert "data.csv" in str(caught.value)


@pytest.mark.parametrize("ending", endings([".parquet", ".nc"]))
def test_bytes_of_something_else_are_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"data{ending}").write_bytes(b"something else" * 9)
    with pytest.raises(InputError, match="cannot be read as"):
        read(str(tmp_path / f"data{ending}"))


@netcdf
def test_a_data_set_has_no_columns(tmp_path: Path) -> None:
    path = save(table(), tmp_path / "data.nc")
    with pytest.raises(InputError, match="its dimensions are used"):
        read(path, time_column="time")
    with pytest.raises(InputError, match="expected also 'z'"):
        read(path, features=["z"])


def test_an_unknown_ending_or_place_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown ending, expected one of \.csv"):
        kind_of("data.xlsx")
    with pytest.raises(InputError, match="no such file"):
        read(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="does not exist; make it first"):
        check_target(str(tmp_path / "none" / "out.csv"))
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(InputError, match="a folder of something else"):
        check_target(str(tmp_path / "out.csv"))
    (tmp_path / "kept.zarr").mkdir()
    with pytest.raises(InputError, match="a folder of something else"):
        check_target(str(tmp_path / "kept.zarr"))
    (tmp_path / "file.zarr").touch()
    with pytest.raises(InputError, match="a Zarr store is a folder"):
        check_target(str(tmp_path / "file.zarr"))


@pytest.mark.parametrize(
    ("ending", "library"),
    [(".parquet", "pyarrow"), (".nc", "h5netcdf"), (".nc", "h5py"), (".zarr", "zarr")],
)
def test_a_library_that_is_not_there_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, library: str
) -> None:
    path = str(tmp_path / f"data{ending}")
    Path(path).touch()
    monkeypatch.setitem(sys.modules, library, None)
    for action in (read, check_target):
        with pytest.raises(MissingExtraError, match=rf"{library}.*tsimpute\[files\]"):
            action(path)


# -------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("ending", KIND)
def test_what_was_there_stays_until_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = save(table(), tmp_path / f"data{ending}")
    recording = read(path)
    write(recording.with_values(recording.data.fillna(1)), recording, path)
    assert as_read(read(path)).notna().all(axis=None)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace" if ending != ".zarr" else "rename", full)
    with pytest.raises(OSError, match="No space left"):
        write(recording.with_values(recording.data.fillna(2)), recording, path)
    monkeypatch.undo()
    assert as_read(read(path))["a"].iloc[1] == 1
    assert [file.name for file in tmp_path.iterdir()] == [f"data{ending}"]


def test_pipes_are_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    incoming = io.BytesIO(table().to_csv().encode())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=incoming))
    recording = read("-")
    outgoing = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=outgoing))
    write(recording.with_values(recording.data), recording, "-")
    assert outgoing.getvalue() == table().to_csv(lineterminator="\n").encode()
