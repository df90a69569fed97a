"""Every refusal at the border says what was got, where, and what to do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.sparse import csr_array

from tsimpute.errors import InputError, InputTypeError
from tsimpute.panel import check_fit_panel, read_panel

NAN = np.nan
HOURS = pd.date_range("2024-01-01", periods=5, freq="h")


def frame(index: Any = None, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns or {"a": np.arange(5.0)}, index=index)


def panel_frame(starts: dict[str, pd.DatetimeIndex]) -> pd.DataFrame:
    pairs = [(name, stamp) for name, index in starts.items() for stamp in index]
    return pd.DataFrame({"a": 1.0}, index=pd.MultiIndex.from_tuples(pairs))


WRONG_KINDS = {
    "dict": ({"a": [1]}, "got dict, expected a pandas DataFrame, a numpy array"),
    "none": (None, "got NoneType, expected a pandas DataFrame"),
    "text": (frame(a=["x", "y"]), "column 'a': got str values such as 'x', expected numbers"),
    "category": (frame(a=pd.Categorical([1, 2])), "column 'a': got category values such as 1"),
    "bool": (frame(a=[True, False]), "column 'a': got bool values such as True"),
    "boolean": (frame(a=pd.array([True, None], dtype="boolean")), "got boolean values"),
    "datetime column": (
        frame(a=HOURS),
        r"column 'a': got times \(datetime64.*df.set_index\('a'\)",
    ),
    "object text": (frame(a=pd.Series([1, "z"], dtype=object)), "column 'a': got str values .*'z'"),
    "periods": (
        frame(a=pd.period_range("2026-01", periods=2, freq="M")),
        r"column 'a': got times \(period\[M\]\).*df.set_index\('a'\)",
    ),
    "object bool": (frame(a=pd.Series([1, True], dtype=object)), "column 'a': got bool values"),
    "object dict": (frame(a=pd.Series([1, {}], dtype=object)), "column 'a' holds {}"),
    "sparse column": (
        frame(a=pd.arrays.SparseArray([1.0, NAN])),
        "column 'a' is sparse .* use df.sparse.to_dense",
    ),
    "sparse array": (csr_array(np.eye(3)), "Sparse data was passed for X, but dense"),
    "masked array": (np.ma.masked_invalid(np.eye(3)), "got a masked array.*filled"),
    "text array": (np.array([["x"]]), "got <U1 array values such as 'x'"),
    "bool array": (np.eye(2, dtype=bool), "got bool array values such as True"),
    "date array": (np.array([["2024"]], dtype="M8[D]"), "got datetime64"),
    "object array": (
        np.array([[1.0, {"foo": "bar"}]], dtype=object),
        "column 1 holds .* argument must be .* string.* number",
    ),
    "dataset text": (xr.Dataset({"a": ("time", ["x", "y"])}), "variable 'a': got <U1 array"),
}


@pytest.mark.parametrize("case", WRONG_KINDS)
def test_wrong_kinds_are_type_errors(case: str) -> None:
    data, message = WRONG_KINDS[case]
    with pytest.raises(InputTypeError, match=message):
        read_panel(data)


GAP = HOURS.delete(2)
MONTHS = pd.date_range("2024-01-01", periods=6, freq="MS")
WRONG_VALUES = {
    "no rows": (frame(a=[]), r"0 sample\(s\) \(shape=\(0, 1\)\) while a minimum of 1 is required"),
    "no columns": (
        pd.DataFrame(index=range(3)),
        r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required",
    ),
    "array no rows": (np.empty((0, 3)), r"0 sample\(s\)"),
    "array no columns": (
        np.empty((12, 0)),
        r"0 feature\(s\) \(shape=\(\d*, 0\)\) while a minimum of \d* is required.",
    ),
    "array no series": (np.empty((0, 3, 2)), r"0 "),
    "array 3-D no rows": (np.empty((2, 0, 2)), r"0 sample\(s\) \(shape=\(2, 0, 2\)\)"),
    "1-D": (np.arange(3.0), "Expected 2D array, got 1D array instead(?s:.)*Reshape your data"),
    "0-D": (np.float64(3), "Expected 2D array, got scalar array instead"),
    "4-D": (np.zeros((1, 1, 1, 1)), "got an array of 4 dimensions.*expected \\(time, feature\\)"),
    "series": (pd.Series([1.0]), "pandas Series, which is 1-D.*to_frame"),
    "1-D dataarray": (xr.DataArray([1.0], dims="time"), r"1-D.*expand_dims\('feature', -1\)"),
    "no feature dim": (
        xr.DataArray(np.eye(2), dims=("series", "time")),
        "dims .* without features.*expand_dims",
    ),
    "mixed dataset": (
        xr.Dataset({"a": ("time", [1.0]), "b": (("series", "time"), [[1.0]])}),
        "variable 'b' has dims .*expected \\(time,\\) or \\(series, time\\)",
    ),
    "empty dataset": (xr.Dataset(), r"Dataset without variables, 0 feature\(s\)"),
    "complex": (np.eye(2) * 1j, "Complex data not supported"),
    "complex column": (frame(a=[1j, 2]), "Complex data not supported: X: column 'a'"),
    "column levels": (
        pd.DataFrame(np.eye(2), columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
        "MultiIndex columns of 2 levels",
    ),
    "column twice": (
        pd.DataFrame(np.eye(2), columns=["a", "a"]),
        r"duplicate column names \['a'\]",
    ),
    "feature twice": (
        xr.DataArray(np.eye(2), dims=("time", "feature"), coords={"feature": ["a", "a"]}),
        "duplicate column names",
    ),
    "infinity": (
        frame(HOURS, a=[1, 2, -np.inf, 4, np.inf]),
        r"contains infinity: row '2024-01-01 02:00:00', column 'a' holds -inf.*X.replace\(",
    ),
    "array infinity": (np.array([[1.0, np.inf]]), "infinity: row '0', column 1 holds inf"),
    "time twice": (frame(HOURS[[0, 1, 1, 2, 3]]), "duplicate time '2024-01-01 01:00:00'"),
    "unsorted": (
        frame(HOURS[::-1]),
        "not sorted: '2024-01-01 03:00:00' comes after '2024-01-01 04:00:00'.*sort_index",
    ),
    "unsorted range": (frame(range(5, 0, -1)), "not sorted: '4' comes after '5'"),
    "NaT": (frame(HOURS[:4].append(pd.DatetimeIndex([pd.NaT]))), "time of row 4 is missing"),
    "text index": (frame(list("abcde")), "time index of .* such as 'a'.*pd.to_datetime"),
    "irregular": (
        frame(GAP, a=np.arange(4.0)),
        "irregular time steps: row '2024-01-01 03:00:00' comes 0 days 02:00:00 after "
        r"'2024-01-01 01:00:00', expected 0 days 01:00:00.*df.asfreq\('h'\)",
    ),
    "jitter": (
        frame(HOURS + pd.to_timedelta([0, 0, 0, 0, 7], unit="s")),
        r"irregular.*df.resample\('h'\).mean\(\)",
    ),
    "month gap": (
        frame(MONTHS.delete(3)),
        r"row '2024-05-01.*expected 2024-04-01.*df.asfreq\('MS'\)",
    ),
    "integer gap": (
        frame([0, 2, 4, 8, 10]),
        "irregular time steps: row '8' comes 4 after '4', expected 2; .*reindex",
    ),
    "float gap": (frame([0.0, 0.1, 0.2, 0.35, 0.45]), "irregular time steps: row '0.35'"),
    "period gap": (
        frame(pd.period_range("2024-01", periods=6, freq="M").delete(3)),
        "irregular time steps: row '2024-05'.*period_range",
    ),
    "irregular series": (panel_frame({"x": HOURS, "y": GAP}), "series 'y': irregular time steps"),
    "two steps": (
        panel_frame({"x": HOURS, "y": pd.date_range("2024", periods=3, freq="D")}),
        "series 'y' has a time step of 1 days.*but series 'x' has 0 days 01:00:00",
    ),
    "twice in a series": (
        panel_frame({"x": HOURS, "y": HOURS[[0, 0]]}),
        "series 'y': duplicate time",
    ),
    "three levels": (
        pd.DataFrame({"a": [1.0]}, index=pd.MultiIndex.from_tuples([(1, 2, 3)])),
        "index of 3 levels",
    ),
    "no series id": (
        pd.DataFrame({"a": [1.0]}, index=pd.MultiIndex.from_tuples([(NAN, HOURS[0])])),
        "row 0 has no series id",
    ),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_wrong_values_are_input_errors(case: str) -> None:
    data, message = WRONG_VALUES[case]
    with pytest.raises(InputError, match=message):
        read_panel(data)


@pytest.mark.parametrize(
    "index",
    [
        HOURS[[0, 3]],
        pd.date_range("2024-01-31", periods=6, freq="ME"),
        pd.date_range("2024-02-05", periods=12, freq="B"),
        pd.date_range("2020-01-01", periods=6, freq="YS"),
        pd.date_range("2020-01-01", periods=6, freq="QS"),
        pd.date_range("2024-03-30", periods=60, freq="D", tz="Europe/Paris"),
        pd.date_range("2024-03-31", periods=5, freq="h", tz="Europe/Paris"),
        pd.Index(np.arange(100) * 0.1),
    ],
)
def test_calendar_steps_and_two_rows_are_regular(index: pd.Index) -> None:
    index = pd.Index(index.array)  # without its frequency
    assert read_panel(pd.DataFrame({"a": 1.0}, index=index)).n_series == 1


def test_months_of_equal_length_are_still_months() -> None:
    months = pd.date_range("2024-01-01", periods=12, freq="MS")
    panel = read_panel(panel_frame({"x": months[6:9], "y": months[:5], "z": months[3:5]}))
    assert panel.n_series == 3


def test_features_are_matched_by_name() -> None:
    panel = read_panel(pd.DataFrame(np.eye(3), columns=["temp", "wind", "pm25"]))
    with pytest.raises(InputError) as caught:
        panel.aligned_to(["temp", "winds", "pm10", "rain"])
    text = str(caught.value)
    assert "Feature names unseen at fit time:\n- pm25\n- wind\n" in text
    assert "Feature names seen at fit time, yet now missing:\n- pm10\n- rain\n- winds\n" in text
    assert "Column 'wind': did you mean 'winds'?" in text
    assert panel.aligned_to(["temp", "wind", "pm25"]) is panel


@pytest.mark.parametrize("names", [None, list("abcde")])
def test_unnamed_features_are_counted(names: list[str] | None) -> None:
    panel = read_panel(np.eye(3))
    message = "X has 3 features, but EDDPMImputer is expecting 5 features as input"
    with pytest.raises(InputError, match=message):
        panel.aligned_to(names, 5)
    assert panel.aligned_to(None, 3) is panel


def test_outputs_of_the_wrong_shape() -> None:
    panel = read_panel(np.eye(3))
    with pytest.raises(
        InputError, match=re.escape("shapes [(2, 3)] (1 in all), expected [(3, 3)]")
    ):
        panel.fill([np.zeros((2, 3))])
    with pytest.raises(InputError, match="expected"):
        panel.label([], "sample")
    with pytest.raises(InputError, match="dim='time' is already a dimension"):
        panel.label([np.zeros((1, 3, 3))], "time")


HOLLOW = np.array([[1.0, NAN], [2.0, NAN], [3.0, NAN]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((1, 10)), "1 sample"),
        (np.full((4, 2), NAN), "X has no observed value"),
        (HOLLOW, "column 1 has no observed value in any series"),
        (pd.DataFrame(HOLLOW, columns=["a", "b"]), "column 'b' has no observed value"),
        (np.ones((4, 2)), "longest series has 4 rows.*pass window_steps=4 or fewer"),
        (np.stack([np.ones((6, 2)), np.full((6, 2), NAN)]), "series 1 has no observed value"),
    ],
)
def test_what_cannot_be_fitted(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_fit_panel(read_panel(data), window_steps=5)


def test_what_can_be_fitted() -> None:
    check_fit_panel(read_panel(np.ones((5, 1))), window_steps=5)
    check_fit_panel(read_panel(np.stack([HOLLOW, HOLLOW[:, ::-1]])), window_steps=3)
