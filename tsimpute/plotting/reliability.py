"""Picture of how often intervals hold the truth, against how often they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from tsimpute.errors import InputError
from tsimpute.plotting.frame import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    PathLike,
    figure_and_axes,
    finished,
    need_columns,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {False: ("as predicted", ORANGE, "s"), True: ("calibrated", BLUE, "o")}


def plot_reliability(
    report: pd.DataFrame, *, ax: Axes | None = None, path: PathLike | None = None
) -> Axes:
    """Draw actual against nominal coverage; on the diagonal, intervals are as true as they say.

    A line is drawn over all cells, as predicted and, where the report has it, calibrated; the
    thin grey ones behind are the features, calibrated where that is known.

    Parameters
    ----------
    report : DataFrame
        What ``EDDPMImputer.calibration_report`` returns: columns ``by``, ``group``, ``level``,
        ``calibrated`` and ``coverage``.
    ax : Axes, optional
        Where to draw; by default on a new figure of its own.
    path : path-like, optional
        Also write the picture there.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If a column is missing, or there is no row over all cells.
    MissingExtraError
        If matplotlib is not installed.
    """
    need_columns(report, ("by", "group", "level", "calibrated", "coverage"), "report")
    overall = report[report["by"] == "all"]
    if overall.empty:
        raise InputError("report: got no row with by='all', expected one for each level")
    figure, ax = figure_and_axes(ax, (5.2, 5.0))
    ax.plot([0, 1], [0, 1], color=BLACK, linewidth=0.8, linestyle=":")
    features = report[(report["by"] == "feature") & (report["calibrated"] == _last(report))]
    for number, (_, rows) in enumerate(features.groupby("group", sort=False)):
        label = "features" if number == 0 else None
        line = rows.sort_values("level")
        ax.plot(line["level"], line["coverage"], color=GREY, linewidth=0.7, label=label)
    for kind, (label, colour, marker) in _LOOKS.items():
        line = overall[overall["calibrated"] == kind].sort_values("level")
        if len(line):
            (drawn,) = ax.plot(line["level"], line["coverage"], color=colour, linewidth=1.8)
            drawn.set(marker=marker, label=label)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set(xlabel="nominal coverage of the interval", ylabel="hidden cells inside")
    ax.legend(frameon=False)
    finished(figure, path)
    return ax


def _last(report: pd.DataFrame) -> bool:
    """Whether the report has calibrated intervals."""
    return bool(report["calibrated"].any())
