"""From stretches of samples to whole arrays: samples, quantiles, medians."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tsimpute.denoiser.quantile_function import quantiles_at
from tsimpute.evaluation.conformal import Calibration, with_grid
from tsimpute.evaluation.metrics import lower_median
from tsimpute.evaluation.mixture import mixture_quantiles
from tsimpute.panel.gaps import distance_to_observed
from tsimpute.sampling.inference import Stretch

FloatArray = NDArray[np.float64]
Read = Callable[[Stretch], NDArray[np.floating]]


def lay_out(
    series: Sequence[FloatArray],
    stretches: Iterable[Stretch],
    n: int,
    read: Read,
    unscale: Callable[[NDArray[np.floating]], FloatArray],
) -> list[FloatArray]:
    """Arrays (n, n_times_i, K): what was read from each stretch in the holes, else the values.

    Parameters
    ----------
    series : sequence of ndarray (n_times_i, K)
        In the user's units, NaN where missing.
    stretches : iterable of Stretch
    n : int
        Numbers for each cell.
    read : callable
        From a stretch of holes alone, whose arrays are (S, n_holes) and whose `places` says
        where they are, to scaled values (n, n_holes).
    unscale : callable
        From scaled values to the user's units.
    """
    arrays = [np.repeat(values[None], n, axis=0) for values in series]
    for part in stretches:
        rows = arrays[part.series][:, part.start : part.stop]
        hole = np.isnan(series[part.series][part.start : part.stop])
        found = np.zeros(rows.shape)
        found[:, hole] = read(at_cells(part, hole))
        rows[:] = np.where(hole, unscale(found), rows)
    return arrays


def read_cells(
    stretches: Iterable[Stretch], wanted: Sequence[NDArray[np.bool_]], read: Read
) -> FloatArray:
    """What is read at wanted holes, (n, n_wanted), in order of series, rows and features.

    All at once, and no other cell: reading a few cells again and again takes longer than sampling.
    """
    return np.asarray(read(gathered(stretches, wanted)), dtype=np.float64)


def gathered(stretches: Iterable[Stretch], wanted: Sequence[NDArray[np.bool_]]) -> Stretch:
    """Wanted cells (S, n_wanted) of all stretches, in order of series, rows and features."""
    return joined([at_cells(p, wanted[p.series][p.start : p.stop]) for p in stretches])


def at_cells(part: Stretch, cells: NDArray[np.bool_]) -> Stretch:
    """The same stretch with nothing but some of its cells, (S, n_cells)."""
    deviations = None if part.deviations is None else part.deviations[:, cells]
    row, feature = np.nonzero(cells)
    places = np.stack([np.full_like(row, part.series), part.start + row, feature])
    return replace(part, samples=part.samples[:, cells], deviations=deviations, places=places)


def joined(parts: Sequence[Stretch]) -> Stretch:
    """Cells (S, n_cells) of several stretches, one after the other, as if of the first."""
    samples = np.concatenate([part.samples for part in parts], axis=1)
    spreads = [part.deviations for part in parts if part.deviations is not None]
    places = [part.places for part in parts if part.places is not None]
    return replace(
        parts[0],
        samples=samples,
        deviations=np.concatenate(spreads, axis=1) if spreads else None,
        places=np.concatenate(places, axis=1),
    )


def read_samples(part: Stretch) -> NDArray[np.floating]:
    """The samples as they are."""
    return part.samples


def read_median(part: Stretch) -> NDArray[np.floating]:
    """Median of the samples, or of the mixture of Gaussians that they stand for."""
    if part.deviations is None:
        return np.asarray(lower_median(part.samples, axis=0)[None])
    return np.asarray(mixture_quantiles(part.samples, part.deviations**2, [0.5]))


def quantile_reader(levels: Sequence[float]) -> Read:
    """Quantiles of the samples, or of the mixture of Gaussians that they stand for."""

    def read(part: Stretch) -> NDArray[np.floating]:
        if part.deviations is None:
            return np.asarray(np.quantile(part.samples, levels, axis=0))
        return np.asarray(mixture_quantiles(part.samples, part.deviations**2, levels))

    return read


def head_reader(known: Sequence[float], levels: Sequence[float]) -> Read:
    """Quantiles from those at the marginal head's levels."""
    return lambda part: quantiles_at(part.samples, known, levels)


def calibrated_reader(
    raw: Callable[[Sequence[float]], Read],
    calibration: Calibration,
    levels: Sequence[float],
    series: Sequence[FloatArray],
) -> Read:
    """Quantiles, calibrated by feature and by distance to the nearest observed cell.

    Parameters
    ----------
    raw : callable
        Makes the reader of uncalibrated quantiles at ascending levels.
    calibration : Calibration
    levels : sequence of float
    series : sequence of ndarray (n_times_i, K)
        NaN where missing.
    """
    asked = with_grid(levels)
    read_raw = raw(asked)
    groups = [cell_groups(calibration, ~np.isnan(values)) for values in series]
    first_rows = np.cumsum([0, *(len(values) for values in series)])
    stacked = np.concatenate(groups)

    def read(part: Stretch) -> NDArray[np.floating]:
        assert part.places is not None
        i, row, feature = part.places
        factors = calibration.factors[feature, stacked[first_rows[i] + row, feature]]
        return calibration.apply(np.asarray(read_raw(part)), asked, levels, factors)

    return read


def cell_groups(calibration: Calibration, observed_mask: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Group of distances of every cell of a series (L, K)."""
    past_only = calibration.way.get("mode") == "online"
    distances = distance_to_observed(observed_mask, past_only)
    return calibration.group_of(distances).astype(np.int8)
