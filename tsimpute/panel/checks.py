"""What a panel must hold before a model can be fitted on it, or asked for a forecast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsimpute.errors import InputError
from tsimpute.panel.core import Panel


def check_fit_panel(panel: Panel, window_steps: int) -> None:
    """Raise InputError if no model can be fitted on the panel.

    Parameters
    ----------
    panel : Panel
        The training data.
    window_steps : int
        Rows that the model sees at once.

    Raises
    ------
    InputError
        If there are fewer than 2 rows, no observed value at all, a feature observed in no
        series, a series of several without an observed value, or no series as long as a window.
    """
    check_learnable(panel)
    check_fills_window([panel], window_steps)


def check_learnable(panel: Panel) -> None:
    """Raise InputError if there is nothing in the panel to learn from, in windows of any length.

    Parameters
    ----------
    panel : Panel
        The training data.

    Raises
    ------
    InputError
        As `check_fit_panel`, but for series that are shorter than a window.
    """
    if _longest(panel) < 2:
        raise InputError(
            f"{panel.name}: got 1 sample (row) per series, expected at least 2 rows of a time "
            f"series to fit on"
        )
    _check_observed(panel)


def check_fills_window(panels: Sequence[Panel], window_steps: int) -> None:
    """Raise InputError if no series of any panel is as long as a window.

    Parameters
    ----------
    panels : sequence of Panel
        What one network is trained on; shorter series are padded.
    window_steps : int
        Rows that the model sees at once.

    Raises
    ------
    InputError
        Naming the panel with the longest series.
    """
    panel = max(panels, key=_longest)
    if _longest(panel) < window_steps:
        raise InputError(
            f"{panel.name}: the longest series has {_longest(panel)} rows, expected at least "
            f"window_steps={window_steps}; pass window_steps={_longest(panel)} or fewer"
        )


def _longest(panel: Panel) -> int:
    return max(len(series) for series in panel.values)


def _check_observed(panel: Panel) -> None:
    n_observed = np.array([observed.sum(axis=0) for observed in panel.observed_masks])
    if not n_observed.any():
        raise InputError(
            f"{panel.name} has no observed value (all {panel.n_cells} cells are NaN); expected "
            f"some to learn from"
        )
    empty = np.flatnonzero(~n_observed.any(axis=0))
    if len(empty):
        labels = [int(i) if panel.feature_names is None else panel.feature_names[i] for i in empty]
        raise InputError(
            f"{panel.name}: column{'s' if len(labels) > 1 else ''} "
            f"{', '.join(repr(label) for label in labels[:5])}{', …' if len(labels) > 5 else ''} "
            f"has no observed value in any series, expected at least one; drop it"
        )
    silent = np.flatnonzero(~n_observed.any(axis=1))
    if len(silent) and panel.series_ids is not None:
        raise InputError(
            f"{panel.name}: series {panel.series_ids[silent[0]]!r} has no observed value "
            f"({len(silent)} such series), expected at least one in each; drop it from the "
            f"training data"
        )


def check_forecast_panel(panel: Panel, window_steps: int) -> None:
    """Raise InputError if a series ends in more empty rows than a forecast can fill.

    Parameters
    ----------
    panel : Panel
        What is to be filled.
    window_steps : int
        Rows that the model sees at once, one of which must hold a reading.

    Raises
    ------
    InputError
        Naming the series, its last row with a reading, and the rows after it.
    """
    for i, observed in enumerate(panel.observed_masks):
        rows = np.flatnonzero(observed.any(axis=1))
        n_empty = len(observed) - (int(rows[-1]) + 1 if len(rows) else 0)
        if n_empty < window_steps:
            continue
        where = panel.name if panel.series_ids is None else f"series {panel.series_ids[i]!r}"
        last = f"row {str(panel.times[i][rows[-1]])!r}" if len(rows) else "no row at all"
        raise InputError(
            f"{where}: the last reading is in {last}, and {n_empty} rows follow; a forecast "
            f"reaches at most window_steps - 1 = {window_steps - 1} rows; drop rows at the end, "
            f"or fit with a larger window_steps"
        )
