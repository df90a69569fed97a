"""The picture of one series as it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.plotting.frame import (
    BLACK,
    BLUE,
    ROSE,
    PathLike,
    figure_and_axes,
    finished,
    label_times,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

MAX_DOTS = 500  # in a longer series only readings between two gaps, which have no line, get one


def plot_series(
    data: pd.Series[float] | pd.DataFrame,
    feature: str | None = None,
    *,
    units: str | None = None,
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Axes:
    """Draw the readings of one feature, and shade the gaps between them.

    Parameters
    ----------
    data : Series or DataFrame of float
        One series by time; NaN where a reading is missing.
    feature : str, optional
        The column to draw; needed if there are several.
    units : str, optional
        The unit, for the label of the axis.
    ax, path
        As in `plot_imputation`.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the feature is missing.
    MissingExtraError
        If matplotlib is not installed.
    """
    readings = one_column(data, feature, "data")
    holes = readings.isna()
    figure, ax = figure_and_axes(ax, (9.0, 4.0))
    label = f"gaps ({holes.mean():.1%} of the rows)"
    ax.fill_between(
        readings.index,
        0,
        1,
        where=with_neighbours(holes).to_numpy(),
        transform=ax.get_xaxis_transform(),
        color=ROSE,
        linewidth=0,
        label=label,
    )
    ax.plot(readings.index, readings, color=BLUE, linewidth=1.0, label="observed")
    dots = readings if len(readings) <= MAX_DOTS else readings.where(_alone(holes))
    ax.plot(dots.index, dots, ".", color=BLACK, markersize=3)
    name = "value" if readings.name is None else str(readings.name)
    ax.set_ylabel(f"{name} ({units})" if units else name)
    ax.margins(x=0.01)
    label_times(ax, readings.index)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    finished(figure, path)
    return ax


def one_column(
    data: pd.Series[float] | pd.DataFrame, feature: str | None, what: str
) -> pd.Series[float]:
    """The series, or the column of a feature."""
    if isinstance(data, pd.Series):
        return data
    if feature is None and data.shape[1] == 1:
        feature = data.columns[0]
    if feature not in data.columns:
        raise InputError(f"feature: got {feature!r}, expected a column of {what}: {list(data)}")
    return data[feature]


def with_neighbours(holes: pd.Series[bool]) -> pd.Series[bool]:
    """Holes and the readings beside them, where the bands begin and end."""
    flags: NDArray[np.bool_] = holes.to_numpy().copy()
    flags[1:] |= holes.to_numpy()[:-1]
    flags[:-1] |= holes.to_numpy()[1:]
    return pd.Series(flags, index=holes.index)


def _alone(holes: pd.Series[bool]) -> pd.Series[bool]:
    """Readings without a reading beside them."""
    before, after = holes.shift(1, fill_value=True), holes.shift(-1, fill_value=True)
    return ~holes & before & after
