"""Gaps: distances to readings, lengths, and outages of several features."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tsimpute.panel.gaps import (
    NOWHERE,
    distance_to_observed,
    gap_lengths,
    gap_numbers,
    outages,
)

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans())


def test_distances_and_lengths_of_a_series_made_by_hand():
    seen = np.array([[0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 1]], dtype=bool)
    n = NOWHERE
    np.testing.assert_array_equal(
        distance_to_observed(seen).T, [[1, 0, 1, 2, 1, 0], [n] * 6, [0, 0, 1, 2, 1, 0]]
    )
    np.testing.assert_array_equal(
        gap_lengths(seen).T, [[1, 0, 3, 3, 3, 0], [6] * 6, [0, 0, 3, 3, 3, 0]]
    )


@given(masks)
@settings(max_examples=30)
def test_from_the_past_alone_a_gap_is_as_long_as_if_its_row_were_the_last(seen):
    so_far = gap_lengths(seen, past_only=True)
    for row in range(len(seen)):
        np.testing.assert_array_equal(so_far[row], gap_lengths(seen[: row + 1])[row])


def test_features_that_fail_over_the_same_rows_are_one_outage():
    seen = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=bool)
    n_rows, features = outages(seen)
    found = {(n, tuple(f)) for n, f in zip(n_rows.tolist(), features.tolist(), strict=True)}
    assert found == {
        (1, (True, False, False)),
        (2, (False, True, False)),
        (3, (False, False, True)),
    }
    seen[3, 2] = True
    n_rows, features = outages(seen)
    assert (2, [False, True, True]) in list(zip(n_rows.tolist(), features.tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(masks)
def test_they_equal_brute_force(seen):
    distances, lengths = distance_to_observed(seen), gap_lengths(seen)
    for row, feature in np.ndindex(*seen.shape):
        known = np.flatnonzero(seen[:, feature])
        near = np.abs(known - row).min() if len(known) else NOWHERE
        assert distances[row, feature] == near
        before, after = [-1, *known[known < row]][-1], [*known[known > row], len(seen)][0]
        assert lengths[row, feature] == (0 if seen[row, feature] else after - before - 1)


@settings(max_examples=50, deadline=None)
@given(masks)
def test_gaps_have_numbers_of_their_own(seen):
    numbers, lengths = gap_numbers(seen)[~seen], gap_lengths(seen)[~seen]
    found, n_cells = np.unique(numbers, return_counts=True)
    assert len(found) == outages(seen)[1].sum()
    np.testing.assert_array_equal(lengths, n_cells[np.searchsorted(found, numbers)])
    assert (numbers < (len(seen) + 1) * seen.shape[1]).all()


@settings(max_examples=50, deadline=None)
@given(masks)
def test_outages_hold_every_missing_cell_once(seen):
    n_rows, features = outages(seen)
    assert (n_rows * features.sum(axis=1)).sum() == (~seen).sum()
    assert features.any(axis=1).all()
