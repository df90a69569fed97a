"""Baselines on series whose right filling is known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute import load_co2
from tsimpute.errors import InputError
from tsimpute.evaluation import baselines

NAN = np.nan


def _column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_last_value_fills_leading_holes_backwards():
    filled = baselines.last_value(_column(NAN, 1.0, NAN, NAN, 4.0, NAN))
    assert filled[:, 0].tolist() == [1, 1, 1, 1, 4, 4]


def test_linear_interpolation_holds_the_ends():
    filled = baselines.linear_interpolation(_column(NAN, 1.0, NAN, NAN, 4.0, NAN))
    assert filled[:, 0].tolist() == [1, 1, 2, 3, 4, 4]


def test_feature_median_of_the_series_or_of_training():
    values = np.array([[1.0, NAN], [NAN, NAN], [4.0, NAN]])
    filled = baselines.feature_median(values, train_median=[9.0, 7.0])
    assert filled.tolist() == [[1, 7], [9, 7], [4, 7]]
    assert baselines.feature_median(values[:, :1])[1, 0] == 2.5


def test_seasonal_takes_earlier_then_later_then_linear():
    #                                   0    1    2    3    4    5    6    7    8
    filled = baselines.seasonal(_column(NAN, 1.0, NAN, 3.0, NAN, NAN, NAN, 7.0, NAN), period=3)
    # phase 0 takes 3 backwards, phase 1 the 1 and then the 7, phase 2 has nothing: linear
    assert filled[:, 0].tolist() == [3, 1, 2, 3, 1, 2, 3, 7, 7]


def test_seasonal_repeats_a_periodic_series():
    truth = np.tile([1.0, 5.0, 2.0, 8.0], 6)[:, None]
    values = truth.copy()
    values[[0, 9, 10, 11, 12, 13, 23]] = NAN
    np.testing.assert_array_equal(baselines.seasonal(values, 4), truth)


FILLS = {
    "last": baselines.last_value,
    "linear": baselines.linear_interpolation,
    "median": baselines.feature_median,
    "seasonal": lambda values: baselines.seasonal(values, 5),
}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("name", FILLS)
def test_fills_keep_readings_and_stay_in_their_range(name, seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(20, 3))
    values[1:][generator.random((19, 3)) < 0.6] = NAN
    before = values.copy()
    filled = FILLS[name](values)
    np.testing.assert_array_equal(values, before)
    observed_mask = ~np.isnan(values)
    np.testing.assert_array_equal(filled[observed_mask], values[observed_mask])
    assert (filled >= np.nanmin(values, axis=0)).all()
    assert (filled <= np.nanmax(values, axis=0)).all()


def test_random_walk_bridge_has_the_known_moments():
    walk = np.cumsum(np.random.default_rng(0).normal(size=60))
    readings = walk.copy()
    readings[20:30] = NAN
    model = baselines._model(readings, {})
    mean, sd = baselines._smoothed_readings(model, [0.0, 1.0, 0.0])  # only the level moves
    step = np.arange(1, 11)
    # the bridge of 11 unit steps; an unknown constant slope tilts it only slightly
    expected = np.interp(np.arange(20, 30), [19, 30], walk[[19, 30]])
    np.testing.assert_allclose(mean[20:30], expected, atol=1e-3)
    np.testing.assert_allclose(sd[20:30] ** 2, step * (11 - step) / 11, rtol=1e-3)


def test_smoothed_readings_are_the_best_linear_prediction():
    readings = np.random.default_rng(1).normal(size=12).cumsum()
    readings[[4, 5, 9]] = NAN
    model = baselines._model(readings, {})
    mean, sd = baselines._smoothed_readings(model, [0.5, 1.0, 0.0])
    # brute force: a line of unknown start and slope, plus a walk, plus the noise of each reading
    time = np.arange(12.0)
    covariance = np.minimum.outer(time, time) + 0.5 * np.eye(12)
    line = np.stack([np.ones(12), time], axis=1)
    seen = ~np.isnan(readings)
    inverse = np.linalg.inv(covariance[seen][:, seen])
    unknown = np.linalg.inv(line[seen].T @ inverse @ line[seen])
    coefficients = unknown @ line[seen].T @ inverse @ readings[seen]
    gain = covariance[~seen][:, seen] @ inverse
    rest = line[~seen] - gain @ line[seen]
    expected = rest @ coefficients + gain @ readings[seen]
    spread = covariance[~seen][:, ~seen] - gain @ covariance[seen][:, ~seen]
    spread = spread + rest @ unknown @ rest.T
    np.testing.assert_allclose(mean[~seen], expected, atol=1e-4)
    np.testing.assert_allclose(sd[~seen], np.sqrt(np.diag(spread)), rtol=1e-4)


def test_kalman_smoother_follows_a_line_and_keeps_the_readings():
    generator = np.random.default_rng(2)
    truth = 0.5 * np.arange(80)[:, None]
    values = truth + generator.normal(0, 0.2, truth.shape)
    values[30:50] = NAN
    result = baselines.kalman_smoother(values)
    assert (result.fallback, result.not_converged) == ((), ())
    np.testing.assert_allclose(result.mean[30:50], truth[30:50], atol=0.6)
    np.testing.assert_allclose(result.sd[30:50], 0.2, rtol=0.3)  # a new reading has its noise
    seen = ~np.isnan(values)
    np.testing.assert_array_equal(result.mean[seen], values[seen])
    assert (result.sd[seen] == 0).all()


@pytest.mark.parametrize(("maxiter", "not_converged"), [(1, (0,)), (200, ())])
def test_kalman_smoother_says_whose_likelihood_has_not_converged(maxiter, not_converged):
    generator = np.random.default_rng(3)
    slope = generator.normal(0, 0.3, 200).cumsum()
    level = (slope + generator.normal(size=200)).cumsum()
    values = (level + generator.normal(0, 2, 200))[:, None]
    values[60:70] = NAN
    result = baselines.kalman_smoother(values, maxiter=maxiter)
    assert (result.fallback, result.not_converged) == ((), not_converged)


def test_kalman_smoother_is_quiet_also_where_statsmodels_is_imported_by_it():
    """At its import statsmodels asks Python to show its warnings always."""
    script = """
import numpy as np
from tsimpute.evaluation.baselines import kalman_smoother
values = np.random.default_rng(0).normal(size=(40, 1))
values[7] = np.nan
assert kalman_smoother(values, maxiter=1).not_converged == (0,)
"""
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_kalman_smoother_is_less_sure_inside_a_hole():
    values = np.random.default_rng(5).normal(size=(120, 1)).cumsum(axis=0)
    values[50:70] = NAN
    sd = baselines.kalman_smoother(values).sd[:, 0]
    # the bridge of 21 steps: sqrt(10 * 11 / 21) in the middle, sqrt(20 / 21) at the rim
    assert sd[60] / sd[50] == pytest.approx(2.345, rel=0.3)


def test_kalman_smoother_is_as_sure_of_the_first_rows_as_they_allow():
    """Weeks of CO2: a smooth season, of which the variance is all but 0."""
    values = load_co2().to_numpy().copy()
    values[:8] = values[1000:1008] = NAN
    sd = baselines.kalman_smoother(values, seasonal_period=52).sd[:, 0]
    assert sd[1000:1008].max() < sd[:8].max() < 4 * sd[1000:1008].max()
    assert (np.diff(sd[:8]) < 0).all()


@pytest.mark.parametrize("period", [12, 30])
def test_kalman_smoother_knows_the_season(period):
    time = np.arange(6 * period)
    truth = np.sin(2 * np.pi * time / period)[:, None]
    values = truth + np.random.default_rng(4).normal(0, 0.05, truth.shape)
    hole = slice(2 * period + 2, 3 * period)
    values[hole] = NAN
    result = baselines.kalman_smoother(values, period, harmonics=1)
    assert np.abs(result.mean - truth)[hole].max() < 0.3
    assert np.abs(baselines.linear_interpolation(values) - truth)[hole].max() > 0.8


def test_kalman_smoother_says_where_it_fell_back():
    values = np.full((30, 3), NAN)
    values[[0, 10, 20], 0] = [1.0, 2.0, 6.0]
    values[:, 1] = np.random.default_rng(0).normal(size=30)
    values[3:6, 1] = NAN
    values[:20, 2] = 4.0
    result = baselines.kalman_smoother(values)
    assert result.fallback == (0, 2)
    assert result.mean[5, 0] == 1.5
    assert result.sd[5, 0] == pytest.approx(np.std([1.0, 2.0, 6.0]))
    assert result.mean[25, 2] == 4.0
    assert result.sd[25, 2] == 0.0


def test_empty_features_need_a_number():
    values = np.full((15, 2), NAN)
    values[:, 0] = 1.0
    for fill in FILLS.values():
        with pytest.raises(InputError, match=r"features at \[1\]"):
            fill(values)
    assert baselines.last_value(values, empty=3.0)[0, 1] == 3.0
    assert baselines.seasonal(values, 2, empty=[8.0, 9.0])[0].tolist() == [1.0, 9.0]
    result = baselines.kalman_smoother(values, empty=([0.0, 5.0], [1.0, 2.0]))
    assert (result.mean[0].tolist(), result.sd[0].tolist()) == ([1.0, 5.0], [0.0, 2.0])
    assert result.fallback == (1,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: baselines.last_value(np.ones(3)), r"got shape \(3,\)"),
        (lambda: baselines.last_value([[np.inf]]), "infinity at row 0, feature 0"),
        (lambda: baselines.last_value([[NAN, 1.0]], empty=[1.0]), "train_median: got shape"),
        (lambda: baselines.seasonal([[1.0]], 0), "period: got 0"),
        (lambda: baselines.kalman_smoother([[1.0]], 1), "period: got 1"),
        (lambda: baselines.kalman_smoother([[1.0]], 52, harmonics=30), "harmonics: got 30"),
    ],
)
def test_unusable_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
