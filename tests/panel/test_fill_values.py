"""What looks like a fill value, and that nothing else does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsimpute.errors import DataWarning
from tsimpute.panel.fill_values import warn_of_fill_values
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.panel.side import WIDEST, shown


def said(values: np.ndarray, scaler: FeatureScaler | None = None) -> list[str]:
    """What is warned of in one series, of columns 0, 1, …."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warn_of_fill_values([values], None, "X", scaler)
    assert all(warning.category is DataWarning for warning in seen)
    return [str(warning.message) for warning in seen]


@given(st.floats(1e-9, 1e9), st.floats(-1e9, 1e9), st.integers(0, 99))
def test_readings_are_no_fill_values_whatever_their_unit_and_tail(
    unit: float, level: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = level + unit * rng.standard_cauchy((50, 2)).clip(-1e4, 1e4)
    values[rng.random(values.shape) < 0.3] = np.nan
    scaler = FeatureScaler.fit([values])
    assert said(values) == said(values, scaler) == []
    assert said(values + 1e3 * unit, scaler) == []
    scaled = scaler.transform(values)
    assert np.array_equal(shown(scaler, values), scaled, equal_nan=True)


@pytest.mark.parametrize("kind", ["standard", "log", "rank"])
@pytest.mark.parametrize("value", [1e20, -1e30, 9.96921e36, 1.7e308])
def test_cells_a_million_deviations_away_are_fill_values(
    rng: np.random.Generator, kind: str, value: float
) -> None:
    ordinary = rng.gamma(2.0, 100.0, (200, 2))
    scaler = FeatureScaler.fit([ordinary], kinds=[kind] * 2)
    values = ordinary.copy()
    values[[3, 80], 1] = value
    for known in (None, scaler):
        (message,) = said(values, known)
        assert message.startswith("X: column 1 has 2 cells") and f"{value:g}" in message
    found = shown(scaler, values)
    assert np.isfinite(found).all() and np.abs(found).max() <= WIDEST


def test_columns_without_a_spread_are_told_by_their_size() -> None:
    """Training data that never vary say nothing of the column, so that only much counts."""
    flat = np.full((20, 1), 7.0)
    scaler = FeatureScaler.fit([flat])
    assert said(flat) == said(flat + 1000.0, scaler) == []
    assert len(said(np.array([[7.0], [1e20]]), scaler)) == 1
    mostly_dry = np.array([[0.0]] * 18 + [[0.2], [45.0]])
    assert said(mostly_dry) == []
    assert said(np.full((4, 1), np.nan), scaler) == said(np.full((4, 1), np.nan)) == []
