"""Lines of training and of quality."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

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

_LINE_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
LABEL_SHARE = 0.06  # of an axis that the label of a tick takes
FEW_EPOCHS = 20
_LINE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def plot_loss_curves(
    history: pd.DataFrame, *, ax: Axes | None = None, path: PathLike | None = None
) -> Axes:
    """Draw training and validation loss against the epoch.

    Parameters
    ----------
    history : DataFrame
        Columns ``epoch``, ``train_loss`` and ``validation_loss``; NaN where none was computed.
    ax, path
        As in `plot_imputation`.

    Raises
    ------
    InputError
        If a column is missing.
    MissingExtraError
        If matplotlib is not installed.
    """
    need_columns(history, ("epoch", "train_loss", "validation_loss"), "history")
    figure, ax = figure_and_axes(ax, (7.0, 3.8))
    curves = (
        ("train_loss", "training", BLUE, "-"),
        ("validation_loss", "validation", VERMILION, "--"),
    )
    for column, label, colour, style in curves:
        known = history[["epoch", column]].dropna()  # validation may be rarer than training
        marker = "o" if len(known) <= FEW_EPOCHS else None  # one epoch alone makes no line
        look: dict[str, Any] = {"color": colour, "linestyle": style, "linewidth": 1.8}
        ax.plot(known["epoch"], known[column], marker=marker, ms=4, label=label, **look)
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend(frameon=False)
    finished(figure, path)
    return ax


_MOST_INSIDE = 6  # settings whose names may stand among the curves


def plot_quality(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    *,
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Axes:
    """Draw a score against a cost, one line for each method, the cost on a logarithmic axis.

    Parameters
    ----------
    table : DataFrame
        One row for each method and cost.
    x, y, by : str
        Columns of the cost (positive, for example ``n_steps``), the score and the method.
    ax, path
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
    many = table[by].nunique() > _MOST_INSIDE
    figure, ax = figure_and_axes(ax, (9.6 if many else 7.0, 4.2))
    looks = zip(cycle(_LINE_COLOURS), cycle(_LINE_MARKERS), strict=False)
    for (method, group), (colour, marker) in zip(
        table.groupby(by, sort=False), looks, strict=False
    ):
        rows = group.sort_values(x)
        ax.plot(rows[x], rows[y], color=colour, marker=marker, linewidth=1.8, label=str(method))
    ax.set_xscale("log")
    ticks = _apart(np.unique(table[x]))
    if len(ticks) <= 10:
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.minorticks_off()
    ax.set(xlabel=x, ylabel=y)
    named, _ = ax.get_legend_handles_labels()
    legend = ax.legend(handles=named, frameon=False, title=by)
    if many:
        legend.set_loc("upper left")
        legend.set_bbox_to_anchor((1.01, 1.0), transform=ax.transAxes)
    finished(figure, path)
    return ax


def _apart(ticks: NDArray[np.floating]) -> list[float]:
    """Ticks, without those whose labels would lie on their left neighbour's on a log axis."""
    kept: list[float] = []
    for tick in ticks.tolist():
        if not kept or tick >= (ticks[-1] / ticks[0]) ** LABEL_SHARE * kept[-1]:
            kept.append(tick)
    return kept
