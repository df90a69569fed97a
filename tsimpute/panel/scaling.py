"""Per-feature standardisation, fitted on observed values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tsimpute.errors import InputError
from tsimpute.panel.cells import FloatArray


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Scaled value = (value - center) / scale, feature by feature.

    Attributes
    ----------
    center : ndarray of float64, shape (n_features,)
        Mean of the observed values, in the feature's own unit.
    scale : ndarray of float64, shape (n_features,)
        Their standard deviation; 1 for a constant or never observed feature.
    low, high : ndarray of float64, shape (n_features,)
        Smallest and largest observed value in scaled units; 0 for a never observed feature.
    """

    center: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray

    def __post_init__(self) -> None:
        shape = self.center.shape
        for item in fields(self):
            array = getattr(self, item.name)
            if array.shape != shape or len(shape) != 1 or not np.isfinite(array).all():
                raise InputError(
                    f"FeatureScaler.{item.name}: got shape {array.shape}, expected finite "
                    f"numbers, one per feature, as in center {shape}"
                )
        if not (self.scale > 0).all():
            raise InputError(f"FeatureScaler.scale must be positive; got {self.scale}")

    @classmethod
    def fit(cls, values: Sequence[FloatArray], ddof: int = 0) -> FeatureScaler:
        """Fit on the observed cells of all series.

        Parameters
        ----------
        values : sequence of ndarray of float64, each of shape (n_times_i, n_features)
            NaN where missing.
        ddof : int, default=0
            Delta degrees of freedom of the standard deviation.

        Returns
        -------
        FeatureScaler

        Raises
        ------
        InputError
            If there is no series, or they differ in their number of features.
        """
        widths = {np.shape(series)[-1] for series in values}
        if len(widths) != 1:
            raise InputError(
                f"values: got series of {sorted(widths)} features, expected at least one series "
                f"and the same number of features in all"
            )
        columns = [
            _column_moments(np.concatenate([series[:, k] for series in values]), ddof)
            for k in range(widths.pop())
        ]
        return cls(*np.array(columns, dtype=np.float64).reshape(-1, 4).T)

    def transform(self, values: ArrayLike) -> FloatArray:
        """Scale an array of shape (..., n_features); float64, NaN stays NaN."""
        return (np.asarray(values, dtype=np.float64) - self.center) / self.scale

    def inverse(self, scaled: ArrayLike) -> FloatArray:
        """Undo `transform` on an array of shape (..., n_features); float64."""
        return np.asarray(scaled, dtype=np.float64) * self.scale + self.center

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists of floats; they pass through JSON without any loss."""
        return {item.name: getattr(self, item.name).tolist() for item in fields(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> FeatureScaler:
        """The scaler that `to_dict` described.

        Raises
        ------
        InputError
            If a field is absent, unknown, or not a list of finite floats.
        """
        expected = [item.name for item in fields(cls)]
        if sorted(stored) != sorted(expected):
            raise InputError(f"scaler: got fields {sorted(stored)}, expected {expected}")
        try:
            return cls(**{key: np.array(stored[key], dtype=np.float64) for key in expected})
        except (TypeError, ValueError) as error:
            raise InputError(f"scaler: expected lists of floats; {error}") from error


def _column_moments(column: FloatArray, ddof: int) -> tuple[float, float, float, float]:
    """Center, scale, and the scaled extremes of one feature."""
    observed = column[~np.isnan(column)]
    if len(observed) == 0:
        return 0.0, 1.0, 0.0, 0.0
    smallest, largest = float(observed.min()), float(observed.max())
    if smallest == largest:  # by comparison: the rounded mean may be off by an ulp
        return smallest, 1.0, 0.0, 0.0
    # Work in units of the largest magnitude, so that squares neither overflow nor vanish.
    unit = max(abs(smallest), abs(largest))
    mean = float(np.mean(observed / unit))
    spread = float(np.sum((observed / unit - mean) ** 2))
    n_free = len(observed) - ddof
    center = mean * unit
    scale = float(np.sqrt(spread / n_free)) * unit if n_free > 0 else 1.0
    if not scale > 0:
        return center, 1.0, smallest - center, largest - center
    return center, scale, (smallest - center) / scale, (largest - center) / scale
