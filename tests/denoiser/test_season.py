"""The season of a window against numbers written by hand, and what is learned of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tsimpute.denoiser.anchor import Anchor, AnchorPlan, linear_between
from tsimpute.denoiser.season import NOTHING_NEAR, Season, distance_to_given, seasonal_mean
from tsimpute.errors import InputError

PERIOD = 4


def _column(values):
    return torch.tensor(values)[None, :, None]


def _waves(n=64, seasons=4, noise=0.0, seed=0):
    """Two features, the first with a season of another size in each window, the second a trend."""
    rng = np.random.default_rng(seed)
    place = np.arange(seasons * PERIOD)
    season = np.array([1.0, 0.0, -1.0, 0.0])[place % PERIOD] * rng.uniform(1, 3, (n, 1))
    trend = rng.normal(size=(n, 1)) * place
    values = np.stack([season, trend], -1) + noise * rng.normal(size=(n, len(place), 2))
    given = np.ones(values.shape, dtype=bool)
    for window, start in zip(given, rng.integers(0, len(place) - PERIOD, n), strict=True):
        window[start : start + PERIOD] = False
    return torch.from_numpy(values), torch.from_numpy(given)


def test_seasonal_mean_by_hand():
    values = _column([1.0, 2.0, 9.0, 3.0, 9.0, 9.0])
    given = _column([True, True, False, True, False, False])
    line = _column([0.0, 0.0, 7.0, 0.0, 0.0, 0.0])
    mean = seasonal_mean(values, line, given, 3).flatten().tolist()
    assert mean == [2, 2, 7, 2, 2, 0]  # the third phase has nothing given: the line


def test_phases_go_by_the_clock_where_there_is_one():
    values, given = _column([1.0, 2.0, 5.0, 9.0]), _column([True, True, True, False])
    at = torch.tensor([[0.0, 1.1, 2.0, 4.9]])  # 4.9 is of the phase of 2.0
    mean = seasonal_mean(values, torch.zeros_like(values), given, 3, at)
    assert mean.flatten().tolist() == [1, 2, 5, 5]


def test_distance_by_hand():
    given = torch.tensor([[[False, False], [True, False], [False, False], [False, False]]])
    assert distance_to_given(given)[0, :, 0].tolist() == [1, 0, 1, 2]
    assert distance_to_given(given)[0, :, 1].tolist() == [NOTHING_NEAR] * 4
    at = torch.tensor([[0.0, 2.0, 2.5, 7.0]])
    assert distance_to_given(given, at)[0, :, 0].tolist() == [2, 0, 0.5, 5]


def test_given_cells_stay_where_they_are():
    values, given = _waves(noise=1.0)
    season = Season(PERIOD, torch.ones(2), torch.full((2,), 0.1))
    moved = season.moved(values, linear_between(values, given), given)
    torch.testing.assert_close(moved[given], values[given])
    assert not torch.allclose(moved[~given], linear_between(values, given)[~given])


def test_a_season_is_found_where_there_is_one_and_only_there():
    values, given = _waves()
    line = linear_between(values, given)
    season = Season.fit(PERIOD, values, line, given, ~given)
    assert season.weight[0] > 0.95
    assert season.reach[0] == pytest.approx(PERIOD / 12)
    assert season.weight[1] < 0.05
    left = (season.moved(values, line, given) - values)[~given].square().mean()
    assert left < 0.05 * (line - values)[~given].square().mean()


@pytest.mark.parametrize("seed", range(5))
def test_the_centre_is_never_further_from_the_targets_than_the_line(seed):
    values, given = _waves(noise=2.0, seed=seed)
    plans = (AnchorPlan("linear"), AnchorPlan("seasonal", PERIOD))
    linear, seasonal = (Anchor.fit(plan, values, given, ~given) for plan in plans)
    assert (seasonal.scale <= linear.scale + 1e-6).all()


def test_only_a_seasonal_anchor_has_a_season():
    ones = torch.ones(1)
    with pytest.raises(InputError, match="'seasonal' does not go with season=None"):
        Anchor("seasonal", ones, ones)
    with pytest.raises(InputError, match="'linear' does not go with season="):
        Anchor("linear", ones, ones, Season(2, ones, ones))
