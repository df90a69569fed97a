"""xarray DataArrays and Datasets. Imported only where the user already has xarray objects."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.panel.arrays import array_to_float, check_shape
from tsimpute.panel.cells import BoolArray, FloatArray, fill_cells
from tsimpute.panel.columns import check_unique_names
from tsimpute.panel.core import Layout, Panel

_FEATURE_NAMES = ("feature", "features", "variable")


@dataclass(frozen=True)
class DataArraySource:
    """A DataArray; `dims` are its ([series,] time, feature)."""

    array: xr.DataArray
    dims: tuple[Hashable, ...]
    layout: Layout

    def rebuild(self, filled: Sequence[FloatArray], missing: Sequence[BoolArray]) -> xr.DataArray:
        """A filled copy with the same dims, coordinates, name and attributes."""
        return _filled_array(
            self.array, self.dims, _joined(filled, self.dims), _joined(missing, self.dims)
        )


@dataclass(frozen=True)
class DatasetSource:
    """A Dataset of one variable per feature; `dims` are ([series,] time)."""

    dataset: xr.Dataset
    dims: tuple[Hashable, ...]
    layout: Layout

    def rebuild(self, filled: Sequence[FloatArray], missing: Sequence[BoolArray]) -> xr.Dataset:
        """A filled copy, variable by variable."""
        wide = (*self.dims, self.layout.feature_dim)
        values, holes = _joined(filled, wide), _joined(missing, wide)
        variables = {
            label: _filled_array(self.dataset[label], self.dims, values[..., i], holes[..., i])
            for i, label in enumerate(self.dataset.data_vars)
        }
        return self.dataset.copy(deep=True).assign(variables)


def read_dataarray(array: xr.DataArray, name: str) -> Panel:
    """A panel from a DataArray with dims (time, feature) or (series, time, feature)."""
    if array.ndim not in (2, 3):
        raise InputError(
            f"{name}: got a DataArray of dims {array.dims} ({array.ndim}-D), expected "
            f"(time, feature) or (series, time, feature); a single feature needs "
            f"array.expand_dims('feature', -1)"
        )
    dims = _name_dims(array, list(array.dims), name)
    values = array_to_float(array.transpose(*dims).values, name)
    feature_index = array.indexes.get(dims[-1])
    names = None if feature_index is None else tuple(feature_index)
    if names is not None:
        check_unique_names(names, name)
    layout = _layout(array, dims[:-1], dims[-1], array.name)
    source = DataArraySource(array, dims, layout)
    return _panel(array, values, names, source, name)


def read_dataset(dataset: xr.Dataset, name: str) -> Panel:
    """A panel from a Dataset whose variables are the features."""
    labels = list(dataset.data_vars)
    if not labels:
        raise InputError(
            f"{name}: got a Dataset without variables, 0 feature(s), expected 1 or more"
        )
    first = dataset[labels[0]]
    for label in labels:
        if set(dataset[label].dims) != set(first.dims) or first.ndim not in (1, 2):
            raise InputError(
                f"{name}: variable {label!r} has dims {dataset[label].dims}, expected (time,) or "
                f"(series, time), the same for all variables; pass a single variable of more "
                f"dims as a DataArray, dataset[{label!r}]"
            )
    time_dim = _time_dim(dataset, list(first.dims)) or first.dims[-1]
    dims = (*(dim for dim in first.dims if dim != time_dim), time_dim)
    check_shape((*(dataset.sizes[dim] for dim in dims), len(labels)), name)
    columns = [
        array_to_float(dataset[x].transpose(*dims).values[..., None], f"{name}: variable {x!r}")
        for x in labels
    ]
    source = DatasetSource(dataset, dims, _layout(dataset, dims, "feature", None))
    return _panel(dataset, np.concatenate(columns, axis=-1), tuple(labels), source, name)


def _panel(
    data: xr.DataArray | xr.Dataset,
    values: FloatArray,
    names: tuple[Hashable, ...] | None,
    source: DataArraySource | DatasetSource,
    name: str,
) -> Panel:
    n_times, n_features = values.shape[-2:]
    stacked = values.reshape(-1, n_times, n_features)
    layout = source.layout
    times = data.indexes.get(layout.time_dim, pd.RangeIndex(n_times))
    ids = tuple(data.indexes.get(layout.series_dim, range(len(stacked))))
    return Panel(
        values=tuple(stacked),
        feature_names=names,
        series_ids=ids if values.ndim == 3 else None,
        times=(times,) * len(stacked),
        source=source,
        name=name,
    )


def _layout(
    data: xr.DataArray | xr.Dataset,
    dims: Sequence[Hashable],
    feature_dim: Hashable,
    name: Hashable | None,
) -> Layout:
    series_dim = dims[0] if len(dims) == 2 else "series"
    return Layout(
        series_dim=series_dim,
        time_dim=dims[-1],
        feature_dim=feature_dim,
        has_series_labels=series_dim in data.indexes,
        has_time_labels=dims[-1] in data.indexes,
        name=name,
    )


def _name_dims(array: xr.DataArray, dims: list[Hashable], name: str) -> tuple[Hashable, ...]:
    """The dims in the order ([series,] time, feature)."""
    left = list(dims)
    if len(left) == 2 and "series" in left:
        raise InputError(
            f"{name}: got a DataArray of dims {tuple(dims)} without features, expected "
            f"(series, time, feature); use array.expand_dims('feature', -1)"
        )
    found = {
        "series": "series" if "series" in left else None,
        "time": _time_dim(array, left),
        "feature": next((dim for dim in left if dim in _FEATURE_NAMES), None),
    }
    roles = list(found)[-len(dims) :]
    left = [dim for dim in left if dim not in found.values()]
    return tuple(left.pop(0) if found[role] is None else found[role] for role in roles)


def _time_dim(data: xr.DataArray | xr.Dataset, dims: list[Hashable]) -> Hashable | None:
    if "time" in dims:
        return "time"
    dated = [d for d in dims if isinstance(data.indexes.get(d), pd.DatetimeIndex)]
    return dated[0] if len(dated) == 1 else None


def _joined(arrays: Sequence[NDArray[Any]], dims: Sequence[Hashable]) -> NDArray[Any]:
    return np.stack(list(arrays)) if len(dims) == 3 else arrays[0]


def _filled_array(
    array: xr.DataArray,
    dims: Sequence[Hashable],
    filled: FloatArray,
    missing: BoolArray,
) -> xr.DataArray:
    ordered = array.transpose(*dims)
    result = ordered.copy(data=fill_cells(ordered.values, filled, missing))
    return result.transpose(*array.dims)
