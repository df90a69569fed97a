"""The picture of one imputed series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import pandas as pd

from tsimpute.errors import InputError
from tsimpute.plotting.frame import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILION,
    PathLike,
    figure_and_axes,
    finished,
    label_times,
)
from tsimpute.plotting.series import one_column, with_neighbours

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.typing import LineStyleType

_BASELINE_STYLES: tuple[tuple[str, LineStyleType], ...] = (
    (VERMILION, "--"),
    (GREEN, "-."),
    (PURPLE, ":"),
    (ORANGE, (0, (5, 1, 1, 1))),
)
_BAND_COLOURS = ("#CFE3F1", "#8FC0E0")  # the wider one first
_USUAL_BANDS = (0.05, 0.25)  # lower levels


def plot_imputation(
    observed: pd.Series[float] | pd.DataFrame,
    quantiles: xarray.DataArray,
    feature: str | None = None,
    truth: pd.Series[float] | pd.DataFrame | None = None,
    baseline: Mapping[str, pd.Series[float]] | None = None,
    *,
    units: str | None = None,
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Axes:
    """Draw readings, and in the holes the median with one or two bands.

    Parameters
    ----------
    observed : Series or DataFrame of float
        One series by time; NaN where a reading is missing.
    quantiles : DataArray of float, dims (quantile, time, feature)
        Predicted quantiles in the data's unit, at the level 0.5 and others, for all times of
        ``observed``; read only in the holes.  The dimension ``feature`` may be absent.  A band
        needs both its ends, such as 0.05 and 0.95.  Of more than two bands those of 50 % and 90 %
        are drawn, or else the narrowest and the widest.
    feature : str, optional
        The column to draw; needed if there are several.
    truth : Series or DataFrame of float, optional
        What was held out, drawn as open circles in the holes; NaN where it is not known.
    baseline : mapping of str to Series, optional
        Other imputations to compare with, by the name for the legend.
    units : str, optional
        The unit, for the label of the axis.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.
    path : path-like, optional
        File to write; its ending says the format.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the feature, the level 0.5 or a time is missing.
    MissingExtraError
        If matplotlib is not installed.
    """
    readings = one_column(observed, feature, "observed")
    holes = readings.isna()
    drawn = with_neighbours(holes)
    lines = _quantile_lines(quantiles, readings)
    lines = lines.apply(lambda line: line.where(holes, readings).where(drawn))
    figure, ax = figure_and_axes(ax, (9.0, 4.0))
    for (low, high), colour in zip(
        _drawn_bands(lines.columns.tolist()), _BAND_COLOURS, strict=False
    ):
        ends, label = (lines[low], lines[high]), f"{100 * (high - low):.3g}% interval"
        ax.fill_between(readings.index, *ends, color=colour, lw=0, label=label)
    ax.plot(readings.index, lines[0.5], color=BLUE, linewidth=1.8, label="median")
    for (name, other), (colour, style) in zip(
        (baseline or {}).items(), cycle(_BASELINE_STYLES), strict=False
    ):
        line = other.reindex(readings.index).where(holes, readings).where(drawn)
        ax.plot(line.index, line, color=colour, linestyle=style, linewidth=1.5, label=name)
    if truth is not None:
        kept = one_column(truth, feature, "truth").reindex(readings.index).where(holes)
        ax.plot(kept.index, kept, "o", color=BLACK, mfc="white", ms=4.5, label="held out")
    ax.plot(readings.index, readings, ".", color=BLACK, markersize=6, label="observed")
    name = "value" if readings.name is None else str(readings.name)
    ax.set_ylabel(f"{name} ({units})" if units else name)
    label_times(ax, readings.index)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, frameon=False)
    finished(figure, path)
    return ax


def _drawn_bands(levels: Sequence[float]) -> list[tuple[float, float]]:
    """Lower and upper level of at most two bands, the wider one first."""
    ends = [(low, round(1 - low, 9)) for low in sorted(levels) if low < 0.5]
    bands = [(low, high) for low, high in ends if high in levels]
    if len(bands) <= 2:
        return bands
    return [band for band in bands if band[0] in _USUAL_BANDS] or [bands[0], bands[-1]]


def _quantile_lines(quantiles: xarray.DataArray, readings: pd.Series[float]) -> pd.DataFrame:
    """All levels (columns) at the times of the readings (rows)."""
    if "feature" in quantiles.dims:
        names = quantiles["feature"].to_numpy().tolist()
        name = names[0] if len(names) == 1 else readings.name
        if name not in names:
            raise InputError(f"feature: got {name!r}, expected one of the quantiles': {names}")
        quantiles = quantiles.sel(feature=name)
    table = quantiles.transpose("time", "quantile")
    levels, times = table["quantile"].to_numpy().astype(float).round(9), table["time"].to_index()
    if 0.5 not in levels:
        raise InputError(f"quantiles: got levels {levels.tolist()}, expected also 0.5")
    if not readings.index.isin(times).all():
        raise InputError("quantiles: got no values at some times of observed, expected all of them")
    lines = pd.DataFrame(table.to_numpy(), index=times, columns=levels.tolist())
    return lines.loc[readings.index]
