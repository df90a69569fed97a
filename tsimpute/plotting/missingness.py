"""The picture of what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.panel.containers import read_panel
from tsimpute.plotting.frame import (
    PALE,
    VERMILION,
    PathLike,
    figure_and_axes,
    finished,
    label_times,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from tsimpute.panel.core import Panel

FloatArray = NDArray[np.float64]

MAX_COLUMNS = 400  # of the picture: a longer time is drawn in bins
MAX_LINES = 100
MAX_NAMES = 40
NAME_LETTERS = 24


def plot_missingness(
    data: Any, by: str = "feature", *, ax: Axes | None = None, path: PathLike | None = None
) -> Axes:
    """Draw which cells are missing, when: a line for each feature or series, time to the right.

    White is observed; the more of a bin is missing, the darker it is; grey has no rows. Beyond 400
    times, and beyond 100 lines, neighbours share a bin.

    Parameters
    ----------
    data : DataFrame, array, DataArray or Dataset
        Whatever the imputer takes; NaN is missing.
    by : {"feature", "series"}, default="feature"
        What a line is. By feature, all series that have a row at a time are counted together.
    ax, path
        As in `plot_imputation`.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If the data cannot be used or `by` is unknown.
    MissingExtraError
        If matplotlib is not installed.
    """
    if by not in ("feature", "series"):
        raise InputError(f"by={by!r} is unknown; expected 'feature' or 'series'")
    counts = _counted(read_panel(data, name="data", regular=False), by)
    shares = np.ma.masked_invalid(counts.shares)
    size = (9.0, float(np.clip(1.4 + 0.24 * len(shares), 2.0, 9.0)))
    figure, ax = figure_and_axes(ax, size)
    ax.set_facecolor(PALE)
    image = ax.pcolormesh(
        counts.edges, np.arange(len(shares) + 1), shares, cmap=_colours(), vmin=1e-9, vmax=1
    )
    _name_lines(ax, counts)
    label_times(ax, counts.times)
    figure.colorbar(image, ax=ax, label="share missing", pad=0.02)
    finished(figure, path)
    return ax


@dataclass(frozen=True, eq=False)
class _Counts:
    """How many cells there are, and how many are missing, by line and bin of time."""

    names: list[str]
    times: pd.Index[Any]
    edges: FloatArray  # (n_bins + 1,)
    missing: FloatArray  # (n_lines, n_bins)
    cells: FloatArray  # (n_lines, n_bins)

    @property
    def shares(self) -> FloatArray:
        """Share that is missing, NaN where there are no rows."""
        none = np.full_like(self.missing, np.nan)
        return np.divide(self.missing, self.cells, out=none, where=self.cells > 0)


def _counted(panel: Panel, by: str) -> _Counts:
    times = panel.times[0].append(list(panel.times[1:])).unique().sort_values()
    edges, bins = _bins(_numbers(times))
    n_lines = panel.n_features if by == "feature" else panel.n_series
    missing, cells = np.zeros((2, n_lines, len(edges) - 1))
    for i, (index, seen) in enumerate(zip(panel.times, panel.observed_masks, strict=True)):
        own = bins[times.get_indexer(index)]
        n_missing = np.zeros((len(edges) - 1, panel.n_features))
        np.add.at(n_missing, own, ~seen)
        n_rows = np.bincount(own, minlength=len(edges) - 1)
        if by == "feature":
            missing += n_missing.T
            cells += n_rows
        else:
            missing[i] = n_missing.sum(axis=1)
            cells[i] = n_rows * panel.n_features
    labels = panel.feature_names if by == "feature" else panel.series_ids
    names = [str(label) for label in labels or range(n_lines)]
    return _merged(_Counts(names, times, edges, missing, cells))


def _merged(counts: _Counts) -> _Counts:
    """Neighbouring lines together where there are too many to be seen."""
    together = -(-len(counts.names) // MAX_LINES)
    first = np.arange(0, len(counts.names), together)
    missing, cells = (np.add.reduceat(a, first, axis=0) for a in (counts.missing, counts.cells))
    names = [counts.names[i] for i in first]
    return replace(counts, names=names, missing=missing, cells=cells)


def _numbers(times: pd.Index[Any]) -> FloatArray:
    """Times on matplotlib's axis: days for dates, hours for spans."""
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if isinstance(times, pd.TimedeltaIndex):
        return np.asarray(times.total_seconds() / 3600)
    if isinstance(times, pd.DatetimeIndex):
        from matplotlib import dates

        library: Any = dates  # its functions have no types
        naive = times if times.tz is None else times.tz_convert("UTC").tz_localize(None)
        return np.asarray(library.date2num(naive.to_numpy()))
    return times.to_numpy(dtype=np.float64)


def _bins(numbers: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Edges of the bins, and the bin of each time."""
    step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 1.0
    first, last = numbers[0] - step / 2, numbers[-1] + step / 2
    n_bins = min(MAX_COLUMNS, max(1, round((last - first) / step)))
    places = np.floor((numbers - first) / (last - first) * n_bins).astype(np.int64)
    return np.linspace(first, last, n_bins + 1), places.clip(0, n_bins - 1)


def _colours() -> Colormap:
    """Even a small share is told from none."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("missing", ["#F7D3B8", VERMILION, "#6B2A00"])
    return shades.with_extremes(under="white")


def _name_lines(ax: Axes, counts: _Counts) -> None:
    """Each line's name and its share of missing cells; every few lines where there are many."""
    shares = counts.missing.sum(axis=1) / counts.cells.sum(axis=1)
    every = -(-len(counts.names) // MAX_NAMES)
    shown = range(0, len(counts.names), every)
    texts = [f"{counts.names[i][:NAME_LETTERS]}  {shares[i]:.1%}" for i in shown]
    ax.set_yticks([i + 0.5 for i in shown], texts, fontsize=8)
    ax.set_ylim(len(counts.names), 0)
    ax.tick_params(axis="y", length=0)
