"""Picture of how wide the network is at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from tsimpute.plotting.frame import BLUE, GREY, PathLike, figure_and_axes, finished, need_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EIGHTHS = 8


def plot_step_widths(
    step_schedule: pd.DataFrame, *, axes: Axes | None = None, path: PathLike | None = None
) -> Figure:
    """Draw the width of the network at every kept diffusion step.

    Parameters
    ----------
    step_schedule : DataFrame, indexed by the original step
        Columns ``kept`` (bool) and ``width`` (eighths of the channels, 0 where not kept).
    axes, path
        As in `plot_imputation`.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If a column is missing.
    MissingExtraError
        If matplotlib is not installed.
    """
    need_columns(step_schedule, ("kept", "width"), "step_schedule")
    kept = step_schedule[step_schedule["kept"].astype(bool)]
    figure, axes = figure_and_axes(axes, (8.0, 3.2))
    axes.bar(kept.index, kept["width"], width=0.85, color=BLUE)
    axes.axhline(EIGHTHS, color=GREY, linewidth=1.2, zorder=0)
    for step, width in kept["width"].items():
        axes.annotate(str(width), (step, width), ha="center", va="bottom", fontsize=9)
    n_steps = len(step_schedule)
    axes.set(xlabel="diffusion step", ylabel="width, eighths of the channels")
    axes.set(xlim=(-0.6, n_steps - 0.4), ylim=(0, EIGHTHS + 0.8), yticks=range(0, EIGHTHS + 1, 2))
    return finished(figure, path)
