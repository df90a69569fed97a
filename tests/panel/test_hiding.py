"""Patterns of hidden cells, by name."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tsimpute.errors import InputError
from tsimpute.panel.gaps import outages
from tsimpute.panel.hiding import PATTERNS, hide_cells, stretches_to_random_ends
from tsimpute.panel.missingness import hide_points


def _seen(rng):
    """Two series of three features; the first two fail together, for 5 rows at a time."""
    masks = [np.ones((n, 3), dtype=bool) for n in (400, 200)]
    for mask in masks:
        for start in range(20, len(mask), 50):
            mask[start : start + 5, :2] = False
    return masks


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "last"])
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


# ------------------------------------------------------------------------------------- forecasts


def test_only_the_last_rows_are_hidden_and_all_of_them(rng):
    seen = [rng.random((n, 3)) < 0.8 for n in (1, 2, 7, 12, 40, 40, 40)]
    for _ in range(20):
        lengths = []
        for mask, hidden in zip(seen, hide_cells(seen, "last", 0.9, 12, rng), strict=True):
            rows = hidden.any(axis=1)
            n_last = len(mask) - int(rows.argmax()) if rows.any() else 0
            np.testing.assert_array_equal(hidden[-n_last:], mask[-n_last:] if n_last else hidden)
            assert not hidden[: len(mask) - n_last].any()
            lengths.append(n_last)
        assert lengths[0] == 0 and lengths[1] <= 1 and max(lengths) <= 11
        assert min(lengths[2:]) >= 1


def test_an_end_that_no_forecast_reaches_is_left_alone(rng):
    """With windows of 6 rows, 5 empty ones can be filled; here 4 follow the last reading."""
    seen = np.ones((20, 2), dtype=bool)
    seen[15:, 0] = seen[16:, 1] = False
    for _ in range(20):
        (hidden,) = hide_cells([seen], "last", 0.9, 6, rng)
        left = (seen & ~hidden).any(axis=1)
        assert len(left) - 1 - np.flatnonzero(left).max() <= 5
    seen[14:] = False
    assert not any(hide_cells([seen], "last", 0.9, 6, rng)[0].any() for _ in range(9))


def test_ends_are_hidden_until_the_share_is_reached(rng):
    seen = [np.ones((60, 2), dtype=bool)] * 50
    hidden = hide_cells(seen, "last", 0.05, 12, rng)
    share = sum(h.sum() for h in hidden) / sum(s.sum() for s in seen)
    assert 0.05 <= share < 0.05 + 22 / 6000


def test_stretches_to_random_ends_share_no_row_and_are_long_enough(rng):
    lengths, firsts = [5, 12, 30, 1000], set()
    for _ in range(20):
        places = stretches_to_random_ends(lengths, 0.1, 12, rng)
        for i, length in enumerate(lengths):
            own = [rows for j, rows in places if j == i]
            assert own and own[0].start == 0 and own[-1].stop <= length
            assert all(b.start == a.stop for a, b in pairwise(own))
            assert all(rows.stop - rows.start == 60 for rows in own[1:])
            assert own[0].stop - own[0].start >= min(length, 12)
        firsts.add(places[-1][1].stop)
    assert len(firsts) > 10
