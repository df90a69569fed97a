"""Scores against known values, brute force and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.errors import InputError
from tsimpute.evaluation import cells, metrics


def _case(seed: int = 0, n_samples: int = 10, shape: tuple[int, ...] = (3, 5, 4)):
    generator = np.random.default_rng(seed)
    truth = generator.normal(2.0, 1.0, shape)
    samples = truth + generator.normal(0.3, 1.0, (n_samples, *shape))
    target_mask = generator.random(shape) < 0.4
    truth[~target_mask] = np.nan  # nothing outside the target may be read
    samples[:, ~target_mask] = np.nan
    return samples, truth, target_mask


def _brute_quantile_crps(samples, truth, target_mask):
    levels = np.arange(0.05, 1.0, 0.05)
    estimates = np.quantile(samples[:, target_mask], levels, axis=0)
    values = truth[target_mask]
    total = 0.0
    for level, estimate in zip(levels, estimates, strict=True):
        loss = 2 * np.abs((estimate - values) * ((values <= estimate) - level)).sum()
        total += loss / np.abs(values).sum()
    return total / len(levels)


def _brute_ensemble_crps(samples, truth, target_mask):
    scores = []
    for draws, value in zip(samples[:, target_mask].T, truth[target_mask], strict=True):
        apart = np.abs(draws[:, None] - draws[None, :]).mean()
        scores.append(np.abs(draws - value).mean() - 0.5 * apart)
    return np.mean(scores)


def test_errors_of_known_numbers():
    truth = np.array([1.0, 2.0, np.nan])
    target_mask = np.array([True, True, False])
    assert metrics.mae([2.0, -1.0, 9.0], truth, target_mask) == 2.0
    assert metrics.rmse([2.0, -1.0, 9.0], truth, target_mask) == pytest.approx(5**0.5)


@pytest.mark.parametrize(("n_samples", "expected"), [(1, 0.0), (2, 0.0), (4, 1.0), (5, 2.0)])
def test_lower_median_takes_the_lower_middle(n_samples, expected):
    samples = np.arange(n_samples)[::-1].astype("float32")
    assert metrics.lower_median(samples) == expected
    assert metrics.lower_median(np.stack([samples] * 3), axis=1).tolist() == [expected] * 3
    assert metrics.lower_median(samples).dtype == np.float32


def test_lower_median_is_that_of_torch():
    torch = pytest.importorskip("torch")
    samples = np.random.default_rng(1).normal(size=(6, 4, 3))
    expected = torch.from_numpy(samples).median(dim=0).values.numpy()
    np.testing.assert_array_equal(metrics.lower_median(samples), expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), n_samples=st.integers(1, 12))
def test_quantile_crps_equals_its_brute_force_twin(seed, n_samples):
    case = _case(seed, n_samples)
    expected = _brute_quantile_crps(*case)
    assert metrics.quantile_crps(*case) == pytest.approx(expected, rel=1e-10)
    samples, truth, target_mask = case
    quantiles = np.quantile(samples, metrics.CRPS_LEVELS, axis=0)
    from_quantiles = metrics.quantile_crps_from_quantiles(
        quantiles, metrics.CRPS_LEVELS, truth, target_mask
    )
    assert from_quantiles == pytest.approx(expected, rel=1e-10)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), n_samples=st.integers(1, 8))
def test_ensemble_crps_equals_its_brute_force_twin(seed, n_samples):
    case = _case(seed, n_samples)
    assert metrics.ensemble_crps(*case) == pytest.approx(_brute_ensemble_crps(*case), rel=1e-10)


def test_one_sample_has_the_absolute_error_as_crps():
    samples, truth, target_mask = _case(n_samples=1)
    expected = metrics.mae(samples[0], truth, target_mask)
    assert metrics.ensemble_crps(samples, truth, target_mask) == pytest.approx(expected)


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.01, 100))
def test_units_scale_the_pointwise_crps_only(factor):
    samples, truth, target_mask = _case()
    first = metrics.score_samples(samples, truth, target_mask)
    second = metrics.score_samples(samples * factor, truth * factor, target_mask)
    for name in ("mae", "rmse", "crps_pointwise", "width_50", "width_90"):
        assert second[name] == pytest.approx(first[name] * factor)
    assert second["crps"] == pytest.approx(first["crps"])


def test_score_samples_agrees_with_the_single_metrics():
    case = samples, truth, target_mask = _case(n_samples=41)
    scores = metrics.score_samples(*case)
    median = metrics.lower_median(samples)
    assert scores["n"] == target_mask.sum()
    assert isinstance(scores["n"], int)
    assert scores["mae"] == pytest.approx(metrics.mae(median, truth, target_mask))
    assert scores["rmse"] == pytest.approx(metrics.rmse(median, truth, target_mask))
    assert scores["crps"] == pytest.approx(metrics.quantile_crps(*case))
    assert scores["crps_pointwise"] == pytest.approx(metrics.ensemble_crps(*case))
    for percent in (50, 90):
        covered = metrics.coverage(*case, level=percent / 100)
        width = metrics.interval_width(*case, level=percent / 100)
        assert scores[f"coverage_{percent}"] == pytest.approx(covered)
        assert scores[f"width_{percent}"] == pytest.approx(width)


def test_blocks_do_not_change_a_score(monkeypatch):
    case = samples, _, _ = _case(n_samples=7)
    whole, median = metrics.score_samples(*case), metrics.lower_median(samples)
    monkeypatch.setattr(cells, "_BLOCK_NUMBERS", 30)
    monkeypatch.setattr(metrics, "_PAIR_CELLS", 3)
    assert metrics.score_samples(*case) == pytest.approx(whole)
    np.testing.assert_array_equal(metrics.lower_median(samples), median)


def test_calibrated_normal_samples_are_covered_and_have_the_known_scores():
    generator = np.random.default_rng(3)
    truth = generator.normal(size=4000)
    samples = generator.normal(size=(200, 4000))
    scores = metrics.score_samples(samples, truth, np.ones(4000, dtype=bool))
    assert scores["coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert scores["coverage_50"] == pytest.approx(0.5, abs=0.03)
    assert scores["width_90"] == pytest.approx(2 * 1.6449, rel=0.02)
    # E CRPS(N(0, 1), N(0, 1)) = 1 / sqrt(pi)
    assert scores["crps_pointwise"] == pytest.approx(np.pi**-0.5, rel=0.03)


def test_a_single_number_can_be_scored():
    scores = metrics.score_samples([1.0, 2.0, 4.0], 3.0, np.True_)
    assert (scores["n"], scores["mae"]) == (1, 1.0)
    with pytest.raises(InputError, match=r"truth: got nan at target cell \(\)"):
        metrics.score_samples([1.0, 2.0, 4.0], np.nan, np.True_)


def test_gaussian_quantiles():
    quantiles = metrics.gaussian_quantiles([[1.0, 2.0]], [[0.0, 2.0]], [0.025, 0.5, 0.975])
    assert quantiles.shape == (3, 1, 2)
    np.testing.assert_allclose(quantiles[:, 0, 0], 1.0)
    np.testing.assert_allclose(quantiles[:, 0, 1], 2 + 2 * 1.959964 * np.array([-1, 0, 1]), 1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_mask": np.zeros((2, 2), dtype=bool)}, "no True cell"),
        ({"target_mask": np.ones((2, 2))}, "dtype float64, expected bool"),
        ({"target_mask": np.ones(2, dtype=bool)}, r"got shape \(2,\)"),
        ({"samples": np.ones((3, 2))}, "samples: got shape"),
        ({"samples": np.ones((0, 2, 2))}, "samples: got shape"),
        ({"samples": np.full((3, 2, 2), np.nan)}, "samples: got nan"),
        ({"truth": np.array([[1.0, 1.0], [np.nan, 1.0]])}, r"truth: got nan at target cell \(1, 0"),
        ({"truth": np.zeros((2, 2))}, "divides by the sum"),
    ],
)
def test_unusable_input_is_named(change, message):
    case = {
        "samples": np.ones((3, 2, 2)),
        "truth": np.ones((2, 2)),
        "target_mask": np.ones((2, 2), dtype=bool),
    }
    with pytest.raises(InputError, match=message):
        metrics.score_samples(**{**case, **change})


def test_unusable_levels_are_named():
    case = np.ones((3, 2)), np.ones(2), np.ones(2, dtype=bool)
    with pytest.raises(InputError, match="write 90 % as"):
        metrics.coverage(*case, level=90)
    with pytest.raises(InputError, match="expected 2 rows"):
        metrics.quantile_crps_from_quantiles(case[0], [0.1, 0.9], case[1], case[2])
    with pytest.raises(InputError, match="sd: got -1"):
        metrics.gaussian_quantiles(0.0, -1.0, [0.5])
    with pytest.raises(InputError, match="0 samples"):
        metrics.lower_median(np.ones((0, 3)))
