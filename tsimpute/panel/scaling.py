"""Per-feature scaling, fitted on observed values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tsimpute.errors import InputError
from tsimpute.panel.cells import FloatArray
from tsimpute.panel.transforms import Transform, fit_transform, transform_from_dict

_ARRAYS = ("center", "scale", "low", "high")


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Scaled value = (transformed value - center) / scale, feature by feature.

    Attributes
    ----------
    center : ndarray of float64, shape (n_features,)
        Mean of the observed values, transformed where there is a transform.
    scale : ndarray of float64, shape (n_features,)
        Their standard deviation; 1 for a constant or never observed feature.
    low, high : ndarray of float64, shape (n_features,)
        Smallest and largest observed value in scaled units; 0 for a never observed feature.
    transforms : tuple of Transform or None
        One a feature, None where there is none; empty where there are none at all.
    """

    center: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray
    transforms: tuple[Transform | None, ...] = ()

    def __post_init__(self) -> None:
        shape = self.center.shape
        for name in _ARRAYS:
            array = getattr(self, name)
            if array.shape != shape or len(shape) != 1 or not np.isfinite(array).all():
                raise InputError(
                    f"FeatureScaler.{name}: got shape {array.shape}, expected finite "
                    f"numbers, one per feature, as in center {shape}"
                )
        if not (self.scale > 0).all():
            raise InputError(f"FeatureScaler.scale must be positive; got {self.scale}")
        if len(self.transforms) not in (0, *shape):
            raise InputError(
                f"FeatureScaler.transforms: got {len(self.transforms)}, expected one per feature"
            )

    @classmethod
    def fit(
        cls, values: Sequence[FloatArray], ddof: int = 0, kinds: Sequence[str] = ()
    ) -> FeatureScaler:
        """Fit on the observed cells of all series.

        Parameters
        ----------
        values : sequence of ndarray of float64, each of shape (n_times_i, n_features)
            NaN where missing.
        ddof : int, default=0
            Delta degrees of freedom of the standard deviation.
        kinds : sequence of {"standard", "log", "rank"}, default=()
            One a feature; empty: "standard" for all.

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
        columns = [np.concatenate([series[:, k] for series in values]) for k in range(widths.pop())]
        columns = [column[~np.isnan(column)] for column in columns]
        known = kinds or ["standard"] * len(columns)
        transforms = [fit_transform(kind, x) for kind, x in zip(known, columns, strict=True)]
        moments = [
            _column_moments(x if transform is None else transform.forward(x), ddof)
            for transform, x in zip(transforms, columns, strict=True)
        ]
        any_transform = any(transform is not None for transform in transforms)
        center, scale, low, high = np.array(moments, dtype=np.float64).reshape(-1, 4).T
        return cls(center, scale, low, high, tuple(transforms) if any_transform else ())

    def transform(self, values: ArrayLike) -> FloatArray:
        """Scale an array of shape (..., n_features); float64, NaN stays NaN."""
        result = np.array(values, dtype=np.float64)
        for k, transform in enumerate(self.transforms):
            if transform is not None:
                result[..., k] = transform.forward(result[..., k])
        return np.asarray((result - self.center) / self.scale)

    def inverse(self, scaled: ArrayLike) -> FloatArray:
        """Undo `transform` on an array of shape (..., n_features); float64."""
        result = np.asarray(scaled, dtype=np.float64) * self.scale + self.center
        for k, transform in enumerate(self.transforms):
            if transform is not None:
                result[..., k] = transform.backward(result[..., k])
        return np.asarray(result)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists of floats, and of transforms; they pass through JSON without any loss."""
        plain: dict[str, Any] = {name: getattr(self, name).tolist() for name in _ARRAYS}
        if self.transforms:
            plain["transforms"] = [None if t is None else t.to_dict() for t in self.transforms]
        return plain

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> FeatureScaler:
        """The scaler that `to_dict` described.

        Raises
        ------
        InputError
            If a field is absent, unknown, or not a list of finite floats.
        """
        if set(stored) - {"transforms"} != set(_ARRAYS):
            raise InputError(f"scaler: got fields {sorted(stored)}, expected {list(_ARRAYS)}")
        try:
            center, scale, low, high = (np.array(stored[x], dtype=np.float64) for x in _ARRAYS)
            transforms = tuple(map(transform_from_dict, stored.get("transforms", ())))
            return cls(center, scale, low, high, transforms)
        except (TypeError, ValueError) as error:
            raise InputError(f"scaler: expected lists of floats; {error}") from error


def _column_moments(observed: FloatArray, ddof: int) -> tuple[float, float, float, float]:
    """Center, scale, and the scaled extremes of one feature."""
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
