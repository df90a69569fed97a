"""Scores of joint samples against brute force, and what they see that marginals do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.errors import InputError
from tsimpute.evaluation.joint import (
    contrast_crps,
    energy_score,
    gap_contrasts,
    variogram_score,
)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 7), st.integers(2, 5), st.integers(0, 10_000))
def test_both_equal_brute_force(n_samples, n_cells, seed):
    rng = np.random.default_rng(seed)
    samples, truth = rng.normal(size=(n_samples, n_cells)), rng.normal(size=n_cells)
    pairs = [(i, j) for i in range(n_samples) for j in range(n_samples) if i != j]
    within = np.mean([np.linalg.norm(samples[i] - samples[j]) for i, j in pairs])
    to_truth = np.mean([np.linalg.norm(sample - truth) for sample in samples])
    assert energy_score(samples, truth) == pytest.approx(to_truth - within / 2)
    terms = [
        (
            abs(truth[i] - truth[j]) ** 0.5
            - np.mean([abs(sample[i] - sample[j]) ** 0.5 for sample in samples])
        )
        ** 2
        for i in range(n_cells)
        for j in range(i + 1, n_cells)
    ]
    assert variogram_score(samples, truth) == pytest.approx(np.mean(terms))


def test_the_energy_score_of_one_gaussian_cell_is_its_crps():
    rng = np.random.default_rng(0)
    found = energy_score(rng.normal(size=(4000, 1)), [0.3])
    z = 0.3
    density, below = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), 0.617911
    assert found == pytest.approx(z * (2 * below - 1) + 2 * density - 1 / np.sqrt(np.pi), abs=0.02)


@pytest.mark.parametrize("score", [energy_score, variogram_score])
def test_lost_dependence_costs(score):
    """The same marginals, shuffled cell by cell."""
    rng = np.random.default_rng(0)
    coherent, broken = [], []
    for _ in range(300):
        level = rng.normal(size=(33, 1))
        together = level + 0.2 * rng.normal(size=(33, 8))
        samples, truth = together[1:], together[0]
        coherent.append(score(samples, truth))
        shuffled = np.stack([rng.permutation(column) for column in samples.T], axis=1)
        broken.append(score(shuffled, truth))
    assert np.mean(coherent) < 0.95 * np.mean(broken)


@pytest.mark.parametrize("score", [energy_score, variogram_score])
def test_the_true_law_scores_better_than_a_wider_one(score):
    rng = np.random.default_rng(1)
    true_law, wider = [], []
    for _ in range(300):
        truth, samples = rng.normal(size=4), rng.normal(size=(20, 4))
        true_law.append(score(samples, truth))
        wider.append(score(2 * samples, truth))
    assert np.mean(true_law) < np.mean(wider)


@pytest.mark.parametrize(
    ("samples", "truth", "message"),
    [
        (np.zeros((1, 3)), np.zeros(3), "samples: got 1, expected at least 2"),
        (np.zeros((4, 3)), np.zeros(2), r"samples of shape \(4, 3\) and truth of shape \(2,\)"),
        (np.zeros((4, 0)), np.zeros(0), "at least one cell"),
    ],
)
def test_what_cannot_be_scored(samples, truth, message):
    for score in (energy_score, variogram_score):
        with pytest.raises(InputError, match=message):
            score(samples, truth)


def test_one_cell_has_no_variogram():
    with pytest.raises(InputError, match="got 1 cell, expected at least 2"):
        variogram_score(np.zeros((3, 1)), [0.0])


def test_gaps_end_at_given_cells_and_are_of_one_feature():
    given = np.array([[0, 1], [0, 0], [1, 0], [0, 0], [0, 1]], dtype=bool)
    target = np.array([[1, 0], [1, 1], [0, 0], [1, 1], [0, 0]], dtype=bool)
    # Scored cells in order: (0, 0), (1, 0), (1, 1), (3, 0), (3, 1); (2, 1) is unknown to all.
    sums, differences = gap_contrasts(given, target)
    assert sums.tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 0, 1]]
    assert differences.tolist() == [[-1, 1, 0, 0, 0], [0, 0, -1, 0, 1]]


def test_without_a_gap_of_two_cells_there_is_no_contrast():
    given = np.array([[1, 0], [0, 1], [1, 0]], dtype=bool)
    assert [part.shape for part in gap_contrasts(given, ~given)] == [(0, 3), (0, 3)]
    nothing = gap_contrasts(np.ones((2, 1)), np.zeros((2, 1)))
    assert [part.shape for part in nothing] == [(0, 0), (0, 0)]


def test_sums_and_differences_tell_dependence_that_marginals_do_not():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(2000, 1)) + np.zeros(2)  # both cells are one number
    alone = rng.normal(size=(2000, 2))
    truth = rng.normal(size=(300, 1)) + np.zeros(2)
    sums, differences = gap_contrasts(np.zeros((2, 1)), np.ones((2, 1)))

    def score(samples, weights):
        return np.mean([contrast_crps(samples[:200], t, weights) for t in truth])

    assert score(shared, sums) < 0.99 * score(alone, sums)
    assert score(shared, differences) == pytest.approx(0, abs=1e-12)
    assert score(alone, differences) > 0.3
