"""The frame that an imputer is asked about, and its answer back in the order of the request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from api.errors import Location, invalid
from api.registry import Loaded
from api.tables import Table, codes_of
from api.times import Times
from tsimpute.errors import InputError, TimeIndexError, TsimputeError
from tsimpute.panel.checks import check_forecast_panel
from tsimpute.panel.core import Panel

FloatArray = NDArray[np.float64]
WRONG = {
    "missing": "expected a time in every row",
    "duplicate": "expected each time once within a series",
    "order": "expected times to increase within each series",
    "step": "expected one regular step within and across series; add the rows that are missing, "
    "with null cells",
}


def to_frame(table: Table, model: Loaded) -> tuple[pd.DataFrame, int]:
    """The frame that the imputer is asked about, and its windows that hold a missing cell.

    Raises
    ------
    ServiceError
        422 if the imputer could not answer; times are named by their row.
    """
    order = [table.columns.index(name) for name in model.features]
    times = table.times if table.times is not None else _counted(table)
    index = times
    if table.series is not None:
        index = pd.MultiIndex.from_arrays([codes_of(table.series), times])
    frame = pd.DataFrame(table.values[:, order], index=index, columns=model.labels)
    try:
        panel = model.imputers[0].model_.read(frame)
    except TimeIndexError as error:  # its message holds times of the request
        raise invalid(_place(error, table), error.kind, WRONG[error.kind]) from None
    except TsimputeError:
        message = "expected times that increase, and numbers"
        raise invalid(("body",), "unusable", message) from None
    _check_forecast(panel, model)
    return frame, _hole_windows(panel.values, model)


def _place(error: TimeIndexError, table: Table) -> Location:
    row = error.row
    if table.series is not None:
        row = int(np.flatnonzero(codes_of(table.series) == error.series)[row])
    return table.time_place(row)


def _check_forecast(panel: Panel, model: Loaded) -> None:
    if model.imputers[0].mode != "forecast":
        return
    try:
        check_forecast_panel(panel, model.window_steps)
    except InputError:
        message = f"expected a reading in one of the last {model.window_steps} rows of each series"
        raise invalid(("body", "rows"), "too_far", message) from None


def _counted(table: Table) -> Times:
    """Rows of each series, counted from 0."""
    if table.series is None:
        return pd.RangeIndex(len(table.values))
    codes = codes_of(table.series)
    return pd.Index(pd.Series(codes).groupby(codes).cumcount().to_numpy())


def _hole_windows(series: Sequence[FloatArray], model: Loaded) -> int:
    from tsimpute.sampling.placing import hole_windows

    imputer = model.imputers[0]
    fitted, overlap = imputer.model_, imputer.overlap
    return len(hole_windows(fitted, list(series), overlap, mode=imputer.mode))


def in_sent_order(quantiles: FloatArray, table: Table, model: Loaded) -> FloatArray:
    """Quantiles (n_levels, n_rows, n_features) with the columns as they were sent."""
    back = [model.features.index(name) for name in table.columns]
    return np.ascontiguousarray(quantiles[:, :, back])
