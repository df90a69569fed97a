"""Pictures of the learned diffusion steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tsimpute.diffusion.step_mask import BoolArray, FloatArray, StepMaskLearner
from tsimpute.errors import InputError
from tsimpute.plotting.frame import (
    BLUE,
    GREY,
    VERMILION,
    PathLike,
    figure_and_axes,
    finished,
    need_columns,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_step_schedule(
    step_schedule: pd.DataFrame, *, ax: Axes | None = None, path: PathLike | None = None
) -> Axes:
    """Draw the keep probability of every diffusion step, the kept steps, and what signal is left.

    Where the kept steps are not those of the largest keep probabilities, both sides are marked: the
    guarded rule ends with an exchange by measured error, and `respace` goes by other rules.

    Parameters
    ----------
    step_schedule : DataFrame, indexed by the original step
        Columns ``keep_prob`` (0 to 1), ``kept`` (bool) and ``alpha_bar`` (the share of signal
        variance left at the step, 0 to 1; NaN where it has none), drawn on a logarithmic axis.
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
    need_columns(step_schedule, ("keep_prob", "kept", "alpha_bar"), "step_schedule")
    steps, kept = step_schedule.index.to_numpy(), step_schedule["kept"].to_numpy(dtype=bool)
    keep_prob = step_schedule["keep_prob"].to_numpy(dtype=float)
    figure, ax = figure_and_axes(ax, (8.0, 3.8))
    gained, lost = _against_probability(keep_prob, kept)
    dropped = ~kept & ~lost
    ax.bar(steps[dropped], keep_prob[dropped], width=0.85, color=GREY, label="dropped step")
    ax.bar(steps[kept], keep_prob[kept], width=0.85, color=BLUE, label=f"kept step ({kept.sum()})")
    # A kept step stays visible also where its learned probability is small.
    chosen = kept & ~gained
    ax.plot(steps[chosen], keep_prob[chosen], "v", color=BLUE, markersize=7, clip_on=False)
    if gained.any():
        look: dict[str, Any] = {"color": BLUE, "fillstyle": "none", "clip_on": False}
        ax.plot(
            steps[gained], keep_prob[gained], "v", ms=8, mew=1.6, label="kept, less likely", **look
        )
        look = {"facecolor": "white", "edgecolor": GREY, "hatch": "////"}
        ax.bar(steps[lost], keep_prob[lost], width=0.85, label="dropped, likelier", **look)
    ax.set(xlabel="diffusion step", ylabel="keep probability", ylim=(0, 1.03))
    signal = ax.twinx()
    left = step_schedule["alpha_bar"].dropna()
    signal.plot(left.index, left, color=VERMILION, linewidth=1.8, label="signal")
    signal.set_yscale("log")
    signal.set_ylabel("signal left, alpha_bar (log)", color=VERMILION)
    signal.tick_params(axis="y", colors=VERMILION)
    handles = [*ax.get_legend_handles_labels()[0], *signal.get_legend_handles_labels()[0]]
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, frameon=False
    )
    signal.spines[["top", "left"]].set_visible(False)
    finished(figure, path)
    return ax


def _against_probability(keep_prob: FloatArray, kept: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Steps kept that others were likelier than, and as many dropped that were the likeliest."""
    likeliest = StepMaskLearner(keep_prob, learning_rate=0.0).best_mask(int(kept.sum()))
    likeliest |= kept & (keep_prob >= keep_prob[likeliest].min(initial=1.0))  # ties
    gained = kept & ~likeliest
    order = np.argsort(np.where(kept, np.inf, -keep_prob), kind="stable")
    lost = np.zeros_like(kept)
    lost[order[: gained.sum()]] = True
    return gained, lost


def plot_keep_prob_history(
    history: ArrayLike,
    records: ArrayLike | None = None,
    *,
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Axes:
    """Draw how the keep probabilities of the steps change over training, as a heat map.

    Parameters
    ----------
    history : array_like of float, shape (n_records, n_steps)
        Keep probabilities, 0 to 1.
    records : array_like of float, shape (n_records,), optional
        Ascending epochs of the records; by default 0, 1, 2, ….
    ax, path
        As in `plot_imputation`.

    Raises
    ------
    InputError
        If the shapes do not fit.
    MissingExtraError
        If matplotlib is not installed.
    """
    keep_prob = np.asarray(history, dtype=float)
    if keep_prob.ndim != 2:
        raise InputError(f"history: got shape {keep_prob.shape}, expected (n_records, n_steps)")
    epochs = np.arange(len(keep_prob)) if records is None else np.asarray(records, dtype=float)
    if epochs.shape != keep_prob.shape[:1]:
        raise InputError(f"records: got shape {epochs.shape}, expected {keep_prob.shape[:1]}")
    figure, ax = figure_and_axes(ax, (8.0, 4.0))
    steps = np.arange(keep_prob.shape[1])
    image = ax.pcolormesh(
        epochs, steps, keep_prob.T, cmap="cividis", vmin=0, vmax=1, shading="nearest"
    )
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="epoch" if records is not None else "record", ylabel="diffusion step")
    figure.colorbar(image, ax=ax, label="keep probability", pad=0.02)
    finished(figure, path)
    return ax
