"""Ensemble copula coupling."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tsimpute.sampling.coupling import couple, even_levels


def _quantiles(levels):
    location = np.array([[0.0, 5.0, -2.0], [1.0, 1.0, 8.0]])
    return norm.ppf(np.array(levels)[:, None, None], loc=location, scale=[1.0, 2.0, 0.1])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(0, 1000))
def test_ranks_stay_and_marginals_are_exactly_the_given_ones(n_samples, seed):
    samples = np.random.default_rng(seed).normal(size=(n_samples, 2, 3))
    quantiles = _quantiles(even_levels(n_samples))
    coupled = couple(samples, quantiles)
    assert np.array_equal(coupled.argsort(0), samples.argsort(0))
    np.testing.assert_array_equal(np.sort(coupled, axis=0), quantiles)


def test_the_levels_of_samples_lie_evenly_within_0_and_1():
    np.testing.assert_allclose(even_levels(4), [0.125, 0.375, 0.625, 0.875])


def test_ties_get_different_values():
    coupled = couple(np.zeros((4, 2, 3)), _quantiles(even_levels(4)))
    assert (np.diff(coupled, axis=0) > 0).all()


def test_the_dependence_between_cells_is_that_of_the_samples():
    rng = np.random.default_rng(0)
    first = rng.normal(size=400)
    samples = np.stack([first, first + 0.5 * rng.normal(size=400)], axis=1)[:, None]
    coupled = couple(samples, np.exp(_quantiles(even_levels(400))[:, :1, :2]))
    by_rank = [
        np.corrcoef(s[:, 0, 0].argsort().argsort(), s[:, 0, 1].argsort().argsort())[0, 1]
        for s in (samples, coupled)
    ]
    assert by_rank[0] == by_rank[1] > 0.8
