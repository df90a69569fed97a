"""Split-conformal calibration of predicted quantiles, by feature and distance to a reading.

Conformalised quantile regression (Romano et al., NeurIPS 2019), with the distance from the median
as the unit of the scores: for a predicted quantile q of level t and median m, the calibrated one is
m + f (q - m), where f is the conformal quantile of (y - m) / (q - m) over cells whose value y is
known. Each level has a factor of its own, so that intervals may become wider at one level and
narrower at another; the median stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from tsimpute.errors import InputError
from tsimpute.evaluation.cells import FloatArray
from tsimpute.evaluation.design_effect import independent_cells, likeness
from tsimpute.evaluation.metrics import CRPS_LEVELS

IntArray = NDArray[np.int64]

GRID = (0.005, 0.01, 0.025, *CRPS_LEVELS, 0.975, 0.99, 0.995)
_LEVELS = np.array(GRID)
_MEDIAN = GRID.index(0.5)
_TAIL = np.minimum(_LEVELS, 1 - _LEVELS)  # share of the cells beyond each level
# So many cells count as much as what the wider group says: enough that one is beyond the level.
PRIOR_CELLS = np.maximum(10.0, 1 / _TAIL)
# Levels with enough cells beyond them to tell how alike the cells of a gap are.
_JUDGED = (_TAIL > 0.04) & (_LEVELS != 0.5)
LEAST_FACTOR = 0.01
FLOOR = 1e-3  # least distance from the median, in standard deviations of a feature and a Gaussian


@dataclass(frozen=True, eq=False)
class Calibration:
    """Factors for the distance of each quantile from the median, in scaled units.

    Attributes
    ----------
    factors : ndarray of float64, shape (K, n_distances, 25)
        By feature, group of distances, and level of `GRID`; 1 at the median.
    n_cells : ndarray of int64, shape (K, n_distances)
        Cells behind them.
    first_distances : ndarray of int64, shape (n_distances,)
        First distance of each group, in rows to the nearest observed cell of the same feature.
    way : dict of str to str
        How the quantiles were made that it fits; for "samples" also sampler, variance and start.
    n_samples : int
        Samples behind those quantiles; 0 where there were none.
    """

    factors: FloatArray
    n_cells: IntArray
    first_distances: IntArray
    way: Mapping[str, str]
    n_samples: int = 0

    def group_of(self, distances: IntArray) -> IntArray:
        """Group of each distance of 1 row or more; that of 1 for 0."""
        found = np.searchsorted(self.first_distances, distances, side="right") - 1
        return np.asarray(np.maximum(found, 0))

    def apply(
        self, raw: FloatArray, asked: Sequence[float], wanted: Sequence[float], factors: FloatArray
    ) -> FloatArray:
        """Calibrated quantiles of cells.

        Parameters
        ----------
        raw : ndarray of float, shape (n_asked, n)
            Predicted quantiles in scaled units.
        asked : sequence of float
            Their levels, ascending: `with_grid(wanted)`.
        wanted : sequence of float
            Levels to return, in any order.
        factors : ndarray of float64, shape (n, 25)
            Row of `factors` for each cell.

        Returns
        -------
        ndarray of float64, shape (n_wanted, n)
            Never decreasing with the level. Between two levels of the grid the predicted
            quantiles say how the way between the calibrated ones is divided.
        """
        place = {level: row for row, level in enumerate(asked)}
        middle = raw[place[0.5]]
        away = distances_from_median(raw, asked)  # (n_asked, n)
        on_grid = away[[place[level] for level in GRID]]
        new = on_grid * factors.T
        new[_MEDIAN:] = np.maximum.accumulate(new[_MEDIAN:], axis=0)
        new[_MEDIAN::-1] = np.maximum.accumulate(new[_MEDIAN::-1], axis=0)
        found = [_between(level, away[place[level]], on_grid, new) for level in wanted]
        signs = np.sign(np.asarray(wanted) - 0.5)[:, None]
        return np.asarray(middle + signs * np.array(found))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; they pass through JSON without any loss."""
        return {
            "levels": list(GRID),
            "factors": self.factors.tolist(),
            "n_cells": self.n_cells.tolist(),
            "first_distances": self.first_distances.tolist(),
            "way": dict(self.way),
            "n_samples": self.n_samples,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        """The calibration that `to_dict` described.

        Raises
        ------
        InputError
            If it is of other levels.
        """
        if stored.get("levels") != list(GRID):
            raise InputError(f"calibration: got levels {stored.get('levels')}, expected {GRID}")
        return cls(
            np.array(stored["factors"], dtype=np.float64),
            np.array(stored["n_cells"], dtype=np.int64),
            np.array(stored["first_distances"], dtype=np.int64),
            dict(stored["way"]),
            int(stored["n_samples"]),
        )


def with_grid(levels: Sequence[float]) -> list[float]:
    """Levels that must be predicted so that these can be calibrated, ascending."""
    return sorted({*GRID, *levels})


def distances_from_median(raw: FloatArray, levels: Sequence[float]) -> FloatArray:
    """How far quantiles (n_levels, n) lie from their median, never less than a small floor."""
    least = FLOOR * np.abs(ndtri(np.asarray(levels)))
    middle = raw[list(levels).index(0.5)]
    return np.asarray(np.maximum(np.abs(raw - middle), least[:, None]))


def fit_factors(
    raw: FloatArray,
    truth: FloatArray,
    features: IntArray,
    groups: IntArray,
    gaps: IntArray,
    shape: tuple[int, int],
) -> tuple[FloatArray, IntArray]:
    """Factors (K, n_distances, 25) and the numbers of cells (K, n_distances) behind them.

    A group with few cells is drawn towards a wider one: all cells towards factors of 1, features
    and distances towards all cells (a distance: towards the next smaller one), and a feature at a
    distance towards the product of both. Cells of one gap go wrong together, so that n of them
    count as fewer independent ones; see `tsimpute.evaluation.design_effect`.

    Parameters
    ----------
    raw : ndarray of float64, shape (25, n)
        Predicted quantiles at the levels of `GRID`, in scaled units.
    truth : ndarray of float64, shape (n,)
        What the cells held.
    features, groups, gaps : ndarray of int64, shape (n,)
        Feature and group of distances of each cell; a number for each gap.
    shape : (K, n_distances)

    Raises
    ------
    InputError
        If there is no cell.
    """
    if not truth.size:
        raise InputError("calibration: got no cell, expected some observed cells to hide")
    n_features, n_groups = shape
    signed = np.sign(_LEVELS - 0.5)[:, None] * (truth - raw[_MEDIAN])
    scores = signed / np.where(_LEVELS == 0.5, 1.0, distances_from_median(raw, GRID).T).T
    alike = likeness(scores[_JUDGED], 1 - _TAIL[_JUDGED], features, gaps)
    overall = _drawn_to(np.ones(len(GRID)), scores, gaps, alike)
    by_feature = _by_group(scores, gaps, features, np.tile(overall, (n_features, 1)), alike)
    by_distance, prior = [], overall
    for group in range(n_groups):
        prior = _drawn_to(prior, scores[:, groups == group], gaps[groups == group], alike)
        by_distance.append(prior)
    both = by_feature[:, None] * np.array(by_distance) / overall
    cell = features * n_groups + groups
    factors = _by_group(scores, gaps, cell, both.reshape(-1, len(GRID)), alike)
    counts = np.bincount(cell, minlength=n_features * n_groups)
    return factors.reshape(n_features, n_groups, len(GRID)), counts.reshape(shape)


def _by_group(
    scores: FloatArray, gaps: IntArray, groups: IntArray, priors: FloatArray, alike: float
) -> FloatArray:
    """Factors (n_groups, 25) of groups of cells, each drawn to its prior (n_groups, 25)."""
    order = np.argsort(groups, kind="stable")
    stops = np.cumsum(np.bincount(groups, minlength=len(priors)))
    cells = zip(priors, np.split(order, stops[:-1]), strict=True)
    return np.array([_drawn_to(prior, scores[:, own], gaps[own], alike) for prior, own in cells])


def _drawn_to(prior: FloatArray, scores: FloatArray, gaps: IntArray, alike: float) -> FloatArray:
    """Conformal factors (25,) between those of the scores (25, n) and the prior, in logarithms.

    The margin for few cells is as much smaller as the prior counts, which steadies the factor:
    with the whole of it intervals of many small groups are too wide on the whole.
    """
    if not gaps.size:
        return prior
    n_independent = independent_cells(gaps, alike)
    share = n_independent / (n_independent + PRIOR_CELLS)
    own = conformal_factors(scores, n_independent / share)
    return np.asarray(np.exp(share * np.log(own) + (1 - share) * np.log(prior)))


def conformal_factors(scores: ArrayLike, n_independent: float | FloatArray) -> FloatArray:
    """Factor of each level: the smallest score that a share p (m + 1) / m is not above.

    Parameters
    ----------
    scores : array_like of float, shape (25, n)
        Signed distances of the truth from the median, outwards, in those of the quantile.
    n_independent : float, or ndarray of float64, shape (25,)
        m, how many independent cells the n tell as much as, for each level. If that is all of
        them, the ranks are ceil((n + 1) p).

    Returns
    -------
    ndarray of float64, shape (25,)
        At least `LEAST_FACTOR`; 1 at the median. p is the level, or 1 minus it below the median;
        where the rank is beyond n, the largest score.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=1)
    n = ordered.shape[1]
    wanted = n * (1 - _TAIL) * (n_independent + 1) / n_independent
    rank = np.ceil(wanted - 1e-9).astype(np.int64)
    best = ordered[np.arange(len(GRID)), np.minimum(rank, n) - 1]
    found: FloatArray = np.maximum(best, LEAST_FACTOR)
    found[_MEDIAN] = 1.0
    return found


def _between(level: float, away: FloatArray, on_grid: FloatArray, new: FloatArray) -> FloatArray:
    """Calibrated distance (n,) of a level whose predicted distance is `away`."""
    if level in GRID:
        return np.asarray(new[GRID.index(level)])
    above = int(np.searchsorted(_LEVELS, level))
    if above in (0, len(GRID)):
        outermost = min(above, len(GRID) - 1)
        return np.asarray(new[outermost] * away / on_grid[outermost])
    inner, outer = (above - 1, above) if level > 0.5 else (above, above - 1)
    span = on_grid[outer] - on_grid[inner]
    share = np.divide(away - on_grid[inner], span, out=np.zeros_like(away), where=span > 0)
    return np.asarray(new[inner] + share * (new[outer] - new[inner]))
