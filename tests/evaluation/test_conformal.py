"""Calibrated quantiles: coverage, order, fixed median, and falling back where cells are few."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from tsimpute.errors import InputError
from tsimpute.evaluation.conformal import (
    FLOOR,
    GRID,
    LEAST_FACTOR,
    Calibration,
    conformal_factors,
    distances_from_median,
    fit_factors,
    with_grid,
)

MIDDLE = GRID.index(0.5)


def _gaussian(scale, n, rng, levels=GRID):
    """Quantiles of N(m, scale²) for cells that are N(m, 1): too wide or too narrow by `scale`."""
    centre = rng.normal(size=n)
    raw = centre + np.array(ndtri(levels))[:, None] * np.broadcast_to(scale, n)
    return raw, centre + rng.normal(size=n)


def _calibration(factors, firsts=(1,)):
    factors = np.asarray(factors, dtype=np.float64)
    return Calibration(factors, np.zeros(factors.shape[:2], int), np.array(firsts), {})


def test_known_factor_where_the_spread_is_wrong_by_a_known_ratio(rng):
    raw, truth = _gaussian(2.0, 40_000, rng)
    zeros = np.zeros(len(truth), dtype=int)
    factors, counts = fit_factors(raw, truth, zeros, zeros, np.arange(len(truth)), (1, 1))
    assert counts.tolist() == [[40_000]]
    assert factors[0, 0, MIDDLE] == 1
    inner = [GRID.index(level) for level in (0.05, 0.25, 0.75, 0.95)]
    np.testing.assert_allclose(factors[0, 0, inner], 0.5, atol=0.03)


def test_levels_are_widened_and_narrowed_each_by_itself(rng):
    """Predicted uniform, true Gaussian: too wide in the middle and too narrow outside."""
    n = 20_000
    raw = np.repeat(np.array(GRID)[:, None] * 4 - 2, n, axis=1)
    zeros = np.zeros(n, dtype=int)
    factors, _ = fit_factors(raw, rng.normal(size=n), zeros, zeros, np.arange(n), (1, 1))
    calibration = _calibration(factors)
    fresh = rng.normal(size=n)
    assert factors[0, 0, GRID.index(0.75)] < 0.8 < 1.2 < factors[0, 0, GRID.index(0.995)]
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        ends = [round((1 + sign * level) / 2, 12) for sign in (-1, 1)]
        asked = with_grid(ends)
        every = np.repeat(np.array(asked)[:, None] * 4 - 2, n, axis=1)
        low, high = calibration.apply(every, asked, ends, np.tile(factors[0, 0], (n, 1)))
        assert ((low <= fresh) & (fresh <= high)).mean() == pytest.approx(level, abs=0.01)


def test_coverage_holds_in_each_feature_and_distance(rng):
    """Each of six groups is wrong by another ratio; fresh cells are covered as often as said."""
    n = 12_000
    scale = np.array([[0.4, 1.0, 2.5], [1.5, 0.7, 1.0]])
    features, groups = rng.integers(2, size=n), rng.integers(3, size=n)
    raw, truth = _gaussian(scale[features, groups], n, rng)
    factors, counts = fit_factors(raw, truth, features, groups, np.arange(n), (2, 3))
    assert counts.sum() == n and counts.shape == (2, 3)
    ends = [0.05, 0.95]
    asked = with_grid(ends)
    raw, truth = _gaussian(scale[features, groups], n, rng, asked)
    calibration = _calibration(factors, (1, 2, 4))
    low, high = calibration.apply(raw, asked, ends, factors[features, groups])
    inside = (low <= truth) & (truth <= high)
    for place in np.ndindex(2, 3):
        cells = (features == place[0]) & (groups == place[1])
        assert inside[cells].mean() == pytest.approx(0.9, abs=0.025)


def test_the_conformal_rank_is_that_of_one_more_cell():
    """Of 19 scores 1 … 19 the quantile .95 is the 19th, and .9 the 18th: (n + 1) p."""
    scores = np.tile(np.arange(1.0, 20), (len(GRID), 1))
    found = conformal_factors(scores, 19)
    assert found[GRID.index(0.95)] == 19
    assert found[GRID.index(0.9)] == 18
    assert found[GRID.index(0.1)] == 18  # below the median: 1 - level
    assert found[GRID.index(0.995)] == 19  # beyond what 19 cells can tell: the largest
    assert found[MIDDLE] == 1
    assert (conformal_factors(-scores, 19)[:MIDDLE] == LEAST_FACTOR).all()


@pytest.mark.parametrize("n", [19, 39, 199])
def test_coverage_by_ranks_is_guaranteed_for_few_cells_too(n, rng):
    """Marginal over calibration sets: P(y <= calibrated .95 quantile) >= .95 (exchangeability)."""
    hits = []
    place = GRID.index(0.95)
    for _ in range(2000):
        scores = rng.standard_t(3, size=(1, n + 1))
        hits.append(scores[0, -1] <= conformal_factors(np.tile(scores[:, :-1], (25, 1)), n)[place])
    assert np.mean(hits) > 0.95 - 3 * (0.95 * 0.05 / 2000) ** 0.5


def test_few_cells_are_drawn_towards_all_cells_and_none_take_the_product_of_both(rng):
    n = 30_000
    features, groups = rng.integers(2, size=n), rng.integers(2, size=n)
    features[features & groups == 1] = 0  # feature 1 is never seen in group 1
    scale = np.where(features == 0, 1.0, 2.0) * np.where(groups == 0, 1.0, 0.5)
    raw, truth = _gaussian(scale, n, rng)
    factors, counts = fit_factors(raw, truth, features, groups, np.arange(n), (3, 2))
    place = GRID.index(0.9)
    assert counts[1, 1] == 0 and counts[2].sum() == 0
    assert factors[1, 0, place] == pytest.approx(0.5, abs=0.05)
    scores = (truth - raw[MIDDLE]) / (raw[place] - raw[MIDDLE])
    parts = [np.quantile(scores[c], 0.9) for c in (features == 1, groups == 1, groups >= 0)]
    assert factors[1, 1, place] == pytest.approx(parts[0] * parts[1] / parts[2], rel=0.02)
    few = slice(0, 3)
    own = raw[:, few], truth[few], features[few], groups[few]
    rough, _ = fit_factors(*own, np.arange(3), (3, 2))
    assert (np.abs(np.log(rough[..., [0, -1]])) < 0.5).all()  # next to nothing is known there


def test_cells_of_one_gap_count_once(rng):
    """A gap of ten cells that are wrong together tells no more than a single cell."""
    raw, truth = _gaussian(0.2, 4, rng)
    zeros, each = np.zeros(40, dtype=int), np.arange(4)
    single, _ = fit_factors(raw, truth, zeros[:4], zeros[:4], each, (1, 1))
    long = np.repeat(raw, 10, axis=1), np.repeat(truth, 10), zeros, zeros
    together, counts = fit_factors(*long, np.repeat(each, 10), (1, 1))
    np.testing.assert_allclose(together, single)
    assert counts.tolist() == [[40]]
    apart, _ = fit_factors(*long, np.arange(40), (1, 1))
    tails = np.abs([np.log(apart), np.log(together)])[..., [0, -1]]
    assert (tails[0] > 3 * tails[1]).all()  # as if much were known of them


def test_no_cell_is_an_error():
    nothing = np.zeros(0, dtype=int)
    with pytest.raises(InputError, match="got no cell"):
        fit_factors(np.zeros((25, 0)), np.zeros(0), nothing, nothing, nothing, (1, 1))


levels = st.lists(st.floats(0.0005, 0.9995), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(levels, st.integers(0, 2**32 - 1))
def test_calibrated_quantiles_never_cross_and_keep_the_median(wanted, seed):
    rng = np.random.default_rng(seed)
    asked = with_grid(wanted)
    steps = rng.exponential(size=(len(asked), 5)) * (rng.random((len(asked), 5)) < 0.7)
    raw = steps.cumsum(axis=0) - 3  # with flat stretches
    factors = np.exp(rng.normal(size=(5, len(GRID))))  # in no order
    factors[:, MIDDLE] = 1
    calibration = _calibration(factors[:, None])
    both = sorted({*wanted, *GRID})
    found = calibration.apply(raw, asked, both, factors)
    assert (np.diff(found, axis=0) >= -1e-12).all()
    np.testing.assert_array_equal(found[both.index(0.5)], raw[asked.index(0.5)])
    alone = calibration.apply(raw, asked, wanted, factors)  # other levels change nothing
    np.testing.assert_array_equal(alone, found[[both.index(level) for level in wanted]])


def test_factors_of_one_change_nothing_but_widths_of_zero(rng):
    asked = with_grid([0.3, 0.07, 0.001])
    raw = np.sort(rng.normal(size=(len(asked), 4)), axis=0)
    calibration = _calibration(np.ones((1, 1, len(GRID))))
    same = calibration.apply(raw, asked, asked, np.ones((4, len(GRID))))
    np.testing.assert_allclose(same, raw, atol=3 * FLOOR)
    flat = calibration.apply(0 * raw, asked, asked, np.ones((4, len(GRID))))
    np.testing.assert_allclose(flat, FLOOR * np.array(ndtri(asked))[:, None] * np.ones(4), rtol=0.2)
    assert (distances_from_median(0 * raw, asked) >= 0).all()


def test_distances_fall_into_groups():
    calibration = _calibration(np.ones((1, 4, len(GRID))), (1, 2, 4, 9))
    found = calibration.group_of(np.array([0, 1, 2, 3, 4, 8, 9, 2**31]))
    assert found.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_it_survives_json(rng):
    whole = Calibration(
        rng.random((2, 3, 25)), rng.integers(9, size=(2, 3)), np.array([1, 2, 4]), {"a": "b"}, 7
    )
    again = Calibration.from_dict(json.loads(json.dumps(whole.to_dict())))
    for name in ("factors", "n_cells", "first_distances"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    assert (again.way, again.n_samples) == ({"a": "b"}, 7)
    with pytest.raises(InputError, match="calibration: got levels"):
        Calibration.from_dict(whole.to_dict() | {"levels": [0.5]})


def _clustered(n_gaps, size, shared, rng):
    """Scores of gaps whose cells have a share of their variance in common."""
    common = np.repeat(rng.normal(size=n_gaps), size)
    return shared**0.5 * common + (1 - shared) ** 0.5 * rng.normal(size=n_gaps * size)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_cells_of_few_gaps_are_covered_as_often_as_said_on_average(shared, rng):
    """Neither too rarely, as if each cell told for itself, nor too often, as if each gap did."""
    n_gaps, size, place = 20, 24, GRID.index(0.75)
    zeros, gaps = np.zeros(n_gaps * size, dtype=int), np.repeat(np.arange(n_gaps), size)
    raw = np.repeat(ndtri(np.array(GRID))[:, None], n_gaps * size, axis=1)
    covered = []
    for _ in range(200):
        truth = _clustered(n_gaps, size, shared, rng)
        factors, _ = fit_factors(raw, truth, zeros, zeros, gaps, (1, 1))
        covered.append(ndtr(factors[0, 0, place] * ndtri(0.75)))
    one_gap_more = 1 / (n_gaps + 1) if shared > 0.9 else 0.0  # the quantile lies in a whole gap
    assert 0.75 - 0.012 < np.mean(covered) < 0.75 + 0.012 + one_gap_more


def test_intervals_of_many_groups_with_few_gaps_are_not_too_wide_on_the_whole() -> None:
    """Cells of a gap are alike; what the intervals cover is known exactly, whatever was drawn."""
    ends, covered = [GRID.index(0.05), GRID.index(0.95)], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(35), 15)  # of each gap
        sizes = rng.integers(1, 20, size=len(group))
        gaps = np.repeat(np.arange(len(group)), sizes)
        common, own = rng.normal(size=len(group))[gaps], rng.normal(size=len(gaps))
        truth = 1.5 * (0.4**0.5 * common + 0.6**0.5 * own)
        raw = np.repeat(ndtri(np.array(GRID))[:, None], len(truth), axis=1)
        places = np.divmod(group[gaps], 5)
        factors, _ = fit_factors(raw, truth, *places, gaps, (7, 5))
        low, high = np.moveaxis(factors[..., ends], -1, 0) * ndtri(0.95) / 1.5
        covered.append((ndtr(high) - ndtr(-low)).mean())
    assert 0.9 < np.mean(covered) < 0.916
