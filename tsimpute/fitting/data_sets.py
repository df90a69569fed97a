"""Several data sets for one network, on one scale of time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tsimpute.errors import InputError
from tsimpute.panel.cells import FloatArray
from tsimpute.panel.checks import check_fills_window, check_learnable
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Panel
from tsimpute.panel.elapsed import Clock
from tsimpute.panel.fill_values import warn_of_fill_values
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.panel.side import SideColumns, scaled_series
from tsimpute.panel.time_step import TimeStep
from tsimpute.panel.transforms import read_kinds


class Reads(Protocol):
    """The parameters that decide how data are read."""

    window_steps: int
    exogenous: Sequence[Hashable] | None
    calendar: Sequence[str] | None
    time: str
    scaling: Any


@dataclass(frozen=True, eq=False)
class DataSet:
    """One data set: its features, and what conditions the network besides them."""

    panel: Panel
    side: SideColumns | None

    @property
    def clock(self) -> Clock | None:
        """What real distances between rows are measured in."""
        return None if self.side is None else self.side.clock

    @property
    def time_step(self) -> TimeStep:
        """What a row is in time."""
        return TimeStep.of(self.panel, self.clock)

    def scaled(self, scaling: Any) -> list[FloatArray]:
        """Every series as the network wants it, by a scaler of this data set's own.

        Of a dict of columns those count that are here.
        """
        names, k = self.panel.feature_labels, self.panel.n_features
        if isinstance(scaling, Mapping) and names is not None:
            scaling = {name: kind for name, kind in scaling.items() if name in names}
        scaler = FeatureScaler.fit(self.panel.values, kinds=read_kinds(scaling, names, k))
        return scaled_series(self.panel, scaler, self.side)


def read_data_sets(imputer: Reads, data: Any) -> list[DataSet]:
    """Read one data set, or each of a list of them.

    Raises
    ------
    InputError
        If there is none, one cannot be learned from, none is as long as a window, or they have
        no common scale of time; the message names the data set by its place.
    """
    several = isinstance(data, list | tuple)
    named = [(f"data[{i}]", each) for i, each in enumerate(data)] if several else [("data", data)]
    if not named:
        raise InputError("data: got an empty list, expected at least one data set to learn from")
    sets = [_read(imputer, each, name) for name, each in named]
    check_fills_window([each.panel for each in sets], imputer.window_steps)
    _check_common_step(sets)
    return [_on_clock(each, sets[0].clock) for each in sets]


def _read(imputer: Reads, data: Any, name: str) -> DataSet:
    panel = read_panel(data, name=name, regular=imputer.time == "steps")
    warn_of_fill_values(panel.values, panel.feature_names, panel.name, stacklevel=5)
    side = SideColumns.fit(panel, imputer.exogenous, imputer.calendar, imputer.time)
    if side is not None:
        panel = side.split(panel)
    check_learnable(panel)
    return DataSet(panel, side)


def _check_common_step(sets: Sequence[DataSet]) -> None:
    """Rows must be equally long, or, on a clock, be measured in time or in numbers all alike."""
    first = next((each for each in sets if each.time_step.is_known), sets[0])
    for other in sets:
        one, two = first.time_step, other.time_step
        if one.in_time == two.in_time if first.clock else one.agrees_with(two):
            continue
        raise InputError(
            f"{first.panel.name} has {one}, but {other.panel.name} has {two}; expected data sets "
            f"with a common scale of time: resample them to one step, or pre-train on each by "
            f"itself"
        )


def _on_clock(data: DataSet, clock: Clock | None) -> DataSet:
    """The same data set with distances measured in the first one's usual step."""
    if data.side is None or clock is None:
        return data
    return DataSet(data.panel, replace(data.side, clock=clock))
