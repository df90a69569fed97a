"""Points on the circles of the day, the week and the year."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsimpute.errors import InputError
from tsimpute.panel.calendar import CALENDAR, calendar_columns


def circle(share: float) -> list[float]:
    return [np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)]


@pytest.mark.parametrize(
    ("name", "time", "share"),
    [
        ("minute", "2026-01-01 10:45:00", 0.75),
        ("hour", "2026-01-01 06:00", 0.25),
        ("hour", "2026-01-01 22:30", 22.5 / 24),
        ("dayofweek", "2026-01-05", 0.0),  # a Monday
        ("dayofweek", "2026-01-11 23:00", 6 / 7),
        ("dayofmonth", "2026-02-15", 0.5),
        ("dayofyear", "2026-01-01", 0.0),
        ("dayofyear", "2026-12-31", 364 / 365),
        ("dayofyear", "2028-12-31", 365 / 366),
        ("month", "2026-07-31", 0.5),
    ],
)
def test_known_places_on_the_circle(name: str, time: str, share: float) -> None:
    found = calendar_columns(pd.DatetimeIndex([time]), [name])
    np.testing.assert_allclose(found, [circle(share)], atol=1e-12)


@pytest.mark.parametrize("name", CALENDAR)
def test_every_column_lies_on_the_circle_and_moves(name: str) -> None:
    times = pd.date_range("2026-01-01", periods=2000, freq="13h7min")
    found = calendar_columns(times, [name])
    np.testing.assert_allclose((found**2).sum(1), 1.0)
    assert (found.min(0) < -0.9).all() and (found.max(0) > 0.9).all()


def test_columns_stand_in_the_order_of_the_names() -> None:
    times = pd.date_range("2026-01-01", periods=5, freq="5h")
    both = calendar_columns(times, ["month", "hour"])
    assert (both[:, 2:] == calendar_columns(times, ["hour"])).all()
    assert calendar_columns(times, []).shape == (5, 0)


def test_a_period_stands_where_it_begins() -> None:
    periods = pd.period_range("2026-03", periods=4, freq="M")
    starts = periods.to_timestamp()
    assert (calendar_columns(periods, ["month"]) == calendar_columns(starts, ["month"])).all()


def test_the_clock_is_read_in_the_zone_of_the_fit() -> None:
    utc = pd.date_range("2026-01-01 05:00", periods=3, freq="h", tz="UTC")
    berlin = utc.tz_convert("Europe/Berlin")
    own = calendar_columns(berlin, ["hour"])
    np.testing.assert_allclose(own[0], circle(0.25), atol=1e-12)
    assert (calendar_columns(utc, ["hour"], "Europe/Berlin") == own).all()
    naive = berlin.tz_localize(None)
    assert (calendar_columns(naive, ["hour"], "Europe/Berlin") == own).all()


def test_other_times_and_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"calendar=\['hour'\] needs timestamps, but table has"):
        calendar_columns(pd.RangeIndex(3), ["hour"], data="table")
    with pytest.raises(InputError, match=r"calendar=\['hour', 'hour'\].*each once"):
        calendar_columns(pd.date_range("2026", periods=3), ["hour", "hour"])
