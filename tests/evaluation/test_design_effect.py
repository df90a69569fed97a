"""Independent cells: known values, and correlations that were put in."""

from __future__ import annotations

import numpy as np
import pytest

from tsimpute.evaluation.design_effect import independent_cells, likeness

LEVELS = np.array([0.25, 0.5, 0.75, 0.9])


def test_known_numbers_of_independent_cells():
    gaps = np.repeat(np.arange(5), 8)
    assert independent_cells(gaps, 0.0) == 40
    assert independent_cells(gaps, 1.0) == 5
    assert independent_cells(gaps, 0.5) == pytest.approx(40 / (1 + 0.5 * 7))
    assert independent_cells(np.arange(7), 0.9) == 7  # gaps of one cell


def test_gaps_of_unequal_length_never_count_as_less_than_one_each():
    gaps = np.array([0] * 98 + [1, 2])
    assert independent_cells(gaps, 1.0) == 3


def test_cells_of_one_gap_are_unlike_when_independent_and_alike_when_the_same(rng):
    gaps, features = np.repeat(np.arange(400), 10), np.repeat(np.arange(2), 2000)
    alone = rng.normal(size=4000)
    same = np.repeat(rng.normal(size=400), 10)
    assert likeness(np.tile(alone, (4, 1)), LEVELS, features, gaps) < 0.02
    assert likeness(np.tile(same, (4, 1)), LEVELS, features, gaps) > 0.98


def test_a_feature_that_is_always_off_does_not_make_its_cells_alike(rng):
    """Each feature is compared with its own quantiles."""
    features = np.repeat(np.arange(2), 2000)
    scores = rng.normal(size=4000) + 5.0 * features
    assert likeness(np.tile(scores, (4, 1)), LEVELS, features, np.repeat(np.arange(400), 10)) < 0.02


def test_it_is_the_mean_correlation_of_pairs_within_gaps(rng):
    """A twin that goes over all pairs."""
    gaps, features = rng.integers(12, size=60), np.zeros(60, dtype=int)
    scores = rng.normal(size=(1, 60)) + rng.normal(size=12)[gaps]
    level = np.array([0.8])
    beyond = scores[0] > np.sort(scores[0])[int(np.ceil(60 * 0.8)) - 1]
    away = (beyond - beyond.mean()) / beyond.std()
    pairs = [(i, j) for i in range(60) for j in range(60) if i != j and gaps[i] == gaps[j]]
    twin = np.mean([away[i] * away[j] for i, j in pairs])
    assert likeness(scores, level, features, gaps) == pytest.approx(max(twin, 0.0))


def test_without_pairs_there_is_nothing_in_common(rng):
    scores = rng.normal(size=(4, 6))
    assert likeness(scores, LEVELS, np.zeros(6, dtype=int), np.arange(6)) == 0.0
