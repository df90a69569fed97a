"""Ensemble copula coupling."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tsimpute.coupling import couple


def _quantiles(levels):
    location = np.array([[0.0, 5.0, -2.0], [1.0, 1.0, 8.0]])
    return norm.ppf(np.array(levels)[:, None, None], loc=location, scale=[1.0, 2.0, 0.1])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(0, 1000))
def test_ranks_stay_and_marginals_are_exactly_the_given_ones(n_samples, seed):
    samples = np.random.default_rng(seed).normal(size=(n_samples, 2, 3))
    coupled = couple(samples, _quantiles)
    assert np.array_equal(coupled.argsort(0), samples.argsort(0))
    levels = [(i + 0.5) / n_samples for i in range(n_samples)]
    np.testing.assert_array_equal(np.sort(coupled, axis=0), _quantiles(levels))


def test_ties_get_different_values():
    coupled = couple(np.zeros((4, 2, 3)), _quantiles)
    assert (np.diff(coupled, axis=0) > 0).all()


def test_the_dependence_between_cells_is_that_of_the_samples():
    rng = np.random.default_rng(0)
    first = rng.normal(size=400)
    samples = np.stack([first, first + 0.5 * rng.normal(size=400)], axis=1)[:, None]
    coupled = couple(samples, lambda levels: np.exp(_quantiles(levels)[:, :1, :2]))
    by_rank = [
        np.corrcoef(s[:, 0, 0].argsort().argsort(), s[:, 0, 1].argsort().argsort())[0, 1]
        for s in (samples, coupled)
    ]
    assert by_rank[0] == by_rank[1] > 0.8
