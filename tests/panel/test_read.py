"""Accepted containers: what is read, and that the way back gives the same container."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsimpute.panel import read_panel

NAN = np.nan
CELLS = np.array([[1.0, NAN], [NAN, 20.0], [3.0, 30.0], [4.0, 40.0]])
DAYS = pd.date_range("2024-01-01", periods=4, freq="D", name="day")


def sevens(panel: Any) -> list[np.ndarray]:
    return [np.full(series.shape, 7.0) for series in panel.values]


def frame_of(index: Any = None) -> pd.DataFrame:
    return pd.DataFrame(CELLS, index=index, columns=["a", "b"])


def many_series() -> pd.DataFrame:
    hours = pd.date_range("2024-01-01", periods=4, freq="h")
    index = pd.MultiIndex.from_tuples(
        [("x", hours[0]), ("y", hours[1]), ("x", hours[1]), ("y", hours[2]), ("y", hours[3])],
        names=["id", "when"],
    )
    return pd.DataFrame({"a": [1.0, 2, NAN, 4, 5], "b": [NAN, 20.0, 30, NAN, 50]}, index=index)


@pytest.mark.parametrize(
    "index",
    [
        DAYS,
        pd.date_range("2024-03-30", periods=4, freq="D", tz="Europe/Paris"),
        pd.date_range("2024-01-01", periods=4, freq="MS"),
        pd.period_range("2024-01", periods=4, freq="M"),
        pd.timedelta_range("0s", periods=4, freq="30min"),
        pd.RangeIndex(4),
        pd.RangeIndex(10, 30, 5),
        pd.Index([0.1, 0.2, 0.3, 0.4]) * 3,
        pd.Index([0, 1, 2, 3], dtype="uint64"),
        None,
    ],
    ids=repr,
)
def test_a_frame_is_one_series_and_comes_back(index: Any) -> None:
    frame = frame_of(index)
    before = frame.copy()
    panel = read_panel(frame)
    assert panel.n_series == 1 and panel.series_ids is None
    assert panel.feature_names == ("a", "b")
    assert (panel.n_features, panel.n_cells) == (2, 8)
    np.testing.assert_array_equal(panel.values[0], CELLS)
    np.testing.assert_array_equal(panel.observed_masks[0], ~np.isnan(CELLS))
    pd.testing.assert_frame_equal(panel.fill(sevens(panel)), before.fillna(7.0))
    pd.testing.assert_frame_equal(frame, before)
    labelled = panel.label([np.stack([CELLS, CELLS])], "sample")
    assert labelled.dims == ("sample", "time", "feature")
    assert labelled.indexes["time"].equals(frame.index)
    assert list(labelled.indexes["feature"]) == ["a", "b"]


def test_many_series_of_unequal_length_in_mixed_rows() -> None:
    frame = many_series()
    panel = read_panel(frame)
    assert panel.series_ids == ("x", "y")
    np.testing.assert_array_equal(panel.values[0], [[1, NAN], [NAN, 30]])
    np.testing.assert_array_equal(panel.values[1], [[2, 20], [4, NAN], [5, 50]])
    filled = panel.fill([np.full((2, 2), 8.0), np.full((3, 2), 9.0)])
    expected = frame.copy()
    expected.loc[("x", slice(None)), :] = expected.loc[["x"]].fillna(8.0)
    expected = expected.fillna(9.0)
    pd.testing.assert_frame_equal(filled, expected)


def test_label_lays_unequal_series_on_the_union_of_times() -> None:
    panel = read_panel(many_series())
    arrays = [np.stack([v, v + 1]).astype(np.float32) for v in sevens(panel)]
    labelled = panel.label(arrays, "quantile", [0.1, 0.9])
    assert labelled.dims == ("quantile", "series", "time", "feature")
    assert labelled.dtype == np.float32
    assert labelled.shape == (2, 2, 4, 2)
    assert list(labelled["series"].values) == ["x", "y"]
    np.testing.assert_array_equal(
        labelled.sel(quantile=0.9, feature="a").values,
        [[8, 8, NAN, NAN], [NAN, 8, 8, 8]],
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f8", object])
@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2)])
def test_an_array_keeps_shape_and_dtype(dtype: Any, shape: tuple[int, ...]) -> None:
    array = CELLS.astype(dtype).reshape(shape)
    before = array.copy()
    panel = read_panel(array)
    assert panel.feature_names is None
    assert panel.series_ids == (None if len(shape) == 2 else (0, 1))
    filled = panel.fill(sevens(panel))
    assert filled.dtype == np.dtype(dtype) and filled.shape == shape
    np.testing.assert_array_equal(filled.astype(float), np.nan_to_num(CELLS, nan=7).reshape(shape))
    np.testing.assert_array_equal(array.astype(float), before.astype(float))
    labelled = panel.label([series[None] for series in panel.values], "sample")
    assert labelled.dims == ("sample", "time", "feature") if len(shape) == 2 else labelled.ndim == 4
    assert not labelled.coords


def test_integers_and_lists_are_arrays() -> None:
    whole = read_panel(np.arange(6).reshape(3, 2))
    assert whole.fill(sevens(whole)).dtype == np.arange(1).dtype
    listed = read_panel([[1, None], [2, 3.5]])
    np.testing.assert_array_equal(listed.fill(sevens(listed)), [[1, 7], [2, 3.5]])
    assert listed.fill(sevens(listed)).dtype == np.float64


def test_columns_keep_their_dtypes_and_bits() -> None:
    big = 2**53 + 1
    frame = pd.DataFrame(
        {
            "float32": np.array([0.1, NAN, 0.3], dtype=np.float32),
            "float16": np.array([0.1, NAN, 0.3], dtype=np.float16),
            "int": np.array([big, 2, 3]),
            "Int64": pd.array([big, 2, 3], dtype="Int64"),
            "holes": pd.array([1, None, 3], dtype="Int64"),
            "Float64": pd.array([0.1, None, 0.3], dtype="Float64"),
            "Float32": pd.array([0.1, None, 0.3], dtype="Float32"),
            "object": np.array([1, None, 2.5], dtype=object),
        }
    )
    frame.attrs["unit"] = "m"
    panel = read_panel(frame)
    filled = panel.fill([np.full((3, 8), 0.7)])
    expected = {name: str(dtype) for name, dtype in frame.dtypes.items()} | {"holes": "Float64"}
    assert {name: str(dtype) for name, dtype in filled.dtypes.items()} == expected
    assert filled.attrs == {"unit": "m"}
    assert list(filled["Int64"]) == [big, 2, 3] and list(filled["int"]) == [big, 2, 3]
    assert filled["float32"].tolist() == frame["float32"].fillna(np.float32(0.7)).tolist()
    assert list(filled["Float64"]) == [0.1, 0.7, 0.3]
    assert list(filled["object"]) == [1, 0.7, 2.5]
    assert type(filled["object"][0]) is int
    assert frame["Float64"].isna().sum() == 1


@pytest.mark.parametrize("dtype", ["Int8", "Int64", "int64[pyarrow]"])
def test_a_column_of_whole_numbers_stays_one_where_its_fill_is_whole(dtype: str) -> None:
    frame = pd.DataFrame({"count": pd.array([1, None, 3], dtype=dtype)})
    panel = read_panel(frame)
    for fill, kept in [(2.0, True), (2.5, False), (1e20, False)]:
        filled = panel.fill([np.full((3, 1), fill)])["count"]
        assert filled.tolist() == [1, fill, 3]
        assert (str(filled.dtype) == str(frame["count"].dtype)) is kept


def test_a_narrow_dtype_is_never_filled_by_infinity() -> None:
    panel = read_panel(np.array([[1.0, NAN], [2.0, 3.0]], dtype=np.float16))
    assert np.isfinite(panel.fill([np.full((2, 2), 1e6)])).all()
    nullable = read_panel(pd.DataFrame({"a": pd.array([1.0, None], dtype="Float32")}))
    assert np.isfinite(nullable.fill([np.full((2, 1), 1e300)])["a"].iloc[1])


@settings(max_examples=30, deadline=None)
@given(
    cells=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(1, 4)),
        elements=st.floats(allow_infinity=False, width=64),
    )
)
def test_observed_cells_are_bit_for_bit(cells: np.ndarray) -> None:
    panel = read_panel(pd.DataFrame(cells))
    filled = panel.fill(sevens(panel)).to_numpy()
    known = ~np.isnan(cells)
    assert filled[known].tobytes() == cells[known].tobytes()
    assert (filled[~known] == 7).all()


def dataarray(dims: tuple[str, ...] = ("time", "feature")) -> xr.DataArray:
    whole = xr.DataArray(
        np.stack([CELLS, CELLS + 1]),
        dims=("series", "time", "feature"),
        coords={"series": ["x", "y"], "time": DAYS.values, "feature": ["a", "b"]},
        name="pm25",
        attrs={"unit": "m"},
    )
    return (whole if "series" in dims else whole.isel(series=0, drop=True)).transpose(*dims)


@pytest.mark.parametrize(
    "dims",
    [
        ("time", "feature"),
        ("feature", "time"),
        ("series", "time", "feature"),
        ("feature", "series", "time"),
        ("time", "series", "feature"),
    ],
)
def test_a_dataarray_in_any_order_comes_back(dims: tuple[str, ...]) -> None:
    array = dataarray(dims)
    before = array.copy(deep=True)
    panel = read_panel(array)
    np.testing.assert_array_equal(panel.values[0], CELLS)
    assert panel.feature_names == ("a", "b")
    assert panel.series_ids == (("x", "y") if len(dims) == 3 else None)
    filled = panel.fill(sevens(panel))
    xr.testing.assert_identical(filled, before.fillna(7.0).assign_attrs(before.attrs))
    assert filled.dims == dims
    xr.testing.assert_identical(array, before)
    labelled = panel.label([v[None] for v in panel.values], "sample")
    assert labelled.dims[-2:] == ("time", "feature")
    assert labelled.name == "pm25" and list(labelled["time"].values) == list(DAYS.values)


def test_dataarray_dims_of_other_names() -> None:
    dated = xr.DataArray(CELLS.T, dims=("sensor", "when"), coords={"when": DAYS.values})
    panel = read_panel(dated)
    np.testing.assert_array_equal(panel.values[0], CELLS)
    assert panel.feature_names is None
    assert panel.label([CELLS[None]], "sample").dims == ("sample", "when", "sensor")
    plain = read_panel(xr.DataArray(CELLS, dims=("row", "col")))
    np.testing.assert_array_equal(plain.values[0], CELLS)
    assert not plain.label([CELLS[None]], "sample").coords
    wide = xr.DataArray(CELLS.reshape(2, 2, 2), dims=("p", "q", "variable"))
    assert read_panel(wide).series_ids == (0, 1)


@pytest.mark.parametrize("dims", [("time",), ("series", "time"), ("time", "series")])
def test_a_dataset_comes_back(dims: tuple[str, ...]) -> None:
    whole = dataarray(("series", "time", "feature"))
    if "series" not in dims:
        whole = whole.isel(series=0, drop=True)
    dataset = whole.to_dataset(dim="feature").transpose(*dims)
    dataset["b"] = dataset["b"].astype(np.float32).assign_attrs(unit="K")
    dataset.attrs["title"] = "air"
    before = dataset.copy(deep=True)
    panel = read_panel(dataset)
    np.testing.assert_array_equal(panel.values[0], CELLS)
    assert panel.feature_names == ("a", "b")
    filled = panel.fill(sevens(panel))
    expected = before.copy(deep=True)
    for name in ("a", "b"):
        expected[name] = (
            before[name].fillna(before[name].dtype.type(7)).assign_attrs(before[name].attrs)
        )
    xr.testing.assert_identical(filled, expected)
    assert filled["b"].dtype == np.float32 and filled["b"].dims == dims
    xr.testing.assert_identical(dataset, before)
    n_dims = len(dims) + 2
    assert panel.label([v[None] for v in panel.values], "sample").ndim == n_dims


def test_aligned_panel_gives_back_the_users_order() -> None:
    frame = many_series()
    panel = read_panel(frame).aligned_to(["b", "a"])
    assert panel.feature_names == ("b", "a")
    np.testing.assert_array_equal(panel.values[0], [[NAN, 1], [30, NAN]])
    filled = panel.fill([np.tile([100.0, 200.0], (len(v), 1)) for v in panel.values])
    pd.testing.assert_frame_equal(filled, frame.fillna({"a": 200.0, "b": 100.0}))
    labelled = panel.label(
        [np.tile([100.0, 200.0], (1, len(v), 1)) for v in panel.values], "sample"
    )
    assert list(labelled["feature"].values) == ["a", "b"]
    assert (labelled.sel(feature="b").stack(all=["series", "time"]).dropna("all") == 100).all()


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)), st.permutations(range(4)))
def test_aligning_twice_still_gives_back_the_users_order(one: list[int], two: list[int]) -> None:
    cells = np.arange(12.0).reshape(3, 4)
    frame = pd.DataFrame(np.full((3, 4), NAN), columns=list("abcd"))
    panel = (
        read_panel(frame).aligned_to(["abcd"[i] for i in one]).aligned_to(["abcd"[i] for i in two])
    )
    assert panel.user_feature_names() == tuple("abcd")
    filled = panel.fill([cells[:, two]])
    np.testing.assert_array_equal(filled.to_numpy(), cells)
