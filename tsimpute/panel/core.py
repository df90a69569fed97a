"""A panel: one or many series as float64 arrays, and the way back to the user's container."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.panel.cells import BoolArray, FloatArray
from tsimpute.panel.columns import model_column_order

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Layout:
    """How labelled outputs of a panel are called.

    Attributes
    ----------
    series_dim, time_dim, feature_dim : hashable
        Dimension names.
    has_series_labels, has_time_labels : bool
        Whether the input carried coordinates for the dimension.
    name : hashable or None
        Name of the array.
    """

    series_dim: Hashable = "series"
    time_dim: Hashable = "time"
    feature_dim: Hashable = "feature"
    has_series_labels: bool = True
    has_time_labels: bool = True
    name: Hashable | None = None


class Source(Protocol):
    """The user's own container, kept so that a filled one of the same kind can be made."""

    @property
    def layout(self) -> Layout:
        """How labelled outputs are called."""

    def rebuild(self, filled: Sequence[FloatArray], missing: Sequence[BoolArray]) -> Any:
        """A container like the user's, holes filled; arrays are in the user's column order."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One or many regular time series over the same features.

    Attributes
    ----------
    values : tuple of ndarray of float64, each of shape (n_times_i, n_features)
        One array per series, NaN where missing, columns in the order of `feature_names`.
    feature_names : tuple of hashable or None
        Column labels; None for plain arrays.
    series_ids : tuple of hashable or None
        One per series; None for a single unnamed series, whose outputs have no series dimension.
    times : tuple of pandas.Index, each of length n_times_i
        Time labels of every series.
    source : Source
        The user's container.
    user_order : ndarray of int64, shape (n_features + n_covariates,), or None
        For every column of the user, its place in `values` and then `covariates`; None where
        the order is the same.
    name : str
        What errors call the data.
    covariates : tuple of ndarray of float64, each of shape (n_times_i, n_covariates), or None
        Columns that were set apart: outputs hold them as they are.
    covariate_names : tuple of hashable or None
    """

    values: tuple[FloatArray, ...]
    feature_names: tuple[Hashable, ...] | None
    series_ids: tuple[Hashable, ...] | None
    times: tuple[pd.Index[Any], ...]
    source: Source = field(repr=False)
    user_order: NDArray[np.int64] | None = None
    name: str = "X"
    covariates: tuple[FloatArray, ...] | None = None
    covariate_names: tuple[Hashable, ...] | None = None

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.values)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.values[0].shape[1])

    @property
    def n_cells(self) -> int:
        """Number of cells, missing ones included."""
        return sum(series.size for series in self.values)

    @property
    def observed_masks(self) -> tuple[BoolArray, ...]:
        """One bool array (n_times_i, n_features) per series, True where a value is known."""
        return tuple(~np.isnan(series) for series in self.values)

    def aligned_to(
        self,
        feature_names: Sequence[Hashable] | None,
        n_features: int | None = None,
        *,
        estimator_name: str = "EDDPMImputer",
    ) -> Panel:
        """The same panel with its features in a model's order.

        Parameters
        ----------
        feature_names : sequence of hashable or None
            The model's features in its order; None if the model was fitted on plain arrays.
        n_features : int or None, default=None
            The model's number of features; None takes the length of `feature_names`.
        estimator_name : str, default="EDDPMImputer"
            What the error about the number of features calls the model.

        Returns
        -------
        Panel
            `values` and `feature_names` are reordered; `fill` and `label` still give the
            user's own order. Where either side has no names only the count is checked.

        Raises
        ------
        InputError
            If features are missing, unknown or of another number.
        """
        order = model_column_order(self, feature_names, n_features, estimator_name)
        if order is None or np.array_equal(order, np.arange(self.n_features)):
            return self
        names = self.feature_names
        earlier = np.arange(self.n_features) if self.user_order is None else self.user_order
        return replace(
            self,
            values=tuple(series[:, order] for series in self.values),
            feature_names=None if names is None else tuple(names[i] for i in order),
            user_order=np.argsort(order)[earlier],
        )

    def with_covariates(self, places: Sequence[int]) -> Panel:
        """The same panel with the columns at some places set apart as covariates.

        `values`, `feature_names` and `n_features` are then those of the other columns; `fill`
        and `label` still give all of the user's columns.
        """
        apart = list(places)
        kept = [i for i in range(self.n_features) if i not in set(apart)]
        names = self.feature_names
        earlier = np.arange(self.n_features) if self.user_order is None else self.user_order
        return replace(
            self,
            values=tuple(series[:, kept] for series in self.values),
            feature_names=None if names is None else tuple(names[i] for i in kept),
            user_order=np.argsort(kept + apart)[earlier],
            covariates=tuple(series[:, apart] for series in self.values),
            covariate_names=None if names is None else tuple(names[i] for i in apart),
        )

    def stretches(self, places: Sequence[tuple[int, slice]]) -> Panel:
        """Some rows of some series, each stretch as a series of its own; not to be filled."""
        return replace(
            self,
            values=tuple(self.values[i][rows] for i, rows in places),
            times=tuple(self.times[i][rows] for i, rows in places),
            series_ids=tuple(range(len(places))),
            covariates=self.covariates and tuple(self.covariates[i][rows] for i, rows in places),
        )

    def fill(self, filled: Sequence[NDArray[np.floating[Any]]]) -> Any:
        """The user's container with its missing cells filled.

        Parameters
        ----------
        filled : sequence of ndarray, each of shape (n_times_i, n_features)
            In the panel's column order; read only where the input is missing.

        Returns
        -------
        DataFrame, ndarray, DataArray or Dataset
            Of the kind of the input: same index, columns, dtypes and attributes. Observed cells
            are the input's own bits. A nullable integer column with holes becomes a nullable
            float one; any other column keeps its dtype. The input is not modified.

        Raises
        ------
        InputError
            If the number of arrays or a shape is wrong.
        """
        self._check_shapes([np.shape(array) for array in filled], [s.shape for s in self.values])
        return self.source.rebuild(
            self._to_user_order([np.asarray(array, dtype=np.float64) for array in filled]),
            [np.isnan(series) for series in self._to_user_order(self.values)],
        )

    def label(
        self, arrays: Sequence[NDArray[Any]], dim: str, coords: Sequence[Any] | None = None
    ) -> xr.DataArray:
        """Several values per cell (samples, quantiles) as one labelled array.

        Parameters
        ----------
        arrays : sequence of ndarray, each of shape (n, n_times_i, n_features)
            One per series, in the panel's column order.
        dim : str
            Name of the first dimension, for example "sample".
        coords : sequence of length n or None, default=None
            Labels along `dim`.

        Returns
        -------
        xarray.DataArray
            Dimensions (dim, [series,] time, feature) in the user's column order. Series with
            other times are laid on the sorted union of all times, NaN where a series has no
            such row.

        Raises
        ------
        InputError
            If a shape is wrong or `dim` is already the name of a dimension.
        """
        from tsimpute.panel.labels import label_arrays

        n = len(arrays[0]) if len(arrays) else 0
        self._check_shapes([np.shape(a) for a in arrays], [(n, *s.shape) for s in self.values])
        ordered = self._to_user_order([np.asarray(array) for array in arrays])
        return label_arrays(self, ordered, dim, coords)

    def user_feature_names(self) -> tuple[Hashable, ...] | None:
        """Feature names in the user's own order, None for plain arrays."""
        names = self.feature_names
        if names is None or self.user_order is None:
            return names
        names = (*names, *(self.covariate_names or ()))
        return tuple(names[i] for i in self.user_order)

    def features_in_user_order(self) -> list[tuple[Hashable, int]]:
        """Label (for plain arrays the number) and place in `values` of each feature.

        In the order of the user's columns, those that were set apart left out.
        """
        order = np.arange(self.n_features) if self.user_order is None else self.user_order
        names = self.user_feature_names() or tuple(range(len(order)))
        both = zip(names, order.tolist(), strict=True)
        return [(name, place) for name, place in both if place < self.n_features]

    @property
    def feature_labels(self) -> tuple[Hashable, ...] | None:
        """What the user calls the features; None where that is 0, 1, … anyway."""
        if self.feature_names is not None or self.covariates is None:
            return self.feature_names
        by_place = sorted(self.features_in_user_order(), key=lambda feature: feature[1])
        return tuple(label for label, _ in by_place)

    def _to_user_order(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Arrays (..., n_times_i, n_features), one per series, with all of the user's columns."""
        if self.covariates is not None:
            pairs = zip(arrays, self.covariates, strict=True)
            arrays = [np.concatenate([a, _spread(own, a)], axis=-1) for a, own in pairs]
        return [a if self.user_order is None else a[..., self.user_order] for a in arrays]

    def _check_shapes(
        self, got: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]
    ) -> None:
        if list(got) != list(expected):
            raise InputError(
                f"{self.name}: got arrays of shapes {_few(got)}, expected {_few(expected)}: "
                f"one per series, rows and features as in the panel"
            )


def _spread(own: FloatArray, array: NDArray[Any]) -> FloatArray:
    """Columns (n_times, n) repeated along the first axes of an array (..., n_times, m)."""
    return np.broadcast_to(own, (*array.shape[:-1], own.shape[-1]))


def _few(shapes: Sequence[tuple[int, ...]]) -> str:
    return f"{list(shapes[:3])}{' …' if len(shapes) > 3 else ''} ({len(shapes)} in all)"
