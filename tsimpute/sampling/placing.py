"""Which windows answer for the holes of some series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tsimpute.model import FittedModel
from tsimpute.panel.modes import filling_starts

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Place = tuple[int, int]


def hole_windows(
    model: FittedModel,
    series: Sequence[FloatArray],
    overlap: float,
    wanted: Sequence[BoolArray] | None = None,
    mode: str = "offline",
) -> list[Place]:
    """(series, first row) of every window that fills a missing or a wanted cell, in order.

    Parameters
    ----------
    series : sequence of ndarray (n_times_i, K)
        NaN where missing.
    overlap : float
        Share of a window in common with the next; not read with mode "online".
    wanted : sequence of ndarray of bool (n_times_i, K), optional
        The missing cells that answers are wanted for; default: all.
    mode : {"offline", "online", "forecast"}
        See `filling_starts`.
    """
    steps, stride = model.window_steps, window_stride(model.window_steps, overlap)
    filled_rows = slice(steps - 1, steps) if mode == "online" else slice(0, steps)
    places = []
    for i, values in enumerate(series):
        cells = np.isnan(values) if wanted is None else wanted[i]
        rows = np.asarray(cells.any(axis=1))
        for start in filling_starts(len(values), steps, stride, mode).tolist():
            if rows[start + filled_rows.start : start + filled_rows.stop].any():
                places.append((i, start))
    return places


def window_stride(window_steps: int, overlap: float) -> int:
    """Rows from one window to the next."""
    return max(1, window_steps - int(overlap * window_steps))
