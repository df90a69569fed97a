"""Picture of how wide the network is at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from tsimpute.plotting.frame import BLUE, GREY, PathLike, figure_and_axes, finished, need_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EIGHTHS = 8


def plot_step_widths(
    step_schedule: pd.DataFrame, *, ax: Axes | None = None, path: PathLike | None = None
) -> Axes:
    """Draw the width of the network at every kept diffusion step.

    Parameters
    ----------
    step_schedule : DataFrame, indexed by the original step
        Columns ``kept`` (bool) and ``width`` (eighths of the channels, 0 where not kept).
    ax, path
        As in `plot_imputation`.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If a column is missing.
    MissingExtraError
        If matplotlib is not installed.
    """
    need_columns(step_schedule, ("kept", "width"), "step_schedule")
    kept = step_schedule[step_schedule["kept"].astype(bool)]
    figure, ax = figure_and_axes(ax, (8.0, 3.2))
    ax.bar(kept.index, kept["width"], width=0.85, color=BLUE)
    ax.axhline(EIGHTHS, color=GREY, linewidth=1.2, zorder=0)
    for step, width in kept["width"].items():
        ax.annotate(str(width), (step, width), ha="center", va="bottom", fontsize=9)
    n_steps = len(step_schedule)
    ax.set(xlabel="diffusion step", ylabel="width, eighths of the channels")
    ax.set(xlim=(-0.6, n_steps - 0.4), ylim=(0, EIGHTHS + 0.8), yticks=range(0, EIGHTHS + 1, 2))
    finished(figure, path)
    return ax
