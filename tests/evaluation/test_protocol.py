"""The two protocols: counts that are known, and no leak between the parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsimpute.datasets import load_air_quality, load_healthcare
from tsimpute.errors import InputError
from tsimpute.evaluation import protocol


@pytest.fixture(scope="module")
def year() -> pd.DataFrame:
    """A year of two made-up stations on the hours of AQI-36."""
    hours = pd.date_range("2014-05-01 01:00", "2015-04-30 23:00", freq="h")
    readings = np.random.default_rng(0).gamma(2.0, 40.0, (len(hours), 2))
    readings[np.random.default_rng(1).random(readings.shape) < 0.1] = np.nan
    return pd.DataFrame(readings, index=hours, columns=["001001", "001002"])


def test_healthcare_folds_part_the_stays():
    folds = [protocol.healthcare_split(3997, fold) for fold in range(5)]
    assert [len(split.test) for split in folds] == [799, 799, 800, 799, 800]
    for split in folds:
        assert len(split.train) == 2797
        together = np.concatenate([split.train, split.validation, split.test])
        np.testing.assert_array_equal(np.sort(together), np.arange(3997))
    tests = np.concatenate([split.test for split in folds])
    np.testing.assert_array_equal(np.sort(tests), np.arange(3997))


def test_healthcare_split_is_that_of_the_legacy_generator():
    split = protocol.healthcare_split(100, fold=1)
    order = np.random.RandomState(1).permutation(100)
    rest = np.concatenate([order[:20], order[40:]])[np.random.RandomState(1).permutation(80)]
    np.testing.assert_array_equal(split.test, order[20:40])
    np.testing.assert_array_equal(split.train, rest[:70])
    np.testing.assert_array_equal(split.validation, rest[70:])
    assert split.test[:5].tolist() == [2, 73, 97, 62, 19]  # drawn by numpy.random.seed(1)


@pytest.mark.parametrize("missing_rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_healthcare_targets_hide_a_share_of_each_stay(missing_rate, rng):
    values = rng.normal(size=(20, 6, 4))
    values[rng.random(values.shape) < 0.5] = np.nan
    target_mask = protocol.healthcare_targets(values, missing_rate)
    observed_mask = ~np.isnan(values)
    assert not (target_mask & ~observed_mask).any()
    n_observed = observed_mask.sum(axis=(1, 2))
    np.testing.assert_array_equal(
        target_mask.sum(axis=(1, 2)), (n_observed * missing_rate).astype(int)
    )
    np.testing.assert_array_equal(target_mask, protocol.healthcare_targets(values, missing_rate))


def test_healthcare_scale_ignores_holes():
    values = np.array([[[1.0, 5.0], [np.nan, 7.0]], [[3.0, np.nan], [np.nan, np.nan]]])
    mean, sd = protocol.healthcare_scale(values)
    assert (mean.tolist(), sd.tolist()) == ([2.0, 6.0], [1.0, 1.0])


def test_aqi_split_of_the_year(year):
    split = protocol.aqi_split(year)
    assert split.test_starts.shape == (82,)
    assert split.scored.shape == (82, 36)
    months = year.index.month.to_numpy()
    scored_rows = (split.test_starts[:, None] + np.arange(36))[split.scored]
    np.testing.assert_array_equal(
        np.sort(scored_rows), np.flatnonzero(np.isin(months, [3, 6, 9, 12]))
    )
    for starts, allowed in (
        (split.train_starts, {2, 4, 5, 7, 8, 10, 11}),
        (split.validation_starts, {1}),
        (split.pattern_starts, {2, 5, 8, 11}),
    ):
        windows = protocol.aqi_windows(months, starts)
        assert set(np.unique(windows)) == allowed
        assert (windows == windows[:, :1]).all()  # none crosses a month's end
    assert len(split.validation_starts) == 744 - 35
    assert len(split.train_starts) == 672 + 720 + 743 + 744 * 3 + 720 - 7 * 35
    assert np.isin(split.pattern_starts, split.train_starts).all()


def test_aqi_scale_does_not_see_the_test_months(year):
    split = protocol.aqi_split(year)
    changed = year.copy()
    changed[changed.index.month == 6] *= 100
    other = protocol.aqi_split(changed)
    np.testing.assert_array_equal(split.mean, other.mean)
    np.testing.assert_array_equal(split.sd, other.sd)
    kept = year[~year.index.month.isin([3, 6, 9, 12])]["001002"].dropna().to_numpy()
    assert split.sd[1] == pytest.approx(np.std(kept, ddof=1))


def test_validation_month_leaves_training_and_patterns(year):
    split = protocol.aqi_split(year, validation_month=8)
    months = year.index.month.to_numpy()
    assert set(months[split.validation_starts]) == {8}
    assert set(months[split.train_starts]) == {1, 2, 4, 5, 7, 10, 11}
    assert set(months[split.pattern_starts]) == {2, 5, 11}


def test_hide_impute_score_shows_no_target(rng):
    values = rng.normal(size=(8, 3))
    values[0, 0] = np.nan
    target_mask = np.zeros((8, 3), dtype=bool)
    target_mask[2:4, 1] = True

    def impute(hidden):
        np.testing.assert_array_equal(np.isnan(hidden), target_mask | np.isnan(values))
        return np.stack([np.nan_to_num(hidden)] * 3)

    scores = protocol.hide_impute_score(impute, values, target_mask)
    assert scores["n"] == 2
    assert scores["mae"] == pytest.approx(np.abs(values[2:4, 1]).mean())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: protocol.healthcare_split(100, 5), "fold: got 5"),
        (lambda: protocol.healthcare_split(3, 0), "n_stays: got 3"),
        (lambda: protocol.healthcare_targets(np.ones((1, 2, 2)), 10), "missing_rate: got 10"),
        (lambda: protocol.healthcare_targets(np.ones((2, 2)), 0.1), "got 2 axes"),
        (lambda: protocol.healthcare_targets(np.full((1, 2, 2), np.nan), 0.1), "in stay 0"),
        (lambda: protocol.aqi_split(pd.DataFrame({"a": [1.0]})), "index of RangeIndex"),
        (lambda: protocol.aqi_split(pd.DataFrame(), validation_month=3), "validation_month: got 3"),
        (lambda: protocol.aqi_windows(np.ones(40), [5]), "expected them inside the 40 rows"),
        (
            lambda: protocol.hide_impute_score(np.array, np.ones(2), np.ones(3, dtype=bool)),
            "target_mask: got shape",
        ),
    ],
)
def test_unusable_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_gap_in_the_hours_is_named(year):
    with pytest.raises(InputError, match="expected every hour"):
        protocol.aqi_split(year.drop(year.index[100]))


def test_air_quality_has_82_windows_and_20434_targets(data_dir):
    air = load_air_quality(data_dir)
    split = protocol.aqi_split(air.ground)
    target_mask = protocol.aqi_windows(air.target_mask.to_numpy(), split.test_starts)
    assert target_mask.shape == (82, 36, 36)
    assert (target_mask & split.scored[:, :, None]).sum() == 20_434


def test_healthcare_has_3997_stays(data_dir):
    stays = load_healthcare(data_dir).non_empty
    assert stays.values.shape == (3997, 48, 35)
    target_mask = protocol.healthcare_targets(stays.values, 0.1)
    n_observed = (~np.isnan(stays.values)).sum(axis=(1, 2))
    assert target_mask.sum() == (n_observed * 0.1).astype(int).sum()
    mean, sd = protocol.healthcare_scale(stays.values)
    assert mean[1] == pytest.approx(86.72, abs=0.01)
    assert sd[1] == pytest.approx(17.79, abs=0.01)
