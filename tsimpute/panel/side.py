"""Columns that condition a model and are never imputed: the user's own, and the calendar's."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.panel.calendar import calendar_columns
from tsimpute.panel.cells import BoolArray, FloatArray
from tsimpute.panel.core import Panel
from tsimpute.panel.elapsed import Clock
from tsimpute.panel.scaling import FeatureScaler

WIDEST = 1e4  # standard deviations: further than any reading, near enough for float32


class SideShape(NamedTuple):
    """What the last columns of a scaled series are, where not all are features.

    Attributes
    ----------
    n_covariates : int
        Complete columns that condition the network.
    has_clock : bool
        Whether the last column is the time of the row, in steps.
    """

    n_covariates: int = 0
    has_clock: bool = False

    def features(self, values: FloatArray) -> FloatArray:
        """The features (..., K) of series or windows with side columns (..., K + C [+ 1])."""
        return values[..., : values.shape[-1] - sum(self)]

    def covariates(self, values: FloatArray) -> FloatArray:
        """The covariates (..., C)."""
        return values[..., values.shape[-1] - sum(self) :][..., : self.n_covariates]

    def clock(self, values: FloatArray) -> FloatArray:
        """The times (...)."""
        return values[..., -1]

    def hide(self, values: FloatArray, target_mask: BoolArray) -> FloatArray:
        """A copy with NaN in the features at target cells (..., K)."""
        hidden = values.copy()
        self.features(hidden)[target_mask] = np.nan
        return hidden


NO_SIDE = SideShape()


@dataclass(frozen=True, eq=False)
class SideColumns:
    """What a model was fitted with besides its features.

    Attributes
    ----------
    places : tuple of int
        Of the exogenous columns among all columns of the training data.
    names : tuple of hashable or None
        Their names; None for plain arrays.
    scaler : FeatureScaler
        Of the exogenous columns.
    calendar : tuple of str
        Names of `CALENDAR`, two columns each.
    zone : str or None
        Time zone of the training data, in which the calendar is read.
    clock : Clock or None
        Where real time distances count.
    """

    places: tuple[int, ...]
    names: tuple[Hashable, ...] | None
    scaler: FeatureScaler
    calendar: tuple[str, ...] = ()
    zone: str | None = None
    clock: Clock | None = None

    @classmethod
    def fit(
        cls,
        panel: Panel,
        exogenous: Sequence[Hashable] | None,
        calendar: Sequence[str] | None,
        time: str = "steps",
    ) -> SideColumns | None:
        """Side columns of training data; None where nothing is asked for.

        Parameters
        ----------
        panel : Panel
            With all columns.
        exogenous : sequence of hashable or None
            Names of complete columns, or their positions in plain arrays.
        calendar : sequence of str or None
            Names of `CALENDAR`.
        time : {"steps", "clock"}, default="steps"
            "clock" for real time distances.

        Raises
        ------
        InputError
            If a column is unknown or has holes, none is left to impute, or calendar or clock
            are asked for without timestamps.
        """
        if not exogenous and not calendar and time == "steps":
            return None
        places = find_columns(panel, exogenous or ())
        apart = panel.with_covariates(places)
        check_complete(apart, places)
        assert apart.covariates is not None
        zone = getattr(panel.times[0], "tz", None)
        side = cls(
            places,
            apart.covariate_names,
            FeatureScaler.fit(apart.covariates),
            tuple(calendar or ()),
            None if zone is None else str(zone),
            Clock.fit(panel) if time == "clock" else None,
        )
        side.columns(apart)  # says now what is wrong with the timestamps
        return side

    @property
    def shape(self) -> SideShape:
        """Which of the last columns of a scaled series are what."""
        n_covariates = len(self.places) + 2 * len(self.calendar)
        return SideShape(n_covariates, self.clock is not None)

    def split(self, panel: Panel) -> Panel:
        """The panel, its columns in the order of the fit, with the exogenous ones set apart.

        Raises
        ------
        InputError
            If one of them has a hole.
        """
        apart = panel.with_covariates(self.places)
        check_complete(apart, self.places)
        return apart

    def columns(self, panel: Panel) -> list[FloatArray]:
        """Side columns (n_times_i, C [+ 1]) of every series of a panel that was split."""
        assert panel.covariates is not None
        parts = [[shown(self.scaler, own)] for own in panel.covariates]
        for part, times in zip(parts, panel.times, strict=True):
            part.append(calendar_columns(times, self.calendar, self.zone, panel.name))
        if self.clock is not None:
            for part, steps in zip(parts, self.clock.steps(panel), strict=True):
                part.append(steps[:, None])
        return [np.hstack(part) for part in parts]

    def all_names(self, features: Sequence[Hashable]) -> tuple[Hashable, ...]:
        """Names of all columns of the training data, in their order there."""
        names = list(features)
        for place, name in sorted(zip(self.places, self.names or (), strict=True)):
            names.insert(place, name)
        return tuple(names)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers; names must be text or whole numbers."""
        return {
            "places": list(self.places),
            "names": None if self.names is None else list(self.names),
            "scaler": self.scaler.to_dict(),
            "calendar": list(self.calendar),
            "zone": self.zone,
            "clock": None if self.clock is None else self.clock.to_dict(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> SideColumns:
        """The side columns that `to_dict` described."""
        return cls(
            tuple(stored["places"]),
            None if stored["names"] is None else tuple(stored["names"]),
            FeatureScaler.from_dict(stored["scaler"]),
            tuple(stored["calendar"]),
            stored["zone"],
            None if stored["clock"] is None else Clock.from_dict(stored["clock"]),
        )


def scaled_series(
    panel: Panel, scaler: FeatureScaler, side: SideColumns | None
) -> list[FloatArray]:
    """Each series as the network wants it: scaled features, NaN where missing, then side columns.

    Nothing is beyond `WIDEST`.

    Parameters
    ----------
    panel : Panel
        With the model's features; split by `side` where there is one.
    scaler : FeatureScaler
        Of the features.
    side : SideColumns or None

    Returns
    -------
    list of ndarray of float64, each of shape (n_times_i, K + C [+ 1])
    """
    series = [shown(scaler, values) for values in panel.values]
    if side is None:
        return series
    return [np.hstack(parts) for parts in zip(series, side.columns(panel), strict=True)]


def shown(scaler: FeatureScaler, values: FloatArray) -> FloatArray:
    """Scaled values, none so large that a network of float32 would overflow; NaN stays NaN."""
    with np.errstate(over="ignore"):
        return np.clip(scaler.transform(values), -WIDEST, WIDEST)


def find_columns(panel: Panel, exogenous: Sequence[Hashable]) -> tuple[int, ...]:
    """Places of columns by name, or by position where the panel has no names.

    Raises
    ------
    InputError
        If there is no such column, one is named twice, or no other column is left.
    """
    names = panel.feature_names
    known: list[Hashable] = list(range(panel.n_features)) if names is None else list(names)
    unknown = [label for label in exogenous if label not in known]
    if unknown:
        near = get_close_matches(str(unknown[0]), [str(label) for label in known], n=1)
        proposal = f"; did you mean {near[0]!r}?" if near else ""
        what = "positions" if names is None else "columns"
        raise InputError(
            f"exogenous={list(exogenous)!r}: {panel.name} has no column {unknown[0]!r}; expected "
            f"some of its {what} {known[:20]}{proposal}"
        )
    places = tuple(known.index(label) for label in exogenous)
    if len(set(places)) < len(places) or len(places) == len(known):
        raise InputError(
            f"exogenous={list(exogenous)!r}: expected each column once, and at least one other "
            f"column of {panel.name} to impute"
        )
    return places


def check_complete(panel: Panel, places: Sequence[int]) -> None:
    """Raise InputError unless every covariate is known in every row."""
    assert panel.covariates is not None
    for i, covariates in enumerate(panel.covariates):
        holes: NDArray[np.int64] = np.argwhere(np.isnan(covariates))
        if len(holes):
            row, column = holes[0]
            names = panel.covariate_names
            label = places[column] if names is None else names[column]
            where = "" if panel.series_ids is None else f", series {panel.series_ids[i]!r}"
            raise InputError(
                f"{panel.name}{where}: exogenous column {label!r} is missing at row "
                f"{str(panel.times[i][row])!r} ({len(holes)} such cells); expected a value in "
                f"every row; fill it, or take it out of exogenous, so that it is imputed"
            )
