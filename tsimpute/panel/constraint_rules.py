"""Constraints from what a user writes: bounds, integers and order by column."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Sized
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from tsimpute.errors import InputError
from tsimpute.panel.cells import BoolArray, FloatArray
from tsimpute.panel.columns import label_of_column, place_of_column
from tsimpute.panel.constraints import Constraints

Names = tuple[Hashable, ...] | None


def read_constraints(
    bounds: Any, integers: Any, order: Any, feature_names: Names, n_features: int
) -> Constraints | None:
    """Constraints by column.

    Parameters
    ----------
    bounds : mapping of column to (low, high), or None
        Either end None for no bound.
    integers : sequence of columns, or None
    order : sequence of sequences of columns, or None
        Chains; in each, no column may exceed the next.
    feature_names : tuple of hashable or None
        The model's columns; None where they go by position.
    n_features : int
        K.

    Returns
    -------
    Constraints or None
        None if nothing is asked for.

    Raises
    ------
    InputError
        If a column is unknown, a pair is none, a chain has one column, or what is asked for
        cannot be.
    """
    if _is_empty(bounds) and _is_empty(integers) and _is_empty(order):
        return None
    low, high = _bounds({} if bounds is None else bounds, feature_names, n_features)
    whole = np.zeros(n_features, dtype=bool)
    for column in _columns(() if integers is None else integers, "integers", "('gcs',)"):
        whole[place_of_column(column, feature_names, n_features, "integers")] = True
    at_most = _order(() if order is None else order, feature_names, n_features)
    return Constraints(low, high, whole, at_most, feature_names)


def _is_empty(asked: Any) -> bool:
    return asked is None or (isinstance(asked, Sized) and len(asked) == 0)


def _bounds(bounds: Any, names: Names, n_features: int) -> tuple[FloatArray, FloatArray]:
    if not isinstance(bounds, Mapping):
        raise InputError(
            f"bounds={bounds!r} cannot be used; expected a dict of column to (low, high), for "
            f"example {{'spo2': (0, 100), 'pm25': (0, None)}}"
        )
    low, high = np.full(n_features, -np.inf), np.full(n_features, np.inf)
    for column, pair in bounds.items():
        place = place_of_column(column, names, n_features, "bounds")
        low[place], high[place] = _pair(column, pair)
    return low, high


def _pair(column: Hashable, pair: Any) -> tuple[float, float]:
    is_pair = isinstance(pair, list | tuple | np.ndarray) and len(pair) == 2
    ends = pair if is_pair else (np.nan, np.nan)
    low, high = (_end(end, empty) for end, empty in zip(ends, (-np.inf, np.inf), strict=True))
    if not low <= high or low == np.inf or high == -np.inf:
        raise InputError(
            f"bounds: column {column!r} has {pair!r}; expected (low, high) with low <= high, "
            f"None for no bound"
        )
    return low, high


def _end(end: Any, empty: float) -> float:
    """A number, or `empty` for None; infinities may come back from a file as text."""
    if end is None:
        return empty
    if isinstance(end, int | float | np.number) or end in ("inf", "-inf"):
        return float(end)
    return float("nan")


def _columns(columns: Any, parameter: str, example: str) -> Sequence[Hashable]:
    if isinstance(columns, str | Mapping) or not isinstance(
        columns, Sequence | np.ndarray | pd.Index
    ):
        raise InputError(
            f"{parameter}={columns!r} cannot be used; expected a tuple or list of columns, for "
            f"example {example}"
        )
    return list(columns)


def _order(order: Any, names: Names, n_features: int) -> BoolArray:
    """Which column may not exceed which, closed under transitivity."""
    at_most = np.eye(n_features, dtype=bool)
    for chain in _columns(order, "order", "(('low', 'high'),)"):
        columns = _columns(chain, "order holds a chain that is no tuple", "(('low', 'high'),)")
        places = [place_of_column(c, names, n_features, "order") for c in columns]
        if len(places) < 2 or len(set(places)) < len(places):
            raise InputError(
                f"order has the chain {chain!r}; expected at least two columns, each once"
            )
        for lower, upper in pairwise(places):
            at_most[lower, upper] = True
    for k in range(n_features):
        at_most |= at_most[:, k, None] & at_most[k]
    both = np.argwhere(np.triu(at_most & at_most.T, k=1))
    if len(both):
        one, other = (label_of_column(int(place), names) for place in both[0])
        raise InputError(
            f"order contradicts itself: column {one!r} stands both before and after {other!r}; "
            f"take one of the chains out"
        )
    return at_most
