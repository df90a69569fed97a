from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsimpute.errors import InputError
from tsimpute.panel import hide_blocks, hide_features, hide_like, hide_points

HIDERS: dict[str, Any] = {
    "points": lambda observed, rng: hide_points(observed, 0.4, rng),
    "blocks": lambda observed, rng: hide_blocks(observed, 0.4, 2, 5, rng),
    "features": lambda observed, rng: hide_features(observed, 0.4, rng),
    "like": lambda observed, rng: hide_like(observed, ~observed, rng),
}


@pytest.mark.parametrize("how", HIDERS)
@settings(max_examples=25, deadline=None)
@given(
    observed=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=3, max_side=8)),
    seed=st.integers(0, 99),
)
def test_only_observed_cells_are_hidden(how: str, observed: np.ndarray, seed: int) -> None:
    before = observed.copy()
    target = HIDERS[how](observed, np.random.default_rng(seed))
    assert target.shape == observed.shape and target.dtype == np.bool_
    assert not (target & ~observed).any()
    np.testing.assert_array_equal(observed, before)
    again = HIDERS[how](observed, np.random.default_rng(seed))
    np.testing.assert_array_equal(target, again)


def test_points_hide_the_share_in_each_place() -> None:
    observed = np.zeros((3, 10, 4), dtype=bool)
    observed[0] = True
    observed[1, :5] = True
    target = hide_points(observed, 0.25, np.random.default_rng(0))
    assert target.sum(axis=(1, 2)).tolist() == [10, 5, 0]
    many = hide_points(np.ones((4000, 1, 3), dtype=bool), 0.5, np.random.default_rng(0))
    assert set(many.sum(axis=(1, 2))) == {1, 2}
    np.testing.assert_allclose(many.mean(axis=0), 0.5, atol=0.03)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("lengths", [(1, 1), (3, 3), (2, 9), (30, 60)])
def test_blocks_hide_the_rate_at_every_row(rate: float, lengths: tuple[int, int]) -> None:
    observed = np.ones((4000, 12, 2), dtype=bool)
    target = hide_blocks(observed, rate, *lengths, np.random.default_rng(1))
    np.testing.assert_allclose(target.mean(axis=0), rate, atol=0.04)
    np.testing.assert_allclose(target.mean(), rate, atol=0.015)


def test_blocks_inside_are_at_least_min_steps_long() -> None:
    target = hide_blocks(np.ones((400, 3), dtype=bool), 0.2, 4, 6, np.random.default_rng(2))
    for column in target.T:
        edges = np.diff(np.concatenate([[0], column.astype(int), [0]]))
        starts, stops = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
        inner = (starts > 0) & (stops < 400)
        assert inner.any() and (stops - starts)[inner].min() >= 4


def test_features_are_hidden_whole() -> None:
    observed = np.random.default_rng(0).random((300, 6, 4)) < 0.9
    target = hide_features(observed, 0.3, np.random.default_rng(3))
    hidden = target.any(axis=1)
    np.testing.assert_array_equal(target, hidden[:, None] & observed)
    assert set(hidden.sum(axis=1)) == {1, 2}
    assert hide_features(np.ones((5, 1), dtype=bool), 0.1, np.random.default_rng(0)).all()
    nearly_all = hide_features(np.ones((50, 5, 3), dtype=bool), 0.99, np.random.default_rng(0))
    assert not nearly_all.all(axis=(1, 2)).any()


def test_like_lays_another_place_over_this_one() -> None:
    observed = np.ones((4, 2), dtype=bool)
    observed[0, 0] = False
    pattern = np.zeros((4, 2), dtype=bool)
    pattern[0] = True
    target = hide_like(observed, pattern, np.random.default_rng(0))
    np.testing.assert_array_equal(target, [[False, True], *[[False, False]] * 3])
    longer = np.zeros((2, 9, 2), dtype=bool)
    longer[1, 5] = True
    laid = hide_like(np.ones((200, 4, 2), dtype=bool), longer, np.random.default_rng(0))
    assert set(np.flatnonzero(laid.any(axis=(0, 2)))) == {0, 1, 2, 3}
    assert set(laid.sum(axis=(1, 2))) == {0, 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, rng: hide_points(m, 0.0, rng), "rate: got 0.0"),
        (lambda m, rng: hide_features(m, 1.0, rng), "rate: got 1.0"),
        (lambda m, rng: hide_blocks(m, float("nan"), 1, 2, rng), "rate: got nan"),
        (lambda m, rng: hide_blocks(m, 0.5, 3, 2, rng), "min_steps=3, max_steps=2"),
        (lambda m, rng: hide_points(m.astype(float), 0.5, rng), "observed_mask: got float64"),
        (lambda m, rng: hide_points(m[0], 0.5, rng), "observed_mask: got bool of shape"),
        (lambda m, rng: hide_like(m, m[:2], rng), "pattern_missing: got 1 pattern"),
    ],
)
def test_parameters_out_of_range(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(np.ones((4, 2), dtype=bool), np.random.default_rng(0))
