"""Gaps, and holes that are left open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from tsimpute.errors import InputError
from tsimpute.panel import read_panel
from tsimpute.panel.gaps import NOWHERE, distance_to_observed, gap_lengths
from tsimpute.panel.refusal import Refusal, best_window
from tsimpute.panel.windows import window_starts

OBSERVED = np.array([0, 1, 0, 0, 0, 1, 0, 1, 0, 0], dtype=bool)[:, None]


def test_gaps_and_distances_of_a_series() -> None:
    both = np.hstack([OBSERVED, np.zeros_like(OBSERVED)])
    assert gap_lengths(both)[:, 0].tolist() == [1, 0, 3, 3, 3, 0, 1, 0, 2, 2]
    assert gap_lengths(both)[:, 1].tolist() == [10] * 10
    assert distance_to_observed(both)[:, 0].tolist() == [1, 0, 1, 2, 1, 0, 1, 0, 1, 2]
    assert (distance_to_observed(both)[:, 1] == NOWHERE).all()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.bool_, (9, 2)))
def test_distances_as_by_hand(observed: np.ndarray) -> None:
    for k in range(2):
        rows = np.flatnonzero(observed[:, k])
        for i in range(9):
            wanted = np.abs(rows - i).min() if len(rows) else NOWHERE
            assert distance_to_observed(observed)[i, k] == wanted


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.bool_, (11, 2)))
def test_the_best_window_as_by_hand(observed: np.ndarray) -> None:
    found, rows = best_window(observed, 4, 3)
    assert (rows == 4).all()
    for i in range(11):
        windows = [slice(s, s + 4) for s in window_starts(11, 4, 3) if s <= i < s + 4]
        assert found[i].tolist() == np.max([observed[w].sum(0) for w in windows], 0).tolist()


def table(index: Any) -> pd.DataFrame:
    values = np.where(OBSERVED[:, 0], 1.0, np.nan)
    return pd.DataFrame({"x": values, "y": np.arange(10.0)}, index=index)


HOURS = pd.date_range("2026-01-01", periods=10, freq="h")
INDEXES = {
    "dates": HOURS,
    "dates of a zone": HOURS.tz_localize("Europe/Zurich"),
    "coarse unit": HOURS.as_unit("s"),
    "periods": HOURS.to_period("h"),
    "durations": HOURS - HOURS[0],
}


def refused(frame: pd.DataFrame, max_gap: Any = None, min_observed: Any = None) -> list[str]:
    refusal = Refusal.read(max_gap, min_observed)
    panel = read_panel(frame)
    refusal.check(panel, 4)
    (reasons,) = refusal.reasons(panel, 4, 2)
    assert (reasons[:, 1] == "").all()
    return list(reasons[:, 0])


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES.keys())
def test_rows_and_durations_say_the_same_of_regular_times(index: Any) -> None:
    for n_rows, cells in ((1, [2, 3, 4, 8, 9]), (2, [2, 3, 4]), (3, [])):
        wanted = ["gap too long" if i in cells else "" for i in range(10)]
        assert refused(table(index), n_rows) == wanted
        assert refused(table(index), f"{n_rows}h") == wanted
        assert refused(table(index), pd.Timedelta(hours=n_rows)) == wanted
        assert refused(table(index), str(pd.Timedelta(hours=n_rows))) == wanted  # from a file


def test_calendar_steps_are_measured_in_real_time() -> None:
    index = pd.date_range("2026-01-01", periods=10, freq="MS")  # rows 2 to 4 are March to May
    assert refused(table(index), "91D").count("gap too long") == 3
    assert refused(table(index), "92D").count("gap too long") == 0


def test_holes_need_observed_cells_in_a_window_that_sees_them() -> None:
    """Windows of 4 rows start at 0, 2, 4 and 6, and hold 1, 1, 2 and 1 observed cells."""
    too_little = "too little observed"
    assert refused(table(HOURS), None, 1) == [""] * 10
    wanted = [too_little, "", too_little, too_little, "", "", "", "", too_little, too_little]
    assert refused(table(HOURS), None, 2) == wanted
    assert refused(table(HOURS), None, 0.5) == wanted
    empty = table(HOURS)
    empty.iloc[4:8, 0] = np.nan
    assert refused(empty, None, 1)[4:] == ["nothing observed near"] * 6


@pytest.mark.parametrize("max_gap", [0, -1, 2.5, True, "soon", "-3h", "2MS", "NaT", [3]])
def test_a_gap_limit_that_is_none_is_named(max_gap: Any) -> None:
    with pytest.raises(InputError, match="max_gap="):
        Refusal.read(max_gap, None)


@pytest.mark.parametrize("least", [0, -1, 1.0, 1.5, True, "2"])
def test_a_least_number_that_is_none_is_named(least: Any) -> None:
    with pytest.raises(InputError, match="min_observed="):
        Refusal.read(None, least)


def test_what_the_data_cannot_tell_is_named() -> None:
    with pytest.raises(InputError, match=r"max_gap='0 days 06:00:00'.*no times.*number of rows"):
        refused(table(range(10)), "6h")
    with pytest.raises(InputError, match="min_observed=4 cannot be met: a window has 4 rows"):
        refused(table(HOURS), None, 4)
