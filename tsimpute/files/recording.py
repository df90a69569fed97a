"""What was read from a file, and how imputed values are put back into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.files.levels import level_suffix
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Panel

if TYPE_CHECKING:
    import xarray as xr

Container: TypeAlias = "pd.DataFrame | xr.Dataset"


@dataclass(frozen=True, eq=False)
class Recording:
    """Series of a file.

    Attributes
    ----------
    name : str
        The file, for messages.
    whole : DataFrame or Dataset
        All of it as it was read, labels as in the file.
    data : DataFrame or Dataset
        The features alone, indexed by time or by (series, time): what an imputer takes.
    labels : tuple of str
        Columns of `whole` that hold the time and name the series.
    """

    name: str
    whole: Container
    data: Container
    labels: tuple[str, ...] = ()

    @property
    def features(self) -> list[Any]:
        """Names of the features."""
        return list(self.data)

    def with_values(self, filled: Container) -> Container:
        """All of the file, with other values of the features.

        Parameters
        ----------
        filled : DataFrame or Dataset
            Like `data`.
        """
        if not isinstance(self.whole, pd.DataFrame):
            return self.whole.assign({name: filled[name] for name in self.features})
        table = self.whole.copy()
        for name in self.features:
            table[name] = filled[name].array
        return table

    def with_quantiles(
        self,
        quantiles: xr.DataArray,
        levels: Sequence[float] = (),
        features: Sequence[Any] | None = None,
    ) -> Container:
        """All of the file, holes filled with the median, and a column for each feature and level.

        Parameters
        ----------
        quantiles : DataArray, dims (quantile, [series,] time, feature)
            What ``predict_quantiles`` gives for `data`: the level 0.5, and all of `levels`.
        levels : sequence of float, default=()
            Those that get columns ``<feature>_q05`` and so on.
        features : sequence of hashable, optional
            Those that get such columns; default: all.

        Raises
        ------
        InputError
            If such a column is there already.
        """
        whole = self.with_values(_laid_out(self.data, quantiles.sel(quantile=0.5)))
        empty = _without_values(self.data)
        bands = {level: _laid_out(empty, quantiles.sel(quantile=level)) for level in levels}
        added = {
            f"{name}_q{level_suffix(level)}": band[name]
            for name in (self.features if features is None else features)
            for level, band in bands.items()
        }
        taken = sorted(set(added) & {str(name) for name in whole})
        if taken:
            raise InputError(f"{self.name}: a column {taken[0]!r} is there already; rename it")
        if not isinstance(whole, pd.DataFrame):
            return whole.assign(added)
        columns = {name: column.array for name, column in added.items()}
        return pd.concat([whole, pd.DataFrame(columns, index=whole.index)], axis=1)


def _laid_out(data: Container, values: xr.DataArray) -> Any:
    """Labelled values in the holes of a container like the user's."""
    panel = read_panel(data, regular=False)  # an imputer says so itself if it needs it
    return panel.fill([_of_series(panel, values, i) for i in range(panel.n_series)])


def _of_series(panel: Panel, values: xr.DataArray, i: int) -> NDArray[np.float64]:
    """Values (n_times_i, n_features) of the i-th series."""
    layout = panel.source.layout
    own = values if panel.series_ids is None else values.isel({layout.series_dim: i})
    if layout.has_time_labels:  # series of unequal length lie on the union of their times
        own = own.sel({layout.time_dim: panel.times[i]})
    cells: NDArray[np.float64] = own.transpose(layout.time_dim, layout.feature_dim).to_numpy()
    return cells


def _without_values(data: Container) -> Container:
    """The same container, every cell missing."""
    if isinstance(data, pd.DataFrame):
        return pd.DataFrame(np.nan, index=data.index, columns=data.columns)
    return data.map(lambda variable: variable.astype("float64") * np.nan, keep_attrs=True)
