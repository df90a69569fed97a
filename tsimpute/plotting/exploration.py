"""Pictures to choose settings by: quality against cost, and what each step is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from tsimpute.evaluation.pareto import pareto_front
from tsimpute.plotting.curves import plot_quality
from tsimpute.plotting.frame import (
    BLACK,
    BLUE,
    GREY,
    PathLike,
    figure_and_axes,
    finished,
    need_columns,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_speed_quality(
    table: pd.DataFrame, *, ax: Axes | None = None, path: PathLike | None = None
) -> Axes:
    """Draw CRPS against network evaluations a window, with the Pareto front marked.

    Every setting is a dot. A line joins those of a sampler and variance that no other of the two
    beats; the settings that none beats at all have a ring and "steps × samples".

    Parameters
    ----------
    table : DataFrame
        What ``EDDPMImputer.speed_quality`` returns: columns ``sampler``, ``variance``, ``steps``,
        ``n_samples``, ``nfe_per_window``, ``crps`` and ``pareto``.
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
    names = ("sampler", "variance", "steps", "n_samples", "nfe_per_window", "crps", "pareto")
    need_columns(table, names, "table")
    figure, ax = figure_and_axes(ax, (8.0, 5.0))
    methods = table.assign(method=_method_names(table))
    own = [
        rows[pareto_front(rows["nfe_per_window"], rows["crps"])]
        for _, rows in methods.groupby("method", sort=False)
    ]
    ax.plot(table["nfe_per_window"], table["crps"], ".", color=GREY, markersize=4, zorder=1)
    plot_quality(pd.concat(own), "nfe_per_window", "crps", "method", ax=ax)
    best = table[table["pareto"]].sort_values("nfe_per_window")
    best = best.drop_duplicates(["nfe_per_window", "crps"])  # one step is the same for many
    ring: dict[str, Any] = {"markersize": 13, "fillstyle": "none", "markeredgewidth": 1.6}
    ax.plot(best["nfe_per_window"], best["crps"], "o", color=BLACK, label="Pareto front", **ring)
    for row in best.itertuples():
        place = (row.nfe_per_window, row.crps)
        label = f"{row.steps} × {row.n_samples}" if row.sampler != "head" else "head"
        ax.annotate(label, place, (0, -14), textcoords="offset points", ha="center", fontsize=8)
    ax.margins(y=0.1)
    ax.set(xlabel="network evaluations a window (steps × samples)", ylabel="normalised CRPS")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    finished(figure, path)
    return ax


def _method_names(table: pd.DataFrame) -> pd.Series[str]:
    """Sampler, variance, and the start where it is not pure noise."""
    names = table["sampler"] + (", " + table["variance"]).replace(", ", "")
    if "start" not in table:
        return names
    return names + table["start"].map({"marginals": ", started at the marginals"}).fillna("")


def plot_step_importance(
    table: pd.DataFrame, *, ax: Axes | None = None, path: PathLike | None = None
) -> Axes:
    """Draw by how much the CRPS changes when each single step is left out.

    Parameters
    ----------
    table : DataFrame, indexed by the original step
        What ``EDDPMImputer.step_importance`` returns: column ``change``, relative to all steps.
    ax, path
        As in `plot_imputation`.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the column is missing.
    MissingExtraError
        If matplotlib is not installed.
    """
    need_columns(table, ("change",), "table")
    figure, ax = figure_and_axes(ax, (8.0, 3.6))
    ax.bar(table.index, 100 * table["change"], width=0.85, color=BLUE)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.set(xlabel="diffusion step that is left out", ylabel="change of CRPS, %")
    finished(figure, path)
    return ax
