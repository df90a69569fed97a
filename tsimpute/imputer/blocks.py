"""xarray data in chunks of dask, which may be larger than memory: filled by block of series."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tsimpute.errors import InputError
from tsimpute.panel.containers import read_panel

if TYPE_CHECKING:
    import xarray as xr

_ONE_AT_A_TIME = threading.Lock()  # dask runs blocks side by side, each with all cores and memory


class Fills(Protocol):
    """What is asked of a fitted imputer."""

    seed_: int

    def set_params(self, **parameters: Any) -> Any:
        """Change parameters."""

    def transform(self, X: Any, **choice: Any) -> Any:
        """Fill the holes."""


def is_chunked(data: Any) -> bool:
    """Whether the data are xarray's, held by dask."""
    xarray = sys.modules.get("xarray")
    if xarray is None or not isinstance(data, xarray.DataArray | xarray.Dataset):
        return False
    return bool(data.chunksizes)


def fill_by_block(
    imputer: Fills, data: xr.DataArray | xr.Dataset, **choice: Any
) -> xr.DataArray | xr.Dataset:
    """Fill each chunk of series when it is computed, so that no more than one is in memory.

    Parameters
    ----------
    imputer : fitted imputer
        The first block has its seed, every other one a seed made of it and of the number of the
        block's first series.
    data : DataArray or Dataset
        Held by dask, in chunks of whole series.
    **choice
        Arguments of `transform`.

    Returns
    -------
    DataArray or Dataset
        In the same chunks, not computed yet.

    Raises
    ------
    InputError
        If a series is cut into several chunks. What is wrong in a block is said when it is
        computed.
    """
    import xarray as xr

    series = _series_dim(data)
    for dim, sizes in data.chunksizes.items():
        if dim != series and len(sizes) > 1:
            raise InputError(
                f"X is cut into {len(sizes)} chunks along {dim!r}, expected chunks of whole "
                f"series; call X.chunk({{{dim!r}: -1}}) first"
            )
    places = None
    if series in data.dims:
        numbers = xr.DataArray(np.arange(data.sizes[series]), dims=[series])
        places = numbers.chunk({series: data.chunksizes.get(series, -1)})
    lazy: xr.DataArray | xr.Dataset = xr.map_blocks(
        _filled, data, (places, imputer, choice), template=data
    )
    return lazy


def _series_dim(data: xr.DataArray | xr.Dataset) -> Hashable:
    """Name of the dimension of series, from a corner of the data."""
    corner = data.isel({dim: slice(2) for dim in data.dims})
    return read_panel(corner.compute()).source.layout.series_dim


def _filled(block: Any, places: xr.DataArray | None, imputer: Fills, choice: dict[str, Any]) -> Any:
    first = 0 if places is None else int(places[0])
    own = copy.copy(imputer)
    if first > 0:
        own.seed_ = int(np.random.SeedSequence([imputer.seed_, first]).generate_state(1)[0])
    own.set_params(verbose=0)
    with _ONE_AT_A_TIME:
        return own.transform(block, **choice)
