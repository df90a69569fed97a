"""Lines between given cells against numpy's interpolation, and distances by hand."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.denoiser.lines import NOTHING_NEAR, distance_to_given, linear_between


def by_numpy(values, given_mask):
    """Interpolate feature by feature; 0 where nothing is given."""
    line = np.zeros_like(values)
    for i, k in np.ndindex(values.shape[0], values.shape[2]):
        places = np.flatnonzero(given_mask[i, :, k])
        if len(places):
            rows = np.arange(values.shape[1])
            line[i, :, k] = np.interp(rows, places, values[i, places, k])
    return line


def case(seed, length, share):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, length, 4))
    given_mask = rng.random(values.shape) < share
    given_mask[0, :, 1] = False
    return values, given_mask


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([0.05, 0.3, 0.8, 1.0]))
@settings(max_examples=60, deadline=None)
def test_linear_between_equals_numpy(seed, length, share):
    values, given_mask = case(seed, length, share)
    hidden = np.where(given_mask, values, np.nan)  # must not be read
    line = linear_between(torch.from_numpy(hidden), torch.from_numpy(given_mask)).numpy()
    np.testing.assert_allclose(line, by_numpy(values, given_mask), atol=2e-6)  # float32 weights
    np.testing.assert_array_equal(line[given_mask], values[given_mask])
    assert not line[0, :, 1].any()


def test_linear_between_by_hand():
    values = torch.tensor([0.0, 1.0, 9.0, 9.0, 4.0, 9.0])[None, :, None]
    given_mask = torch.tensor([False, True, False, False, True, False])[None, :, None]
    assert linear_between(values, given_mask).flatten().tolist() == [1, 1, 2, 3, 4, 4]


@given(st.integers(0, 2**32 - 1), st.floats(-100, 100, width=32))
@settings(max_examples=40, deadline=None)
def test_a_constant_stays_constant(seed, level):
    _, given_mask = case(seed, 10, 0.3)
    given_mask[:, 0] = True
    values = torch.full(given_mask.shape, level)
    assert torch.equal(linear_between(values, torch.from_numpy(given_mask)), values)


def test_distance_by_hand():
    given = torch.tensor([[[False, False], [True, False], [False, False], [False, False]]])
    assert distance_to_given(given)[0, :, 0].tolist() == [1, 0, 1, 2]
    assert distance_to_given(given)[0, :, 1].tolist() == [NOTHING_NEAR] * 4
    at = torch.tensor([[0.0, 2.0, 2.5, 7.0]])
    assert distance_to_given(given, at)[0, :, 0].tolist() == [2, 0, 0.5, 5]
