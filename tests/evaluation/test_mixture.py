"""Mixtures of Gaussians against scipy, plain inversion, integration and many draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from tsimpute.errors import InputError
from tsimpute.evaluation import cells, metrics, mixture
from tsimpute.evaluation.metrics import CRPS_LEVELS
from tsimpute.evaluation.mixture import mixture_crps, mixture_quantile_crps, mixture_quantiles

seeds = st.integers(0, 10**6)
LEVELS = (0.05, 0.5, 0.95)


def _mixtures(seed, n_components=6, n_cells=5, width=1.0, mass_share=0.0):
    rng = np.random.default_rng(seed)
    mean = rng.normal(2.0, 1.0, (n_components, n_cells))
    spread = np.square(width * rng.uniform(0.05, 1.5, mean.shape))
    return mean, spread * (rng.random(mean.shape) >= mass_share)


def _distribution(mean, spread, x, side="right"):
    """P(X <= x), or P(X < x) from the left, of one cell."""
    mass = spread == 0
    shares = norm.cdf(x, mean[~mass], np.sqrt(spread[~mass])).sum()
    jumps = (mean[mass] <= x).sum() if side == "right" else (mean[mass] < x).sum()
    return (shares + jumps) / len(mean)


def _target(mean, seed=0):
    """A truth and a mask over the cells; nothing outside the target may be read."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(2.0, 1.0, mean.shape[1:])
    target_mask = rng.random(truth.shape) < 0.7
    target_mask.flat[0] = True
    return np.where(target_mask, truth, np.nan), target_mask


# ------------------------------------------------------------------------------------ quantiles


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e4), st.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_one_component_is_the_normal_distribution(mean, spread, level):
    found = mixture_quantiles([mean], [spread], [level])
    expected = norm.ppf(level, mean, spread**0.5)
    np.testing.assert_allclose(found, [expected], rtol=1e-12, atol=1e-10 * spread**0.5)


@pytest.mark.parametrize("n_components", [2, 7, 20])
def test_equal_components_are_one_component(n_components):
    mean, spread = np.full((n_components, 3), 1.5), np.full((n_components, 3), 0.25)
    expected = norm.ppf(CRPS_LEVELS, 1.5, 0.5)[:, None].repeat(3, axis=1)
    np.testing.assert_allclose(mixture_quantiles(mean, spread, CRPS_LEVELS), expected, atol=1e-10)


@given(seeds, st.integers(1, 12), st.sampled_from([0.03, 0.3, 3.0]), st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_quantiles_invert_the_distribution_function(seed, n_components, width, level):
    mean, spread = _mixtures(seed, n_components, 1, width)
    (found,) = mixture_quantiles(mean, spread, [level])[0]

    def excess(x):
        return _distribution(mean[:, 0], spread[:, 0], x) - level

    assert abs(excess(found)) < 1e-9
    by_hand = brentq(excess, -60, 60, xtol=1e-13, rtol=1e-13)
    if abs(excess(by_hand - 1e-4)) > 1e-9:  # else the level is crossed too flatly to compare
        assert found == pytest.approx(by_hand, abs=1e-7)


@given(seeds, st.floats(0.01, 0.99))
@settings(max_examples=15, deadline=None)
def test_with_point_masses_the_distribution_passes_the_level_at_the_quantile(seed, level):
    mean, spread = _mixtures(seed, 7, 8, 0.5, mass_share=0.6)
    for cell in range(mean.shape[1]):
        if not spread[:, cell].any():
            continue
        (found,) = mixture_quantiles(mean[:, cell], spread[:, cell], [level])
        one = mean[:, cell], spread[:, cell], found
        assert _distribution(*one, side="left") - 1e-9 <= level <= _distribution(*one) + 1e-9


def test_a_level_within_the_jump_of_a_point_mass_gives_that_mass_exactly():
    mean, spread = np.array([0.1, 0.7, 0.9]), np.array([1.0, 0.0, 1.0])
    jump = [_distribution(mean, spread, 0.7, side) for side in ("left", "right")]
    inside = np.linspace(jump[0] + 1e-6, jump[1] - 1e-6, 9)
    assert mixture_quantiles(mean, spread, inside).tolist() == [0.7] * 9
    assert mixture_quantiles(mean, spread, [jump[0] - 1e-3])[0] < 0.7
    assert mixture_quantiles(mean, spread, [jump[1] + 1e-3])[0] > 0.7


def test_a_mass_is_met_where_nothing_is_near_it_either():
    """Half of seven: the fourth mass jumps across the level, with wide gaps on either side."""
    mean = np.array([-0.4, 0.7, 1.3, 1.6, 1.7, 2.2, 3.0])
    spread = np.where(mean == 3.0, 1e-3, 0.0)
    assert mixture_quantiles(mean, spread, [0.5]).tolist() == [1.6]
    assert mixture_quantiles(mean, spread, [3 / 7])[0] == pytest.approx(1.45)  # of the flat part


@pytest.mark.parametrize("n_components", [1, 2, 5, 16])
@pytest.mark.parametrize("spread", [0.0, [[0.0]]])
def test_point_masses_alone_are_samples_with_linear_interpolation(n_components, spread):
    """The rule of `numpy.quantile` and of the scores of samples."""
    samples, _ = _mixtures(1, n_components, 30)
    found = mixture_quantiles(samples, spread, CRPS_LEVELS)
    np.testing.assert_allclose(found, np.quantile(samples, CRPS_LEVELS, axis=0), rtol=1e-12)


def test_cells_of_samples_and_cells_of_mixtures_do_not_mix():
    mean, spread = _mixtures(2, 5, 40)
    spread[:, ::3] = 0.0
    found = mixture_quantiles(mean, spread, LEVELS)
    expected = np.quantile(mean[:, ::3], LEVELS, axis=0)
    np.testing.assert_allclose(found[:, ::3], expected, rtol=1e-12)
    alone = mixture_quantiles(mean[:, 1::3], spread[:, 1::3], LEVELS)
    np.testing.assert_array_equal(found[:, 1::3], alone)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-8, 1e-30])
def test_the_median_of_two_far_components_is_their_middle(spread):
    """The distribution function is 1/2 in float64 almost everywhere between them."""
    assert mixture_quantiles([-20.0, 60.0], spread, [0.5]) == pytest.approx([20.0], abs=1e-6)
    found = mixture_quantiles([0.0, 1.0, 10.0, 11.0] * 5, 1e-8, [0.5, 0.25, 0.75])
    np.testing.assert_allclose(found, [5.5, 0.5, 10.5], atol=1e-6)


def test_a_tail_that_cannot_be_seen_beside_one_still_decides():
    """Half of the mass lies left of 10 deviations of the wide component: 1 - 1e-23 is 1."""
    found = mixture_quantiles([0.0, 30.0], [1.0, 4.0], [0.5])
    assert found == pytest.approx([10.0], abs=1e-9)  # 10 deviations from each


@given(seeds, st.integers(1, 8), st.sampled_from([1e-6, 1e-2, 1.0]), st.sampled_from([0, 0.5]))
@settings(max_examples=12, deadline=None)
def test_quantiles_rise_with_the_level(seed, n_components, width, mass_share):
    mean, spread = _mixtures(seed, n_components, 10, width, mass_share)
    levels = [*CRPS_LEVELS, 0.5 - 1e-15, 0.5 + 1e-15, 1e-12, 1 - 1e-12]
    found = mixture_quantiles(mean, spread, levels)
    assert np.isfinite(found).all()
    assert np.all(np.diff(found[np.argsort(levels)], axis=0) >= 0)


def test_levels_may_come_in_any_order():
    mean, spread = _mixtures(3)
    ordered = mixture_quantiles(mean, spread, LEVELS)
    found = mixture_quantiles(mean, spread, LEVELS[::-1])
    np.testing.assert_array_equal(found, ordered[::-1])


def test_many_draws_have_nearly_the_same_quantiles(rng):
    mean, spread = _mixtures(4, 16, 3)
    draws = mean + np.sqrt(spread) * rng.standard_normal((20_000, *mean.shape))
    expected = np.quantile(draws.reshape(-1, 3), CRPS_LEVELS, axis=0)
    np.testing.assert_allclose(mixture_quantiles(mean, spread, CRPS_LEVELS), expected, atol=0.01)


@given(seeds, st.floats(-5, 5), st.floats(0.1, 50))
@settings(max_examples=20, deadline=None)
def test_quantiles_follow_a_change_of_unit(seed, shift, unit):
    mean, spread = _mixtures(seed)
    moved = mixture_quantiles(shift + unit * mean, unit**2 * spread, LEVELS)
    expected = shift + unit * mixture_quantiles(mean, spread, LEVELS)
    np.testing.assert_allclose(moved, expected, atol=1e-8 * unit)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3), (2, 3, 2)])
def test_any_shape_and_float_type_give_float64(shape, dtype):
    rng = np.random.default_rng(5)
    mean, spread = rng.normal(size=(3, *shape)), rng.uniform(0, 1, (3, *shape))
    found = mixture_quantiles(mean.astype(dtype), spread.astype(dtype), LEVELS)
    assert found.dtype == np.float64
    assert found.shape == (3, *shape)
    flat = mixture_quantiles(mean.reshape(3, -1), spread.reshape(3, -1), LEVELS)
    np.testing.assert_allclose(found.reshape(3, -1), flat, atol=1e-5)


@pytest.mark.parametrize("where", ["mean", "spread"])
@pytest.mark.parametrize("n_masses", [0, 1, 3])
def test_nan_stays_in_its_cell(where, n_masses):
    mean, spread = _mixtures(6, 3, 4)
    spread[:n_masses] = 0.0
    expected = mixture_quantiles(mean, spread, LEVELS)
    (mean if where == "mean" else spread)[1, 2] = np.nan
    found = mixture_quantiles(mean, spread, LEVELS)
    assert np.isnan(found[:, 2]).all()
    np.testing.assert_array_equal(np.delete(found, 2, axis=1), np.delete(expected, 2, axis=1))


@pytest.mark.parametrize("numbers", [40, 333])
def test_small_blocks_give_the_same_quantiles_and_scores(monkeypatch, numbers):
    mean, spread = _mixtures(7, 5, 30, mass_share=0.3)
    target = _target(mean)
    scores = (mixture_crps, mixture_quantile_crps)
    expected = [score(mean, spread, *target) for score in scores]
    quantiles = mixture_quantiles(mean, spread, LEVELS)
    monkeypatch.setattr(cells, "_BLOCK_NUMBERS", numbers)
    monkeypatch.setattr(mixture, "_CACHED_NUMBERS", numbers)
    np.testing.assert_array_equal(mixture_quantiles(mean, spread, LEVELS), quantiles)
    assert [score(mean, spread, *target) for score in scores] == pytest.approx(expected, rel=1e-12)


# --------------------------------------------------------------------------------------- scores


def _crps_by_integration(mean, spread, truth):
    lower = quad(lambda x: _distribution(mean, spread, x) ** 2, -30, truth, limit=200)[0]
    upper = quad(lambda x: (1 - _distribution(mean, spread, x)) ** 2, truth, 30, limit=200)[0]
    return lower + upper


@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_crps_is_the_integral_of_the_squared_distance(n_components):
    mean, spread = _mixtures(8, n_components, 4)
    truth, target_mask = _target(mean)
    expected = [
        _crps_by_integration(mean[:, cell], spread[:, cell], truth[cell])
        for cell in np.flatnonzero(target_mask)
    ]
    found = mixture_crps(mean, spread, truth, target_mask)
    assert found == pytest.approx(np.mean(expected), rel=1e-6)


@given(st.floats(-3, 3), st.floats(0.01, 4))
@settings(max_examples=30, deadline=None)
def test_crps_of_one_component_is_the_known_one_of_a_gaussian(truth, spread):
    """Gneiting and Raftery 2007, equation 21 and the line after it."""
    z, sd = truth / spread**0.5, spread**0.5
    expected = sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.pi**0.5)
    assert mixture_crps([[0.0]], [[spread]], [truth], [True]) == pytest.approx(expected, rel=1e-9)


@given(seeds, st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_scores_of_point_masses_are_those_of_samples(seed, n_components):
    samples, _ = _mixtures(seed, n_components, 12)
    case = (samples, 0.0, *_target(samples, seed))
    crps = metrics.ensemble_crps(samples, *case[2:])
    assert mixture_crps(*case) == pytest.approx(crps, rel=1e-9, abs=1e-12)
    quantile_crps = metrics.quantile_crps(samples, *case[2:])
    assert mixture_quantile_crps(*case) == pytest.approx(quantile_crps, rel=1e-9)


@given(seeds)
@settings(max_examples=4, deadline=None)
def test_quantile_crps_is_that_of_the_mixture_quantiles(seed):
    mean, spread = (part.reshape(4, 3, 5) for part in _mixtures(seed, 4, 15, mass_share=0.2))
    target = _target(mean, seed)
    quantiles = mixture_quantiles(mean, spread, CRPS_LEVELS)
    expected = metrics.quantile_crps_from_quantiles(quantiles, CRPS_LEVELS, *target)
    assert mixture_quantile_crps(mean, spread, *target) == pytest.approx(expected, rel=1e-12)


def test_the_mixture_scores_better_than_its_own_few_draws(rng):
    """What the exact quantiles are for: the excess of a finite sample is gone."""
    mean, spread = _mixtures(9, 4, 4000)
    component = rng.integers(4, size=4000)
    pick = component, np.arange(4000)
    truth = mean[pick] + np.sqrt(spread[pick]) * rng.standard_normal(4000)
    draws = mean + np.sqrt(spread) * rng.standard_normal(mean.shape)
    everything = np.ones(4000, dtype=bool)
    exact = mixture_quantile_crps(mean, spread, truth, everything)
    assert exact < 0.95 * metrics.quantile_crps(draws, truth, everything)


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("mean", "spread", "levels", "message"),
    [
        (1.0, 1.0, [0.5], "expected at least 1 component first"),
        (np.zeros((0, 3)), 1.0, [0.5], "expected at least 1 component first"),
        (np.zeros((2, 3)), np.zeros((2, 2)), [0.5], r"spread: got shape \(2, 2\), expected"),
        (np.zeros((2, 3)), np.zeros((4, 2, 3)), [0.5], r"spread: got shape \(4, 2, 3\)"),
        ([0.0, 1.0], [1.0, -0.5], [0.5], r"spread: got -0\.5, expected 0 or more"),
        ([0.0, np.inf], [1.0, 1.0], [0.5], "mean: got infinity"),
        ([0.0, 1.0], [1.0, np.inf], [0.5], "spread: got infinity"),
        ([0.0, 1.0], [1.0, 1.0], [], "levels: got"),
        ([0.0, 1.0], [1.0, 1.0], [90.0], "write 90 % as 0.9"),
    ],
)
def test_impossible_mixtures_are_errors(mean, spread, levels, message):
    with pytest.raises(InputError, match=message):
        mixture_quantiles(mean, spread, levels)


@pytest.mark.parametrize("score", [mixture_crps, mixture_quantile_crps])
def test_impossible_scores_are_errors(score):
    mean, spread = _mixtures(10)
    truth, target_mask = _target(mean)
    with pytest.raises(InputError, match="mean: got shape"):
        score(mean[:, :2], spread[:, :2], truth, target_mask)
    with pytest.raises(InputError, match="no True cell"):
        score(mean, spread, truth, np.zeros_like(target_mask))
    with pytest.raises(InputError, match="spread: got -1"):
        score(mean, spread - 1 - spread, truth, target_mask)
    with pytest.raises(InputError, match="mean: got nan at row 0"):
        score(np.where(target_mask, np.nan, mean), spread, truth, target_mask)
