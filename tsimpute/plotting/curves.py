"""Lines of training and of quality."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.plotting.frame import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    PathLike,
    figure_and_axes,
    finished,
    need_columns,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
TICK_RATIO = 1.25
_LINE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def plot_loss_curves(
    history: pd.DataFrame, *, axes: Axes | None = None, path: PathLike | None = None
) -> Figure:
    """Draw training and validation loss against the epoch.

    Parameters
    ----------
    history : DataFrame
        Columns ``epoch``, ``train_loss`` and ``validation_loss``; NaN where none was computed.
    axes, path
        As in `plot_imputation`.

    Raises
    ------
    InputError
        If a column is missing.
    MissingExtraError
        If matplotlib is not installed.
    """
    need_columns(history, ("epoch", "train_loss", "validation_loss"), "history")
    figure, axes = figure_and_axes(axes, (7.0, 3.8))
    curves = (
        ("train_loss", "training", BLUE, "-"),
        ("validation_loss", "validation", VERMILION, "--"),
    )
    for column, label, colour, style in curves:
        known = history[["epoch", column]].dropna()  # validation may be rarer than training
        axes.plot(
            known["epoch"], known[column], color=colour, linestyle=style, linewidth=1.8, label=label
        )
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend(frameon=False)
    return finished(figure, path)


def plot_quality(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    *,
    axes: Axes | None = None,
    path: PathLike | None = None,
) -> Figure:
    """Draw a score against a cost, one line for each method, the cost on a logarithmic axis.

    Parameters
    ----------
    table : DataFrame
        One row for each method and cost.
    x, y, by : str
        Columns of the cost (positive, for example ``n_steps``), the score and the method.
    axes, path
        As in `plot_imputation`.

    Raises
    ------
    InputError
        If a column is missing or a cost is not positive.
    MissingExtraError
        If matplotlib is not installed.
    """
    need_columns(table, (x, y, by), "table")
    if not (table[x] > 0).all():
        raise InputError(f"table: got {table[x].min()} in column {x!r}, expected numbers above 0")
    figure, axes = figure_and_axes(axes, (7.0, 4.2))
    looks = zip(cycle(_LINE_COLOURS), cycle(_LINE_MARKERS), strict=False)
    for (method, group), (colour, marker) in zip(
        table.groupby(by, sort=False), looks, strict=False
    ):
        rows = group.sort_values(x)
        axes.plot(rows[x], rows[y], color=colour, marker=marker, linewidth=1.8, label=str(method))
    axes.set_xscale("log")
    ticks = _apart(np.unique(table[x]))
    if len(ticks) <= 10:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.minorticks_off()
    axes.set(xlabel=x, ylabel=y)
    axes.legend(frameon=False, title=by)
    return finished(figure, path)


def _apart(ticks: NDArray[np.floating]) -> list[float]:
    """Ticks, without those whose labels would lie on their left neighbour's on a log axis."""
    kept: list[float] = []
    for tick in ticks.tolist():
        if not kept or tick >= TICK_RATIO * kept[-1]:
            kept.append(tick)
    return kept
