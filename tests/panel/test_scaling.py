from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsimpute.errors import InputError
from tsimpute.panel import FeatureScaler

NAN = np.nan


def test_known_moments_over_all_series() -> None:
    scaler = FeatureScaler.fit([np.array([[1.0, 5.0], [NAN, 5.0]]), np.array([[3.0, NAN]])])
    np.testing.assert_array_equal(scaler.center, [2, 5])
    np.testing.assert_array_equal(scaler.scale, [1, 1])
    np.testing.assert_array_equal(scaler.low, [-1, 0])
    np.testing.assert_array_equal(scaler.high, [1, 0])
    assert FeatureScaler.fit([np.array([[1.0], [3.0]])], ddof=1).scale[0] == pytest.approx(2**0.5)


def test_constant_and_unseen_features_are_left_alone() -> None:
    scaler = FeatureScaler.fit([np.column_stack([np.full(7, 0.1), np.full(7, NAN)])])
    np.testing.assert_array_equal(scaler.scale, [1, 1])
    np.testing.assert_array_equal(scaler.transform([[0.1, NAN]]), [[0, NAN]])
    np.testing.assert_array_equal(scaler.inverse([[0.0, 0.0]]), [[0.1, 0]])


@pytest.mark.parametrize("unit", [1e-300, 1e-5, 1.0, 1e300])
def test_any_magnitude(unit: float) -> None:
    values = unit * np.array([[-1.0], [0.5], [1.0]])
    scaler = FeatureScaler.fit([values])
    scaled = scaler.transform(values)
    assert np.mean(scaled) == pytest.approx(0, abs=1e-12)
    assert np.std(scaled) == pytest.approx(1)
    assert (scaler.low[0], scaler.high[0]) == (scaled.min(), scaled.max())


# A spread of 1e-300 beside values of 1e6 has no scaled form in float64.
NUMBERS = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-100)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, (5, 3), elements=NUMBERS | st.just(NAN)),
    hnp.arrays(np.float64, (2, 4, 3), elements=NUMBERS),
)
def test_round_trips(values: np.ndarray, others: np.ndarray) -> None:
    scaler = FeatureScaler.fit([values])
    back = scaler.inverse(scaler.transform(others))
    size = np.abs(others) + np.abs(scaler.center)
    assert (np.abs(back - others) <= 1e-14 * size + 1e-300).all()
    again = FeatureScaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    for name, numbers in scaler.to_dict().items():
        assert getattr(again, name).tobytes() == np.array(numbers).tobytes()


def test_stored_nonsense_is_refused() -> None:
    stored = FeatureScaler.fit([np.eye(2)]).to_dict()
    for change in (
        {"scale": [0.0, 1.0]},
        {"scale": [1.0]},
        {"low": [NAN, 0.0]},
        {"low": ["x", 0.0]},
        {"extra": []},
    ):
        with pytest.raises(InputError):
            FeatureScaler.from_dict(stored | change)
    with pytest.raises(InputError, match="at least one series"):
        FeatureScaler.fit([])
    with pytest.raises(InputError, match="same number of features"):
        FeatureScaler.fit([np.eye(2), np.eye(3)])
