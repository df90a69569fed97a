"""Quantiles and scores of an equal-weight mixture of Gaussians in every cell.

Each trajectory of a sampler ends in a Gaussian; their mixture is the predictive distribution, and
its exact quantiles and CRPS lack most of the error that a finite number of draws has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from tsimpute.errors import InputError
from tsimpute.evaluation.cells import (
    BoolArray,
    FloatArray,
    cell_blocks,
    checked_levels,
    sorted_quantiles,
    target_blocks,
)
from tsimpute.evaluation.metrics import CRPS_LEVELS, quantile_crps_from_quantiles

_BLOCK_SHARE = 50  # a block has a fiftieth of the usual memory: it stays in the processor's cache
_CACHED_NUMBERS = 40_000
_TOLERANCE = 1e-6  # in standard deviations; Newton's error is about the square of its last step
_CLOSE_COUNT = 1e-3  # in components; where more is missing, a small step only shows a sharp peak
_EPSILON = 1e-15  # about four times the distance of neighbouring numbers
_FLAT = 39.0  # deviations beyond which a tail is 0 in float64
_SQRT_TWO_PI = float(np.sqrt(2 * np.pi))


def mixture_quantiles(mean: ArrayLike, spread: ArrayLike, levels: Sequence[float]) -> FloatArray:
    """Quantiles of the equal-weight mixture of N(mean_i, spread_i) in every cell.

    The quantile is where the mixture's distribution function passes the level. Where it equals
    the level on a whole interval, as between components too far apart to touch, it is the middle
    of that interval.

    A component with spread 0 is a point mass. A cell of point masses only holds plain samples:
    there the quantile is interpolated linearly, as by `numpy.quantile` and the other scores.

    Parameters
    ----------
    mean : array_like of float, shape (S, ...)
        Means of the S components; NaN gives NaN in its cell.
    spread : array_like of float, shape (S, ...)
        Their variances (not deviations), 0 or more; broadcast to the shape of `mean`.
    levels : sequence of float
        Levels strictly between 0 and 1, in any order.

    Returns
    -------
    ndarray of float64, shape (n_levels, ...)
        In every cell a quantile of a higher level is never smaller.

    Raises
    ------
    InputError
        If there is no component, the shapes do not fit, a variance is negative, a number is
        infinite, or a level is not inside (0, 1).
    """
    centres, variances = _checked_mixture(mean, spread)
    wanted = checked_levels(levels)
    result = np.empty((len(wanted), *centres.shape[1:]))
    every_cell = np.arange(result[0].size)
    for cells in cell_blocks(every_cell, _BLOCK_SHARE * len(centres), centres.shape[1:]):
        mu, variance = (part[:, *cells].astype(np.float64) for part in (centres, variances))
        result[:, *cells] = _block_quantiles(mu, _deviations(mu, variance), wanted)
    return result


def mixture_crps(
    mean: ArrayLike, spread: ArrayLike, truth: ArrayLike, target_mask: ArrayLike
) -> float:
    """Mean pointwise CRPS of the mixtures over the target cells, in the data's unit.

    The closed form ``1/S Σ A(x - m_i, v_i) - 1/(2S²) ΣΣ A(m_i - m_j, v_i + v_j)`` with
    ``A(m, v) = E|N(m, v)|`` (Grimit et al. 2006, equation 5). With all spreads 0 it is
    `metrics.ensemble_crps`.

    Parameters
    ----------
    mean, spread : array_like of float, shape (S, ...)
        Means and variances of the S components; read only at the target cells.
    truth : array_like of float, shape (...)
        What was held out.
    target_mask : array_like of bool, shape (...)
        True at the cells that are scored.

    Returns
    -------
    float
        The score; smaller is better.

    Raises
    ------
    InputError
        On unequal shapes, an empty target, a negative variance, or NaN at a target cell.
    """
    total, n_cells = 0.0, 0
    for mu, variance, values in _target_mixtures(mean, spread, truth, target_mask):
        total += _crps_sum(mu, variance, values)
        n_cells += values.size
    return total / n_cells


def mixture_quantile_crps(
    mean: ArrayLike, spread: ArrayLike, truth: ArrayLike, target_mask: ArrayLike
) -> float:
    """Normalised 19-level quantile CRPS of the CSDI protocol, from the mixtures' quantiles.

    Parameters and errors are those of `mixture_crps`, the definition that of
    `metrics.quantile_crps`, to which it is equal with all spreads 0.
    """
    quantiles, held_out = [], []
    for mu, variance, values in _target_mixtures(mean, spread, truth, target_mask):
        quantiles.append(mixture_quantiles(mu, variance, CRPS_LEVELS))
        held_out.append(values)
    marks, flat = np.concatenate(quantiles, axis=1), np.concatenate(held_out)
    return quantile_crps_from_quantiles(marks, CRPS_LEVELS, flat, np.ones(flat.shape, dtype=bool))


def _target_mixtures(
    mean: ArrayLike, spread: ArrayLike, truth: ArrayLike, target_mask: ArrayLike
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Means and variances (S, cells) and truth (cells,) of the target cells, in blocks."""
    centres, variances = _checked_mixture(mean, spread)
    means = target_blocks(centres, truth, target_mask, "mean")
    spreads = target_blocks(variances, truth, target_mask, "spread")
    for (mu, values), (variance, _) in zip(means, spreads, strict=True):
        _deviations(mu, variance)
        yield mu, variance, values


def _block_quantiles(
    mean: FloatArray, deviation: FloatArray, levels: tuple[float, ...]
) -> FloatArray:
    """Quantiles (n_levels, cells) of mixtures (S, cells), in ascending order of the levels."""
    result = np.full((len(levels), mean.shape[1]), np.nan)
    known = ~np.isnan(mean + deviation).any(axis=0)
    mixed, plain = known & (deviation > 0).any(axis=0), known & ~deviation.any(axis=0)
    result[:, plain] = sorted_quantiles(np.sort(mean[:, plain], axis=0), levels)
    for row, level in enumerate(levels):
        result[row, mixed] = _solve(mean[:, mixed], deviation[:, mixed], level)
    order = np.argsort(levels)
    result[order] = np.maximum.accumulate(result[order], axis=0)  # rounding may cross them
    return result


def _solve(mean: FloatArray, deviation: FloatArray, level: float) -> FloatArray:
    """Quantiles (cells,) of mixtures (S, cells), each with a positive deviation."""
    answer = np.empty(mean.shape[1])
    cells = np.arange(mean.shape[1])
    search = _start(mean, deviation, level)
    while cells.size:
        search, found = _advance(search, level)
        answer[cells[found]] = search.point[found]
        cells, search = cells[~found], search.only(~found)
    return answer


@dataclass(frozen=True)
class _Search:
    """Components (S, n) of the cells whose quantile is sought, brackets and trial points (n,)."""

    mean: FloatArray
    deviation: FloatArray
    width: FloatArray  # standard deviation of the mixture: the unit of tolerances
    low: FloatArray  # the distribution function is below the level here
    high: FloatArray  # and above it here
    point: FloatArray
    last_step: FloatArray

    def only(self, chosen: BoolArray) -> _Search:
        return _Search(*(getattr(self, part.name)[..., chosen] for part in fields(self)))


def _start(mean: FloatArray, deviation: FloatArray, level: float) -> _Search:
    """Bracket between the components' own quantiles, and the quantile of equal moments."""
    own = mean + ndtri(level) * deviation  # the ends are moved outwards to try masses on them
    low, high = np.nextafter(own.min(axis=0), -np.inf), np.nextafter(own.max(axis=0), np.inf)
    width = np.sqrt(np.square(deviation).mean(axis=0) + mean.var(axis=0))
    point = np.clip(mean.mean(axis=0) + ndtri(level) * width, low, high)
    return _Search(mean, deviation, width, low, high, point, high - low)


def _advance(search: _Search, level: float) -> tuple[_Search, BoolArray]:
    """Evaluate the trial points, narrow the brackets, choose new points; tell which are final.

    By Newton's method, or by bisection where that leaves the bracket or fails to halve its steps.
    """
    below, at_point, density = _excess(search, level)
    reached = below + at_point
    low = np.where(reached < 0, search.point, search.low)
    high = np.where(below > 0, search.point, search.high)
    with np.errstate(all="ignore"):  # where there is no density, bisection follows
        newton = search.point - below / density
    step = np.abs(newton - search.point)
    close = (step <= _TOLERANCE * search.width) & (np.abs(below) < _CLOSE_COUNT)
    usable = (low < newton) & (newton < high) & (step <= 0.5 * search.last_step)
    point = np.where(close | usable, newton, 0.5 * (low + high))
    found = close | (high - low <= _EPSILON * (search.width + np.abs(point)))
    last_step = np.abs(point - search.point)
    moved = replace(search, low=low, high=high, point=point, last_step=last_step)
    if (search.deviation == 0).any():
        moved = _try_masses(moved, ~found)
    exact = (reached >= 0) & (below <= 0)
    moved.point[exact] = search.point[exact]  # on a point mass that jumps across the level, or
    flat = exact & ((reached == 0) | (below == 0))
    moved.point[flat] = _middle_of_flat(search.only(flat), reached[flat])
    return moved, found | exact


def _excess(search: _Search, level: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What the distribution function has too much just below the points, at them, its slope.

    In components. Those that a point has passed count whole, less their tails, so that tails too
    small to be seen beside 1 are not lost where the counts cancel.
    """
    target = level * len(search.mean)
    if abs(target - round(target)) < 1e-9:
        target = round(target)
    gap, mass = search.mean - search.point, search.deviation == 0
    with np.errstate(all="ignore"):  # a point mass: 0 / 0 at it, infinity beside it
        score = np.abs(gap) / search.deviation
        tail = ndtr(-score)
        bell = np.exp(-0.5 * score * score) / search.deviation
    tail[mass] = bell[mass] = 0.0
    at_point = (mass & (gap == 0)).sum(axis=0)
    below = (gap < 0).sum(axis=0) - target + np.copysign(tail, gap).sum(axis=0)
    return below, at_point, bell.sum(axis=0) / _SQRT_TWO_PI


def _try_masses(search: _Search, wanted: BoolArray) -> _Search:
    """Where point masses lie in the bracket, try the nearest one: the quantile may be on it."""
    inside = (search.deviation == 0) & (search.low < search.mean) & (search.mean < search.high)
    away = np.where(inside & wanted, np.abs(search.mean - search.point), np.inf)
    some = np.isfinite(away.min(axis=0))
    mass = search.mean[np.argmin(away, axis=0), np.arange(some.size)]
    point = np.where(some, mass, search.point)
    last_step = np.where(some, search.high - search.low, search.last_step)
    return replace(search, point=point, last_step=last_step)


def _middle_of_flat(search: _Search, reached: FloatArray) -> FloatArray:
    """Middle of the stretch without mass around points that hit the level; else the points."""
    mean, reach = search.mean, _FLAT * search.deviation
    passed = (mean < search.point) | ((mean == search.point) & (reached == 0))
    left = np.where(passed, mean + reach, search.low).max(axis=0)
    right = np.where(passed, search.high, mean - reach).min(axis=0)
    return np.where(left < right, 0.5 * (left + right), search.point)


def _crps_sum(mean: FloatArray, variance: FloatArray, values: FloatArray) -> float:
    """Sum over cells of the mixtures' CRPS, in slices that fit the processor's cache."""
    n, total = len(mean), 0.0
    step = max(1, _CACHED_NUMBERS // n)
    for start in range(0, values.size, step):
        mu, var = mean[:, start : start + step], variance[:, start : start + step]
        total += _mean_distance(mu - values[start : start + step], var).sum() / n
        total -= _mean_distance(np.zeros_like(mu), 2 * var).sum() / (2 * n * n)
        for apart in range(1, n):  # each pair once
            pair = _mean_distance(mu[apart:] - mu[:-apart], var[apart:] + var[:-apart])
            total -= pair.sum() / (n * n)
    return float(total)


def _mean_distance(gap: FloatArray, variance: FloatArray) -> FloatArray:
    """E|N(gap, variance)|."""
    deviation = np.sqrt(variance)
    size = np.abs(gap)
    with np.errstate(all="ignore"):  # without variance the ratio is infinite or 0 / 0
        score = size / deviation
        bell = np.exp(-0.5 * score * score) / _SQRT_TWO_PI
        distance = 2 * deviation * bell + size * (1 - 2 * ndtr(-score))
    return np.where(deviation > 0, distance, size)


def _checked_mixture(mean: ArrayLike, spread: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    centres, variances = np.asarray(mean), np.asarray(spread)
    if centres.ndim == 0 or centres.shape[0] == 0:
        raise InputError(f"mean: got shape {centres.shape}, expected at least 1 component first")
    try:
        return centres, np.broadcast_to(variances, centres.shape)
    except ValueError:
        expected = f"expected the mean's {centres.shape}"
        raise InputError(f"spread: got shape {variances.shape}, {expected}") from None


def _deviations(mean: FloatArray, spread: FloatArray) -> FloatArray:
    """Square roots of the variances, once they and the means prove possible."""
    if (spread < 0).any():
        raise InputError(f"spread: got {np.nanmin(spread)}, expected 0 or more; pass variances")
    for name, values in (("mean", mean), ("spread", spread)):
        if np.isinf(values).any():
            raise InputError(f"{name}: got infinity, expected finite numbers")
    return np.sqrt(spread)
