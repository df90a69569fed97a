"""The season of a window against numbers written by hand, and what is learned of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tsimpute.denoiser.anchor import Anchor, AnchorPlan
from tsimpute.denoiser.lines import linear_between
from tsimpute.denoiser.season import Season, expected

PERIOD = 4


def _column(values):
    return torch.tensor(values)[None, :, None]


def _waves(n=64, seasons=4, noise=0.0, seed=0):
    """Two features, a season of another size in each window, and a random walk."""
    rng = np.random.default_rng(seed)
    place = np.arange(seasons * PERIOD)
    season = np.array([1.0, 0.0, -1.0, 0.0])[place % PERIOD] * rng.uniform(1, 3, (n, 1))
    walk = rng.normal(size=(n, len(place))).cumsum(1)
    values = np.stack([season, walk], -1) + noise * rng.normal(size=(n, len(place), 2))
    given = np.ones(values.shape, dtype=bool)
    for window, start in zip(given, rng.integers(0, len(place) - PERIOD, n), strict=True):
        window[start : start + PERIOD] = False
    return torch.from_numpy(values), torch.from_numpy(given)


def test_the_mean_of_a_phase_by_hand():
    values = _column([1.0, 2.0, 9.0, 3.0, 9.0, 9.0])
    given = _column([True, True, False, True, False, False])
    # The third phase has nothing given: between its neighbours, around the season.
    assert expected(values, given, 3).flatten().tolist() == [2, 2, 2, 2, 2, 2]
    values = _column([1.0, 9.0, 3.0, 1.0, 9.0, 9.0])
    given = _column([True, False, True, True, False, False])
    assert expected(values, given, 3).flatten().tolist() == [1, 2, 3, 1, 2, 3]
    values, given = _column([0.0, 4.0, 9.0, 9.0]), _column([True, True, False, False])
    assert expected(values, given, 4).flatten().tolist() == pytest.approx([0, 4, 8 / 3, 4 / 3])


def test_phases_go_by_the_clock_where_there_is_one():
    values, given = _column([1.0, 2.0, 5.0, 9.0]), _column([True, True, True, False])
    at = torch.tensor([[0.0, 1.1, 2.0, 4.9]])  # 4.9 is of the phase of 2.0
    assert expected(values, given, 3, positions=at).flatten().tolist() == [1, 2, 5, 5]


def test_many_phases_are_smoothed():
    """Noise of a season of 100 rows falls, and a sine stays."""
    noise = torch.randn(1, 300, 1, generator=torch.Generator().manual_seed(0))
    wave = torch.sin(torch.arange(300) * 2 * torch.pi / 100)[None, :, None]
    everywhere = torch.ones(1, 300, 1, dtype=torch.bool)
    mean = noise.reshape(3, 100).mean(0)
    assert expected(noise, everywhere, 100).std() < 0.5 * mean.std()
    torch.testing.assert_close(expected(wave, everywhere, 100), wave, atol=0.02, rtol=0)


def test_the_trend_is_that_between_seasons():
    place = torch.arange(24)
    values = (torch.tensor([5.0, 0.0, -5.0, 0.0])[place % 4] + 0.5 * place)[None, :, None]
    given = ((place < 9) | (place > 13))[None, :, None]
    torch.testing.assert_close(expected(values, given, 4, 1.0), values, atol=0.15, rtol=0)
    assert (expected(values, given, 4, 0.0) - values).abs().max() > 3


def test_given_cells_stay_where_they_are():
    values, given = _waves(noise=1.0)
    season = Season(PERIOD, torch.ones(2), torch.full((2,), 0.1), torch.ones(2))
    moved = season.moved(values, linear_between(values, given), given)
    torch.testing.assert_close(moved[given], values[given])
    assert not torch.allclose(moved[~given], linear_between(values, given)[~given])


def test_a_season_is_found_where_there_is_one_and_only_there():
    values, given = _waves()
    line = linear_between(values, given)
    season = Season.fit(PERIOD, values, line, given, ~given)
    assert season.weight[0] > 0.95
    assert season.reach[0] == pytest.approx(PERIOD / 12)
    assert season.weight[1] < 0.3
    left, before = (
        (centre - values)[..., 0][~given[..., 0]].square().mean()
        for centre in (season.moved(values, line, given), line)
    )
    assert left < 0.05 * before


def test_noise_of_the_readings_beside_a_gap_is_not_carried_into_it():
    values, given = _waves(noise=0.5)
    season = Season.fit(PERIOD, values, linear_between(values, given), given, ~given)
    assert season.weight[0] > 0.8
    assert season.carry[0] == 0


def test_a_level_that_wanders_is_carried_along():
    """A season on a trend: the other seasons lie lower or higher, and the line through that."""
    values, given = _waves()
    wandering = values[..., :1] + 3 * torch.arange(values.shape[1])[None, :, None]
    given = given[..., :1]
    line = linear_between(wandering, given)
    season = Season.fit(PERIOD, wandering, line, given, ~given)
    assert season.carry[0] == 1
    left = (season.moved(wandering, line, given) - wandering)[~given].square().mean()
    assert left < 0.05 * (line - wandering)[~given].square().mean()


def test_it_is_the_same_from_a_file():
    values, given = _waves(noise=1.0)
    line = linear_between(values, given)
    season = Season.fit(PERIOD, values, line, given, ~given)
    again = Season.from_dict(json.loads(json.dumps(season.to_dict())))
    assert torch.equal(again.moved(values, line, given), season.moved(values, line, given))


@pytest.mark.parametrize("seed", range(5))
def test_the_centre_is_never_further_from_the_targets_than_the_line(seed):
    values, given = _waves(noise=2.0, seed=seed)
    plans = (AnchorPlan("linear"), AnchorPlan("linear", PERIOD))
    linear, seasonal = (Anchor.fit(plan, values, given, ~given) for plan in plans)
    assert (seasonal.scale <= linear.scale + 1e-6).all()
