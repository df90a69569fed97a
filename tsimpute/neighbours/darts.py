"""Darts: series to a table, and filled or sampled series back (extra ``darts``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError, InputTypeError

if TYPE_CHECKING:
    from darts import TimeSeries

    from tsimpute.imputer import EDDPMImputer

Series: TypeAlias = "TimeSeries | Sequence[TimeSeries]"


def to_frame(series: Series) -> pd.DataFrame:
    """A table that `EDDPMImputer.fit` takes.

    Parameters
    ----------
    series : TimeSeries or sequence of TimeSeries
        Deterministic; NaN is missing. Several need the same components and frequency, not the
        same length.

    Returns
    -------
    DataFrame
        A column for each component, indexed by time; of several, by (series, time), where a
        series is called by its place.

    Raises
    ------
    InputTypeError
        If something else is given.
    InputError
        If there is no series, one holds several samples, or they differ in their components.
    """
    if _is_series(series):
        return _table(series, 0)
    several = _checked(series)
    tables = [_table(one, i) for i, one in enumerate(several)]
    for i, table in enumerate(tables):
        if list(table) != list(tables[0]):
            raise InputError(
                f"series {i} has the components {list(table)}, expected those of the first, "
                f"{list(tables[0])}"
            )
    return pd.concat(tables, keys=range(len(tables)), names=["series", "time"])


def impute(
    imputer: EDDPMImputer,
    series: Series,
    n_samples: int | None = None,
    *,
    random_state: Any = None,
) -> Any:
    """Fill the holes of Darts series.

    Parameters
    ----------
    imputer : EDDPMImputer
        Fitted, for example on ``to_frame(series)``.
    series : TimeSeries or sequence of TimeSeries
        As in `to_frame`.
    n_samples : int, optional
        None fills with the median; a number gives stochastic series of that many samples, whose
        quantiles and plots are Darts' own.
    random_state : int, RandomState or None, optional
        Of the samples, as in `EDDPMImputer.sample`.

    Returns
    -------
    TimeSeries or list of TimeSeries
        As was given, with the same times, components, static covariates and hierarchy.

    Raises
    ------
    NotFittedError
        Before `fit`.
    InputTypeError, InputError
        As in `to_frame` and in `EDDPMImputer.transform`.
    """
    table = to_frame(series)
    several = [series] if _is_series(series) else _checked(series)
    if n_samples is None:
        filled = imputer.transform(table).to_numpy()[:, :, None]
        cells = np.split(filled, np.cumsum([len(one) for one in several])[:-1])
    else:
        drawn = imputer.sample(table, n_samples, random_state=random_state)
        cells = [_samples_of(drawn, one, i) for i, one in enumerate(several)]
    done = [one.with_values(values) for one, values in zip(several, cells, strict=True)]
    return done[0] if _is_series(series) else done


def _samples_of(drawn: Any, one: Any, i: int) -> NDArray[np.float64]:
    """Samples (n_times, n_components, n_samples) of the i-th series."""
    if "series" in drawn.dims:  # of unequal length: on the union of all times
        drawn = drawn.isel(series=i).sel(time=one.time_index)
    cells: NDArray[np.float64] = drawn.transpose("time", "feature", "sample").to_numpy()
    return cells


def _is_series(data: Any) -> bool:
    return hasattr(data, "with_values") and hasattr(data, "to_dataframe")


def _checked(series: Any) -> list[Any]:
    if not isinstance(series, list | tuple) or not all(map(_is_series, series)):
        raise InputTypeError(
            f"series: got {type(series).__name__}, expected a Darts TimeSeries or a list of them"
        )
    if not series:
        raise InputError("series: got an empty list, expected one TimeSeries or more")
    return list(series)


def _table(one: Any, i: int) -> pd.DataFrame:
    if one.n_samples != 1:
        raise InputError(
            f"series {i} holds {one.n_samples} samples of each value, expected a deterministic "
            f"series; take for example series.median()"
        )
    table: pd.DataFrame = one.to_dataframe()
    return table
