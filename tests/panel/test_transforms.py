"""Logarithm and normal scores before scaling."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsimpute.errors import InputError
from tsimpute.panel import FeatureScaler
from tsimpute.panel.transforms import (
    LogTransform,
    RankTransform,
    Transform,
    read_kinds,
    transform_from_dict,
)

NAN = np.nan
NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))
COLUMNS = hnp.arrays(np.float64, st.integers(1, 40), elements=NUMBERS)


def fitted(kind: str, column: np.ndarray) -> Transform:
    return (LogTransform if kind == "log" else RankTransform).fit(column)


@pytest.mark.parametrize("kind", ["log", "rank"])
@settings(max_examples=80, deadline=None)
@given(COLUMNS, hnp.arrays(np.float64, 20, elements=st.floats(-3e3, 3e3)))
def test_there_and_back_is_the_same_for_any_value(
    kind: str, column: np.ndarray, values: np.ndarray
) -> None:
    transform = fitted(kind, column)
    back = transform.backward(transform.forward(values))
    assert np.abs(back - values).max() <= 1e-9 * (1 + np.abs(values).max())
    again = transform_from_dict(json.loads(json.dumps(transform.to_dict())))
    assert again is not None
    np.testing.assert_array_equal(again.forward(values), transform.forward(values))


@pytest.mark.parametrize("kind", ["log", "rank"])
@settings(max_examples=80, deadline=None)
@given(COLUMNS, hnp.arrays(np.float64, 20, elements=NUMBERS))
def test_larger_values_stay_larger(kind: str, column: np.ndarray, values: np.ndarray) -> None:
    found = fitted(kind, column).forward(np.unique(values))
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()


@pytest.mark.parametrize("kind", ["log", "rank"])
def test_nan_stays_nan(kind: str) -> None:
    transform = fitted(kind, np.array([1.0, 2, 5]))
    for function in (transform.forward, transform.backward):
        assert np.isnan(function(np.array([NAN, 1.0]))).tolist() == [True, False]


def test_the_offset_of_a_lognormal_is_found(rng: np.random.Generator) -> None:
    found = LogTransform.fit(7 + np.exp(rng.normal(size=20_000)))
    assert found.offset == pytest.approx(7, abs=0.1)


def test_a_column_that_is_not_skewed_is_left_almost_a_line(rng: np.random.Generator) -> None:
    column = np.sort(-np.exp(rng.normal(size=2_000)))
    moved = LogTransform.fit(column).forward(column)
    assert np.corrcoef(column, moved)[0, 1] > 0.999


def test_below_the_smallest_value_the_logarithm_goes_on_as_a_line() -> None:
    transform = LogTransform(offset=0.0, knot=1.0, unit=1.0)
    np.testing.assert_allclose(transform.forward(np.array([np.e, 1, 0, -4])), [1, 0, -1, -5])
    np.testing.assert_allclose(transform.backward(np.array([1.0, 0, -1, -5])), [np.e, 1, 0, -4])
    assert transform.backward(np.array([1e9])) == np.finfo(float).max


def test_normal_scores_of_known_ranks() -> None:
    transform = RankTransform.fit(np.array([10.0, 20, 20, 1000]))
    np.testing.assert_allclose(
        transform.forward(np.array([10.0, 20, 1000])), [-1.15034938, 0, 1.15034938]
    )
    slope = 1.15034938 / 980  # of the upper half, from the median on
    np.testing.assert_allclose(transform.forward(np.array([1980.0])), 1.15034938 + 980 * slope)


def test_many_values_need_a_thousand_knots(rng: np.random.Generator) -> None:
    column = rng.exponential(size=50_000)
    transform = RankTransform.fit(column)
    assert len(transform.knots) == 1_000
    moved = transform.forward(column)
    assert abs(moved.mean()) < 0.01 and moved.std() == pytest.approx(1, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, (12, 3), elements=NUMBERS | st.just(NAN)))
def test_a_scaler_with_transforms_goes_there_and_back(values: np.ndarray) -> None:
    scaler = FeatureScaler.fit([values], kinds=("log", "standard", "rank"))
    scaled = scaler.transform(values)
    np.testing.assert_array_equal(np.isnan(scaled), np.isnan(values))
    np.testing.assert_allclose(scaler.inverse(scaled), values, atol=1e-8)
    again = FeatureScaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(again.transform(values), scaled)
    plain = FeatureScaler.fit([values])
    np.testing.assert_array_equal(scaled[:, 1], plain.transform(values)[:, 1])
    assert set(plain.to_dict()) == {"center", "scale", "low", "high"}  # as older files hold it


def test_kinds_by_name_or_by_column() -> None:
    assert read_kinds("log", None, 2) == ("log", "log")
    assert read_kinds({"b": "rank"}, ("a", "b"), 2) == ("standard", "rank")
    assert read_kinds({"1": "rank"}, None, 2) == ("standard", "rank")
    with pytest.raises(InputError, match="'sqrt' is unknown; expected one of 'standard', 'log'"):
        read_kinds({"a": "sqrt"}, ("a",), 1)
    with pytest.raises(InputError, match=r"scaling=\['log'\]"):
        read_kinds(["log"], ("a",), 1)
    with pytest.raises(InputError, match="scaling names column 'c'"):
        read_kinds({"c": "log"}, ("a",), 1)


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "sqrt"},
        {"kind": "log", "offset": 1.0, "knot": 1.0, "unit": 1.0},
        {"kind": "log", "offset": 0.0, "knot": 1.0, "unit": -1.0},
        {"kind": "rank", "knots": [1.0, 1.0], "scores": [0.0, 1.0]},
        {"kind": "rank", "knots": [], "scores": []},
        {"kind": "rank", "knots": [1.0], "scores": [0.0, 1.0]},
    ],
)
def test_stored_nonsense_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(InputError, match="scaler"):
        transform_from_dict(stored)
    with pytest.raises(InputError, match="scaler"):
        FeatureScaler.from_dict(FeatureScaler.fit([np.eye(1)]).to_dict() | {"transforms": [stored]})
