"""Patterns of hidden cells, by name."""

from __future__ import annotations

import numpy as np
import pytest

from tsimpute.errors import InputError
from tsimpute.panel.gaps import outages
from tsimpute.panel.hiding import PATTERNS, hide_cells
from tsimpute.panel.missingness import hide_points


def _seen(rng):
    """Two series of three features; the first two fail together, for 5 rows at a time."""
    masks = [np.ones((n, 3), dtype=bool) for n in (400, 200)]
    for mask in masks:
        for start in range(20, len(mask), 50):
            mask[start : start + 5, :2] = False
    return masks


@pytest.mark.parametrize("pattern", PATTERNS)
def test_about_the_asked_share_of_observed_cells_is_hidden(pattern, rng):
    seen = _seen(rng)
    hidden = hide_cells(seen, pattern, 0.2, 12, rng)
    assert all(h.shape == s.shape and not (h & ~s).any() for h, s in zip(hidden, seen, strict=True))
    share = sum(h.sum() for h in hidden) / sum(s.sum() for s in seen)
    assert share == pytest.approx(0.2, abs=0.05)


def test_single_cells_are_those_of_hide_points(rng):
    seen = _seen(rng)
    found = hide_cells(seen, "point", 0.1, 12, np.random.default_rng(1))
    again = np.random.default_rng(1)
    for hidden, mask in zip(found, seen, strict=True):
        np.testing.assert_array_equal(hidden, hide_points(mask, 0.1, again))


def test_gaps_like_the_datas_are_as_long_and_of_the_same_features(rng):
    whole = [np.ones((2000, 3), dtype=bool)]
    whole[0][1000:1005, :2] = False
    (hidden,) = hide_cells(whole, "like-data", 0.02, 12, rng)
    n_rows, features = outages(~hidden)
    assert not hidden[:, 2].any()
    assert np.median(n_rows) == 5
    assert (features == [True, True, False]).all(axis=1).mean() > 0.9  # but where two overlap


def test_data_without_gaps_have_none_to_copy(rng):
    with pytest.raises(InputError, match=r"these data have none; pass pattern='point'"):
        hide_cells([np.ones((9, 2), dtype=bool)], "like-data", 0.1, 5, rng)


def test_gaps_that_hit_nothing_come_to_an_end(rng):
    """The only gap is that of a feature which is never observed."""
    seen = [np.stack([np.ones(50, dtype=bool), np.zeros(50, dtype=bool)], axis=1)]
    (hidden,) = hide_cells(seen, "like-data", 0.1, 5, rng)
    assert not hidden.any()
