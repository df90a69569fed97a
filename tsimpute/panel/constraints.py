"""What imputed values must obey: bounds, whole numbers, and an order among columns."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from tsimpute.errors import InputError
from tsimpute.panel.cells import BoolArray, FloatArray
from tsimpute.panel.columns import label_of_column
from tsimpute.panel.core import Panel


@dataclass(frozen=True, eq=False)
class Constraints:
    """Bounds, whole numbers and order, in the user's units.

    Attributes
    ----------
    low, high : ndarray of float64, shape (K,)
        Smallest and largest value that a column may be imputed with; infinite where free.
    whole : ndarray of bool, shape (K,)
        True where a column holds whole numbers.
    at_most : ndarray of bool, shape (K, K)
        True at (i, j) where column i may not exceed column j; also at (i, i), and closed: what
        holds through a third column is in here.
    feature_names : tuple of hashable or None
        For messages.
    """

    low: FloatArray
    high: FloatArray
    whole: BoolArray
    at_most: BoolArray
    feature_names: tuple[Hashable, ...] | None

    def __post_init__(self) -> None:
        low, high = self.reach
        empty = np.flatnonzero(low > high)
        if len(empty):
            label = label_of_column(int(empty[0]), self.feature_names)
            raise InputError(
                f"bounds, integers and order leave no value for column {label!r}: it would lie "
                f"between {low[empty[0]]:g} and {high[empty[0]]:g}; loosen one of them"
            )

    @property
    def reach(self) -> tuple[FloatArray, FloatArray]:
        """Bounds (K,) of each column that follow from all columns' bounds together."""
        low, high = self.low, self.high
        for _ in range(2):  # a whole number's bound moves those of its neighbours
            low = np.where(self.whole, np.ceil(low), low)
            high = np.where(self.whole, np.floor(high), high)
            low = np.where(self.at_most, low[:, None], -np.inf).max(axis=0)
            high = np.where(self.at_most, high[None], np.inf).min(axis=1)
        return low, high

    def apply(self, values: FloatArray, observed_mask: BoolArray) -> FloatArray:
        """Move imputed values to where they may lie, and no farther.

        Along an order, holes go to the midpoint between the largest of the columns below and
        the smallest of those above: the isotonic regression in the sup norm (Ubhaya 1974),
        which exists for every partial order; for two columns it is the least-squares one.
        Observed cells are walls. All steps are monotone in the values, so that quantiles of
        different levels do not cross, and values that obey already stay as they are.

        Where observed cells contradict the order, holes between them lie between the two; where
        they are outside the bounds, the bounds win. A whole number between observed cells that
        leave none is the whole number beside them.

        Parameters
        ----------
        values : ndarray of float64, shape (S, L, K)
            Samples or quantiles of one series, in the user's units, with the observed cells'
            own values in them.
        observed_mask : ndarray of bool, shape (L, K)
            True where a value is known; never changed.

        Returns
        -------
        ndarray of float64, shape (S, L, K)
        """
        rows = np.flatnonzero(~observed_mask.all(axis=1))
        given = observed_mask[rows]
        moved = self._settled(values[:, rows], given)
        if (self.at_most[self.whole] & ~self.whole).any() or (
            self.at_most[~self.whole] & self.whole
        ).any():  # what was rounded may have overtaken a neighbour that is not
            moved = self._settled(moved, given | self.whole)
        result = values.copy()
        result[:, rows] = moved
        return result

    def _settled(self, values: FloatArray, fixed: BoolArray) -> FloatArray:
        low, high = self._limits(values, fixed)
        moved = np.clip(self._ordered(values, fixed), low, high)
        moved = np.where(self.whole, np.rint(moved), moved)
        return np.where(fixed, values, moved)

    def _limits(self, values: FloatArray, fixed: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Where each cell may lie, by the bounds and by the fixed cells of its row."""
        least, most = self.reach
        low, high = np.full_like(values, -np.inf), np.full_like(values, np.inf)
        for i in self._related:
            wall = values[..., i, None]
            above, below = self.at_most[i], self.at_most[:, i]
            held = fixed[:, i, None]
            low[..., above] = np.maximum(low[..., above], np.where(held, wall, -np.inf))
            high[..., below] = np.minimum(high[..., below], np.where(held, wall, np.inf))
        low, high = np.minimum(low, high), np.maximum(low, high)
        low, high = np.clip(low, least, most), np.clip(high, least, most)
        low = np.where(self.whole, np.ceil(low), low)
        high = np.where(self.whole, np.floor(high), high)
        return np.minimum(low, high), np.maximum(low, high)

    def _ordered(self, values: FloatArray, fixed: BoolArray) -> FloatArray:
        """The free cells of each row in order; what stands in fixed cells means nothing."""
        result = values.copy()
        for i in self._related:
            below, above = self.at_most[:, i], self.at_most[i]
            lower = np.where(fixed[:, below], -np.inf, values[..., below]).max(axis=-1)
            upper = np.where(fixed[:, above], np.inf, values[..., above]).min(axis=-1)
            own = values[..., i]
            result[..., i] = np.maximum(lower, own) / 2 + np.minimum(upper, own) / 2
        return result

    @property
    def _related(self) -> list[int]:
        """Columns with an order to another one."""
        others = self.at_most & ~np.eye(len(self.at_most), dtype=bool)
        return [int(i) for i in np.flatnonzero(others.any(axis=0) | others.any(axis=1))]


def check_obeyed(panel: Panel, constraints: Constraints) -> None:
    """Check that observed values lie within the bounds and are whole where they should be.

    An order that they do not keep is no error: readings of two instruments are seldom that
    exact.

    Raises
    ------
    InputError
        Naming the column, the number of cells, and what they range over.
    """
    for k in range(panel.n_features):
        column = np.concatenate([series[:, k] for series in panel.values])
        seen = column[~np.isnan(column)]
        outside = seen[(seen < constraints.low[k]) | (seen > constraints.high[k])]
        label = label_of_column(k, panel.feature_names)
        if len(outside):
            raise InputError(
                f"{panel.name}: column {label!r} has {len(outside)} of {len(seen)} observed cells "
                f"outside its bounds {constraints.low[k]:g} to {constraints.high[k]:g} (they are "
                f"{outside.min():g} to {outside.max():g}); mark them as missing or widen the bounds"
            )
        broken = seen[seen != np.rint(seen)] if constraints.whole[k] else seen[:0]
        if len(broken):
            raise InputError(
                f"{panel.name}: column {label!r} is in integers, but {len(broken)} of {len(seen)} "
                f"observed cells are not whole, for example {broken[0]:g}; round them or take the "
                f"column out of integers"
            )
