"""Scores of imputed samples on the cells that were held out.

The arrays share one layout: ``samples`` is (S, ...), ``truth`` and ``target_mask`` are (...).  Only
cells where ``target_mask`` is True are read and scored; elsewhere NaN is allowed.  The work is done
block by block, so that millions of cells need no second copy of the samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError
from tsimpute.evaluation.calibration import coverage, gaussian_quantiles, interval_width
from tsimpute.evaluation.cells import (
    FloatArray,
    cell_blocks,
    checked_levels,
    checked_target,
    sorted_median,
    sorted_quantiles,
    sorted_sample_blocks,
    target_blocks,
)

__all__ = [
    "CRPS_LEVELS",
    "coverage",
    "ensemble_crps",
    "gaussian_quantiles",
    "interval_width",
    "lower_median",
    "mae",
    "quantile_crps",
    "quantile_crps_from_quantiles",
    "rmse",
    "score_samples",
]

CRPS_LEVELS: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))

# properscoring compares all pairs of samples, S * S numbers for each cell.  Blocks that fit the
# processor's cache (8 MB) are seven times faster than ones of 2,000 cells at S = 100.
_PAIR_CELLS = 2_000
_PAIR_NUMBERS = 1_000_000


def mae(estimate: ArrayLike, truth: ArrayLike, target_mask: ArrayLike) -> float:
    """Mean absolute error of a point estimate over the target cells.

    Parameters
    ----------
    estimate, truth : array_like of float, shape (...)
        Values in one common unit; read only at the target cells.
    target_mask : array_like of bool, shape (...)
        True at the cells that are scored.

    Returns
    -------
    float
        The error, in the data's unit.

    Raises
    ------
    InputError
        On unequal shapes, an empty target, or NaN at a target cell.
    """
    return float(np.abs(_errors(estimate, truth, target_mask)).mean())


def rmse(estimate: ArrayLike, truth: ArrayLike, target_mask: ArrayLike) -> float:
    """Root mean squared error over the target cells; parameters and errors as in `mae`."""
    return float(np.sqrt(np.square(_errors(estimate, truth, target_mask)).mean()))


def lower_median(samples: ArrayLike, axis: int = 0) -> NDArray[Any]:
    """Median of the samples; of an even number, the lower of the two in the middle.

    It is the ``(S - 1) // 2``-th smallest, counted from 0: what ``torch.median`` gives and what
    the papers score.

    Parameters
    ----------
    samples : array_like, shape (..., S, ...)
        Samples; NaN sorts last.
    axis : int, default 0
        The axis of the samples.

    Returns
    -------
    ndarray
        The shape of ``samples`` without ``axis``; the dtype is kept.

    Raises
    ------
    InputError
        If there are no samples.
    """
    draws = np.moveaxis(np.asarray(samples), axis, 0)
    if draws.shape[0] == 0:
        raise InputError("samples: got 0 samples, expected at least 1; draw some first")
    result = np.empty(draws.shape[1:], dtype=draws.dtype)
    for cells in cell_blocks(np.arange(result.size), draws.shape[0], result.shape):
        result[cells] = sorted_median(np.sort(draws[:, *cells], axis=0))
    return result


def quantile_crps(samples: ArrayLike, truth: ArrayLike, target_mask: ArrayLike) -> float:
    """Normalised quantile CRPS of the CSDI protocol.

    The mean over the 19 levels 0.05, …, 0.95 of ``2 Σ|(q̂ - x)(1{x ≤ q̂} - level)| / Σ|x|``, with
    sums over the target cells and q̂ by linear interpolation between the samples (Tashiro et al.
    2021, CSDI).  It depends on the unit (standardised or not) and on the number of samples.

    Parameters
    ----------
    samples : array_like of float, shape (S, ...)
        Samples in the truth's unit.
    truth : array_like of float, shape (...)
        What was held out.
    target_mask : array_like of bool, shape (...)
        True at the cells that are scored.

    Returns
    -------
    float
        The score, without unit; smaller is better.

    Raises
    ------
    InputError
        On unequal shapes, an empty target, NaN at a target cell, or a truth that is 0 in all.
    """
    pinball, size = 0.0, 0.0
    for ordered, values in sorted_sample_blocks(samples, truth, target_mask):
        pinball += _pinball_sum(sorted_quantiles(ordered, CRPS_LEVELS), CRPS_LEVELS, values)
        size += float(np.abs(values).sum())
    return _normalised(pinball / len(CRPS_LEVELS), size)


def quantile_crps_from_quantiles(
    quantiles: ArrayLike, levels: Sequence[float], truth: ArrayLike, target_mask: ArrayLike
) -> float:
    """Normalised quantile CRPS of quantiles that are already there; see `quantile_crps`.

    Parameters
    ----------
    quantiles : array_like of float, shape (n_levels, ...)
        Predicted quantiles in the truth's unit.
    levels : sequence of float
        Their levels, strictly between 0 and 1; the protocol's are `CRPS_LEVELS`.
    truth : array_like of float, shape (...)
        What was held out.
    target_mask : array_like of bool, shape (...)
        True at the cells that are scored.

    Returns
    -------
    float
        The score, without unit; smaller is better.

    Raises
    ------
    InputError
        As `quantile_crps`, and if the levels do not fit the quantiles.
    """
    predicted, probabilities = np.asarray(quantiles), checked_levels(levels)
    if predicted.shape[:1] != (len(probabilities),):
        raise InputError(
            f"quantiles: got shape {predicted.shape}, expected {len(probabilities)} rows, one for "
            "each level; put the levels on the first axis"
        )
    pinball, size = 0.0, 0.0
    for block, values in target_blocks(predicted, truth, target_mask, "quantiles"):
        pinball += _pinball_sum(block, probabilities, values)
        size += float(np.abs(values).sum())
    return _normalised(pinball / len(probabilities), size)


def ensemble_crps(samples: ArrayLike, truth: ArrayLike, target_mask: ArrayLike) -> float:
    """Mean pointwise CRPS of the samples' empirical distribution, in the data's unit.

    ``E|X - x| - ½ E|X - X'|`` over the samples (Gneiting and Raftery 2007, equation 21), by
    ``properscoring.crps_ensemble``.  Parameters and input errors are those of `quantile_crps`, but
    a truth of 0 is allowed.
    """
    total, n_cells = 0.0, 0
    for ordered, values in sorted_sample_blocks(samples, truth, target_mask):
        total += _pointwise_crps_sum(ordered, values)
        n_cells += values.size
    return total / n_cells


def score_samples(samples: ArrayLike, truth: ArrayLike, target_mask: ArrayLike) -> dict[str, float]:
    """All scores of the protocol in one pass over the target cells.

    Parameters and errors are those of `quantile_crps` and `ensemble_crps`.

    Returns
    -------
    dict of str to float
        ``mae`` and ``rmse`` of the lower median, ``crps`` (normalised, `quantile_crps`),
        ``crps_pointwise`` (`ensemble_crps`), ``coverage_50``, ``coverage_90``, ``width_50``,
        ``width_90``, and ``n``, the number of target cells (an int).
    """
    sums: dict[str, float] = {}
    for ordered, values in sorted_sample_blocks(samples, truth, target_mask):
        for name, addend in _score_sums(ordered, values).items():
            sums[name] = sums.get(name, 0.0) + addend
    n_cells, size, pinball = int(sums.pop("n")), sums.pop("size"), sums.pop("pinball")
    scores = {name: total / n_cells for name, total in sums.items()}
    scores["rmse"] **= 0.5
    scores["crps"] = _normalised(pinball / len(CRPS_LEVELS), size)
    return {**scores, "n": n_cells}


def _score_sums(ordered: FloatArray, values: FloatArray) -> dict[str, float]:
    """Sums over one block of everything that `score_samples` averages."""
    errors = sorted_median(ordered) - values
    quantiles = sorted_quantiles(ordered, CRPS_LEVELS)
    sums = {
        "mae": float(np.abs(errors).sum()),
        "rmse": float(np.square(errors).sum()),
        "crps_pointwise": _pointwise_crps_sum(ordered, values),
        "pinball": _pinball_sum(quantiles, CRPS_LEVELS, values),
        "size": float(np.abs(values).sum()),
        "n": values.size,
    }
    for percent, low, high in ((50, 0.25, 0.75), (90, 0.05, 0.95)):
        lower, upper = quantiles[CRPS_LEVELS.index(low)], quantiles[CRPS_LEVELS.index(high)]
        sums[f"coverage_{percent}"] = float(((lower <= values) & (values <= upper)).sum())
        sums[f"width_{percent}"] = float((upper - lower).sum())
    return sums


def _errors(estimate: ArrayLike, truth: ArrayLike, target_mask: ArrayLike) -> FloatArray:
    values, mask = checked_target(truth, target_mask)
    blocks = target_blocks(np.asarray(estimate)[None], values, mask, "estimate")
    return np.concatenate([row[0] - block for row, block in blocks])


def _pinball_sum(quantiles: FloatArray, levels: Sequence[float], values: FloatArray) -> float:
    """Sum over levels and cells of twice the pinball loss."""
    errors = quantiles - values
    weights = (errors >= 0) - np.asarray(levels)[:, None]
    return 2 * float(np.abs(errors * weights).sum())


def _normalised(score: float, size: float) -> float:
    if size == 0:
        raise InputError(
            "truth: got 0 at every target cell, expected some other value, because the normalised "
            "CRPS divides by the sum of |truth|; use ensemble_crps instead"
        )
    return score / size


def _pointwise_crps_sum(draws: FloatArray, values: FloatArray) -> float:
    crps_ensemble = _import_crps_ensemble()
    n_samples = draws.shape[0]
    step = max(1, min(_PAIR_CELLS, _PAIR_NUMBERS // n_samples**2))
    total = 0.0
    for start in range(0, values.size, step):
        cells = slice(start, start + step)
        total += float(crps_ensemble(values[cells], draws[:, cells].T).sum())
    return total


def _import_crps_ensemble() -> Any:
    with warnings.catch_warnings():  # its docstrings hold escapes that newer Pythons warn about
        warnings.simplefilter("ignore")
        from properscoring import crps_ensemble
    return crps_ensemble
