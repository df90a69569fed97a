"""Arrays of several values per cell as one labelled xarray.DataArray."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from tsimpute.panel.core import Panel


def label_arrays(
    panel: Panel, arrays: Sequence[NDArray[Any]], dim: str, coords: Sequence[Any] | None
) -> xr.DataArray:
    """The work of `Panel.label`; `arrays` are in the user's column order."""
    import xarray as xr

    layout = panel.source.layout
    dims: list[Hashable] = [dim, layout.time_dim, layout.feature_dim]
    labels: dict[Hashable, Any] = {}
    if panel.series_ids is None:
        times, data = panel.times[0], arrays[0]
    else:
        times, data = _on_common_times(panel.times, arrays)
        dims.insert(1, layout.series_dim)
        if layout.has_series_labels:
            labels[layout.series_dim] = pd.Index(list(panel.series_ids), tupleize_cols=False)
    if dim in dims[1:]:
        raise InputError(f"dim={dim!r} is already a dimension of {panel.name}; choose another name")
    if layout.has_time_labels:
        labels[layout.time_dim] = times.rename(layout.time_dim)
    names = panel.user_feature_names()
    if names is not None:
        labels[layout.feature_dim] = pd.Index(list(names), tupleize_cols=False)
    if coords is not None:
        labels[dim] = list(coords)
    return xr.DataArray(data, dims=dims, coords=labels, name=layout.name)


def _on_common_times(
    times: Sequence[pd.Index[Any]], arrays: Sequence[NDArray[Any]]
) -> tuple[pd.Index[Any], NDArray[Any]]:
    if all(index.equals(times[0]) for index in times):
        return times[0], np.stack(list(arrays), axis=1)
    union = times[0].append(list(times[1:])).unique().sort_values()
    n, _, n_features = arrays[0].shape
    dtype = np.result_type(np.float16, *(array.dtype for array in arrays))
    data = np.full((n, len(arrays), len(union), n_features), np.nan, dtype=dtype)
    for i, (index, array) in enumerate(zip(times, arrays, strict=True)):
        data[:, i, union.get_indexer(index)] = array
    return union, data
