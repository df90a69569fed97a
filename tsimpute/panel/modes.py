"""Which windows fill a series: those around a hole, up to it, or up to the end."""

from __future__ import annotations

import numpy as np

from tsimpute.panel.windows import IntArray, window_starts

MODES = ("offline", "online", "forecast")


def filling_starts(n_times: int, window_steps: int, stride: int, mode: str) -> IntArray:
    """First rows of the windows that fill a series.

    Parameters
    ----------
    n_times, window_steps : int
        Rows of the series and of a window.
    stride : int
        Rows from one window to the next; not read with mode "online".
    mode : {"offline", "online", "forecast"}
        "offline": windows from the first row on; the last one may run past the end. "forecast":
        the same grid, shifted so that the last window ends at the last row. "online": one
        window for each row, which ends there and fills nothing else; the first ones begin
        before the series.

    Returns
    -------
    ndarray of int64, shape (n,)
        Increasing.
    """
    if mode == "online":
        return np.arange(n_times, dtype=np.int64) - window_steps + 1
    offset = max(0, n_times - window_steps) % stride if mode == "forecast" else 0
    return window_starts(n_times, window_steps, stride, offset)
