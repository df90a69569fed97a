"""What all pictures share: colours, the figure, the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pandas as pd

from tsimpute.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, SKY, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
GREEN, PURPLE, BLACK, GREY = "#009E73", "#CC79A7", "#222222", "#BBBBBB"
PALE, ROSE = "#EEEEEE", "#F6D5C0"

PathLike = str | os.PathLike[str]


def figure_and_axes(axes: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The figure of the axes, or a new one without pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "plotting needs matplotlib, which is not installed; run: pip install 'tsimpute[plot]'"
        ) from error
    if axes is None:
        axes = Figure(figsize=size, layout="constrained").add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    figure: Any = axes.get_figure(root=True)
    return figure, axes


def finished(figure: Figure, path: PathLike | None) -> Figure:
    """Write the picture if asked, and return it."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def need_columns(table: pd.DataFrame, names: tuple[str, ...], what: str) -> None:
    """Raise InputError if a table lacks a column."""
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise InputError(f"{what}: got columns {list(table.columns)}, expected also {absent}")


def label_times(ax: Axes, index: pd.Index[Any]) -> None:
    """Short dates on the axis of time, or the name of what counts it."""
    if not isinstance(index, pd.DatetimeIndex):
        ax.set_xlabel("time" if index.name is None else str(index.name))
        return
    from matplotlib import dates

    library: Any = dates  # its classes have no types
    locator = library.AutoDateLocator(minticks=4, maxticks=9)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(library.ConciseDateFormatter(locator))
