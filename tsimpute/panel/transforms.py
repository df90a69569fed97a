"""Monotone transforms that take the skew out of a column before it is standardised."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import ndtri

from tsimpute.errors import InputError
from tsimpute.panel.cells import FloatArray
from tsimpute.panel.columns import place_of_column

KINDS = ("standard", "log", "rank")
_MOST_KNOTS = 1_000
_LARGEST = float(np.finfo(np.float64).max)


class Transform(Protocol):
    """A strictly increasing function of one column and its inverse; NaN stays NaN."""

    def forward(self, values: FloatArray) -> FloatArray:
        """From the user's units."""

    def backward(self, values: FloatArray) -> FloatArray:
        """Undo `forward`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `transform_from_dict` reads."""


@dataclass(frozen=True)
class LogTransform:
    """log((x - offset) / unit), continued by its tangent below `knot`, so defined everywhere.

    Attributes
    ----------
    offset : float
        Where the logarithm would end; below every value that was learned from.
    knot : float
        Smallest value that was learned from.
    unit : float
        What x - offset is measured in.
    """

    offset: float
    knot: float
    unit: float

    @classmethod
    def fit(cls, observed: FloatArray) -> LogTransform:
        """Learn the offset from observed values.

        The logarithms of the 5 % quantile a and the 95 % quantile b lie equally far from that of
        the median c where (a - s)(b - s) = (c - s)², so at s = (ab - c²) / (a + b - 2c). The
        offset keeps a distance to the smallest value, and a column without a longer tail on the
        right gets one far away, where the logarithm is almost a line.
        """
        smallest, largest = float(observed.min()), float(observed.max())
        spread = largest - smallest
        if not spread > 0:
            return cls(smallest - 1.0, smallest, 1.0)
        a, c, b = ((np.quantile(observed, q) - smallest) / spread for q in (0.05, 0.5, 0.95))
        far, near = -10.0, -0.1 * max(c, 0.001)  # in spreads from the smallest value
        skew = a + b - 2 * c
        place = min((a * b - c * c) / skew, near) if skew > 0 else far
        offset = smallest + spread * max(place, far)
        if not offset < smallest:  # the spread is lost in the rounding of the level
            offset = float(np.nextafter(smallest, -np.inf))
        return cls(offset, smallest, spread)

    def forward(self, values: FloatArray) -> FloatArray:
        """From the user's units."""
        above = np.maximum(values, self.knot)
        line = np.minimum(values - self.knot, 0.0) / (self.knot - self.offset)
        return np.asarray(np.log((above - self.offset) / self.unit) + line)

    def backward(self, values: FloatArray) -> FloatArray:
        """Undo `forward`; what would overflow is the largest float."""
        bend = float(np.log((self.knot - self.offset) / self.unit))
        with np.errstate(over="ignore"):
            above = self.offset + self.unit * np.exp(np.maximum(values, bend))
        line = np.minimum(values - bend, 0.0) * (self.knot - self.offset)
        return np.where(values < bend, self.knot + line, np.minimum(above, _LARGEST))

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `transform_from_dict` reads."""
        return {"kind": "log", "offset": self.offset, "knot": self.knot, "unit": self.unit}


@dataclass(frozen=True, eq=False)
class RankTransform:
    """Normal scores: the standard normal quantile of a value's rank, linear between knots.

    Beyond the extremes it goes on with the mean slope of that half of the distribution.

    Attributes
    ----------
    knots : ndarray of float64, shape (n,)
        Observed values, strictly increasing; at most 1,000.
    scores : ndarray of float64, shape (n,)
        Where they go, strictly increasing.
    """

    knots: FloatArray
    scores: FloatArray

    @classmethod
    def fit(cls, observed: FloatArray) -> RankTransform:
        """Learn from observed values; ties get the score of their mean rank."""
        values, counts = np.unique(observed, return_counts=True)
        ranks = np.cumsum(counts) - counts / 2  # Hazen's plotting position, times n
        scores = ndtri(ranks / len(observed))
        if len(values) > _MOST_KNOTS:
            kept = np.unique(np.linspace(0, len(values) - 1, _MOST_KNOTS).round().astype(int))
            values, scores = values[kept], scores[kept]
        apart = np.append(True, np.diff(scores) > 0)  # of many ties, two may round to one score
        return cls(values[apart], scores[apart])

    def forward(self, values: FloatArray) -> FloatArray:
        """From the user's units."""
        return _piecewise(values, self.knots, self.scores, self._slopes)

    def backward(self, values: FloatArray) -> FloatArray:
        """Undo `forward`."""
        low, high = self._slopes
        return _piecewise(values, self.scores, self.knots, (1 / low, 1 / high))

    @property
    def _slopes(self) -> tuple[float, float]:
        """Scores per unit below the first knot and above the last."""
        x, y = self.knots, self.scores
        if len(x) == 1:
            return 1.0, 1.0
        median = float(np.interp(0.0, y, x))
        whole = float((y[-1] - y[0]) / (x[-1] - x[0]))
        low = float(-y[0] / (median - x[0])) if x[0] < median else whole
        high = float(y[-1] / (x[-1] - median)) if median < x[-1] else whole
        return low, high

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `transform_from_dict` reads."""
        return {"kind": "rank", "knots": self.knots.tolist(), "scores": self.scores.tolist()}


def read_kinds(
    scaling: Any, feature_names: Sequence[Hashable] | None, n_features: int
) -> tuple[str, ...]:
    """The kind of each column, from what a user writes: one name, or a dict by column.

    Raises
    ------
    InputError
        If a name or a column is unknown.
    """
    by_column = isinstance(scaling, Mapping)
    kinds = ["standard" if by_column else scaling] * n_features
    for column, kind in scaling.items() if by_column else ():
        kinds[place_of_column(column, feature_names, n_features, "scaling")] = kind
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise InputError(
            f"scaling={scaling!r} cannot be used: {unknown[0]!r} is unknown; expected one of "
            f"{', '.join(repr(kind) for kind in KINDS)}, or a dict of column to one of them"
        )
    return tuple(kinds)


def fit_transform(kind: str, observed: FloatArray) -> Transform | None:
    """The transform of a kind for a column's observed values; None for "standard"."""
    if kind == "standard" or len(observed) == 0:
        return None
    return LogTransform.fit(observed) if kind == "log" else RankTransform.fit(observed)


def transform_from_dict(stored: Mapping[str, Any] | None) -> Transform | None:
    """The transform that `to_dict` described; None for none.

    Raises
    ------
    InputError
        If it is of an unknown kind, or its numbers make no increasing function.
    """
    if stored is None:
        return None
    values = {name: value for name, value in stored.items() if name != "kind"}
    if stored.get("kind") == "log":
        log = LogTransform(**{name: float(value) for name, value in values.items()})
        if not (log.offset < log.knot and log.unit > 0 and np.isfinite(log.unit)):
            raise InputError(f"scaler: {stored} is no logarithm; expected offset < knot, unit > 0")
        return log
    if stored.get("kind") == "rank":
        rank = RankTransform(**{name: np.array(v, dtype=np.float64) for name, v in values.items()})
        both = (rank.knots, rank.scores)
        good = rank.knots.shape == rank.scores.shape and len(rank.knots) > 0
        if not good or not all(np.isfinite(p).all() and (np.diff(p) > 0).all() for p in both):
            raise InputError("scaler: got knots and scores that are not increasing numbers")
        return rank
    raise InputError(f"scaler: got a transform {stored.get('kind')!r}; expected 'log' or 'rank'")


def _piecewise(
    values: FloatArray, x: FloatArray, y: FloatArray, slopes: tuple[float, float]
) -> FloatArray:
    """Linear interpolation, with slopes below the first and above the last knot."""
    inside = np.interp(values, x, y)
    below, above = np.minimum(values - x[0], 0.0), np.maximum(values - x[-1], 0.0)
    return np.asarray(inside + below * slopes[0] + above * slopes[1])
