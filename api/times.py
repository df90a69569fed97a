"""When the rows of a request were: what was sent, understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from api.errors import invalid

Stamps: TypeAlias = "Sequence[str | float]"
Times: TypeAlias = "pd.Index[Any]"

_DATED = (pd.DatetimeIndex, pd.PeriodIndex)
KINDS: dict[str, tuple[type, ...]] = {
    "timestamps": _DATED,
    "timestamps or durations": (*_DATED, pd.TimedeltaIndex),
}
_DURATION = re.compile(r"\s*[+-]?(P|\d+ days?\b)")
_OFFSET = re.compile(r"[T ].*(Z|[+-]\d\d(:?\d\d)?)\s*$")
EXPECTED = (
    "expected ISO 8601 times, such as 2026-01-31T12:00:00Z, or durations, such as P1DT12H, or "
    "finite numbers; the same in every row"
)


class BadTimeError(Exception):
    """A time that is none.

    Attributes
    ----------
    row : int
    message : str
    """

    def __init__(self, row: int, message: str = EXPECTED) -> None:
        super().__init__(message)
        self.row, self.message = row, message


def parse_times(stamps: Stamps) -> Times:
    """Times of rows: ISO 8601 with its offset from UTC or without, durations, or numbers.

    Timestamps of several offsets are in UTC.

    Raises
    ------
    BadTimeError
        Naming the first row that is none, or of another kind than those before.
    """
    is_text = np.array([isinstance(stamp, str) for stamp in stamps])
    if not is_text.any():
        return checked_numbers(pd.Index(np.array(stamps, dtype=np.float64)))
    _check_alike(is_text)
    texts = [str(stamp) for stamp in stamps]
    return _durations(texts) if _DURATION.match(texts[0]) else _timestamps(texts)


def checked_numbers(numbers: Times) -> Times:
    """The index, if all of it is finite.

    Raises
    ------
    BadTimeError
    """
    wrong = np.flatnonzero(~np.isfinite(numbers.to_numpy(np.float64, na_value=np.nan)))
    if len(wrong):
        raise BadTimeError(int(wrong[0]))
    return numbers


def _timestamps(texts: list[str]) -> pd.DatetimeIndex:
    _check_alike(np.array([text.lstrip()[:1].isdigit() for text in texts]), wanted=True)
    try:
        parsed = pd.DatetimeIndex(pd.to_datetime(texts, format="ISO8601"))
    except (ValueError, OverflowError):  # also of several offsets, as with daylight saving
        parsed = pd.DatetimeIndex(
            pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
        )
    _check_alike(np.asarray(parsed.notna()), wanted=True)
    has_offset = np.array([bool(_OFFSET.search(text)) for text in texts])
    _check_alike(has_offset, message="expected an offset from UTC in every time or in none")
    return parsed


def _durations(texts: list[str]) -> pd.TimedeltaIndex:
    parsed = pd.TimedeltaIndex(pd.to_timedelta(texts, errors="coerce"))
    _check_alike(np.asarray(parsed.notna()), wanted=True)
    return parsed


def _check_alike(rows: Any, wanted: bool | None = None, message: str = EXPECTED) -> None:
    """Raise BadTimeError at the first row that is not as wanted; default: as the first one."""
    odd = np.flatnonzero(rows != (rows[0] if wanted is None else wanted))
    if len(odd):
        raise BadTimeError(int(odd[0]), message)


def in_zone(times: Times | None, zone: str) -> pd.DatetimeIndex:
    """Timestamps that have an offset, in a time zone, which the calendar is then read in.

    Raises
    ------
    ServiceError
        422 if the zone is unknown or the times have no offset.
    """
    where = ("body", "time_zone")
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # also what would lead out of the folder
        message = "expected the name of a time zone, such as Europe/Berlin"
        raise invalid(where, "unknown", message) from None
    if not isinstance(times, pd.DatetimeIndex) or times.tz is None:
        raise invalid(where, "no_offset", "expected timestamps with an offset from UTC")
    return times.tz_convert(known)


def check_kind(times: Times | None, needed: str | None) -> None:
    """Refuse times that a model cannot do with.

    Parameters
    ----------
    times : Index or None
    needed : str or None
        One of `KINDS`, or "numbers"; None: the model does without.

    Raises
    ------
    ServiceError
        422.
    """
    where = ("body", "timestamps")
    if needed is None:
        return
    if times is None:
        message = f"expected {needed}, one a row: this model's answer depends on the time of a row"
        raise invalid(where, "missing", message)
    if isinstance(times, KINDS[needed]) if needed in KINDS else _is_number(times):
        return
    raise invalid(where, "kind", f"expected {needed}, as in the training data of this model")


def _is_number(times: Times) -> bool:
    return not isinstance(times, KINDS["timestamps or durations"])
