"""Distributions from a few quantiles, against Gaussians and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from tsimpute.denoiser.marginals import LEVELS
from tsimpute.denoiser.quantile_function import interpolation_matrix, moments, quantiles_at


def _quantiles_at(marks, wanted):
    return marks @ torch.from_numpy(interpolation_matrix(LEVELS, wanted)).T


def _marks(seed, n=50):
    gaps = torch.rand(n, len(LEVELS), generator=torch.Generator().manual_seed(seed))
    return gaps.double().cumsum(-1) - 5


def test_a_gaussian_is_a_gaussian_at_every_level_and_far_out():
    wanted = [0.0001, 0.003, 0.005, 0.07, 0.5, 0.61, 0.999]
    marks = torch.from_numpy(norm.ppf(LEVELS, loc=2.0, scale=0.3))
    expected = torch.from_numpy(norm.ppf(wanted, loc=2.0, scale=0.3))
    torch.testing.assert_close(_quantiles_at(marks, wanted), expected)


def test_the_moments_of_a_gaussian():
    marks = torch.from_numpy(norm.ppf(LEVELS, loc=-1.0, scale=2.0))
    mean, variance = moments(marks, LEVELS)
    assert float(mean) == pytest.approx(-1.0, abs=1e-12)
    assert float(variance) == pytest.approx(4.0, rel=0.005)  # the outermost 1/800 is cut off


def test_the_moments_are_those_of_many_quantiles():
    marks = _marks(0)
    points = (np.arange(20_000) + 0.5) / 20_000
    drawn = _quantiles_at(marks, points)
    mean, variance = moments(marks, LEVELS)
    torch.testing.assert_close(mean, drawn.mean(-1), rtol=0, atol=2e-3)
    torch.testing.assert_close(variance, drawn.var(-1), rtol=0.01, atol=0)


def test_known_levels_are_returned_as_they_are():
    marks = _marks(1)
    torch.testing.assert_close(_quantiles_at(marks, LEVELS), marks)


def test_quantiles_never_cross():
    found = _quantiles_at(_marks(2), np.linspace(1e-6, 1 - 1e-6, 500))
    assert torch.all(found.diff(dim=-1) >= -1e-12)


def test_the_weights_of_a_level_add_up_to_one():
    weights = interpolation_matrix(LEVELS, [0.001, 0.2, 0.5, 0.72, 0.9999])
    np.testing.assert_allclose(weights.sum(1), 1)
    assert ((weights != 0).sum(1) <= 2).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantiles_of_whole_arrays_are_those_of_the_matrix(dtype):
    marks = _marks(3, n=12).numpy().astype(dtype)
    wanted = [0.001, 0.005, 0.2, 0.5, 0.72, 0.9999]
    found = quantiles_at(marks.T.reshape(-1, 4, 3), LEVELS, wanted)
    expected = (marks @ interpolation_matrix(LEVELS, wanted).T).T.reshape(-1, 4, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.dtype == np.float64
