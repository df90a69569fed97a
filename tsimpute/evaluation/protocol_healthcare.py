"""The Healthcare benchmark (PhysioNet/CinC 2012, set-a) as CSDI cuts it (Tashiro et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError
from tsimpute.evaluation.cells import BoolArray, FloatArray

IndexArray = NDArray[np.intp]


@dataclass(frozen=True)
class HealthcareSplit:
    """Positions of the stays of one fold, in the (shuffled) order of the protocol.

    Attributes
    ----------
    train, validation, test : ndarray of int
        Positions among the non-empty stays in ascending id order.
    """

    train: IndexArray
    validation: IndexArray
    test: IndexArray


def healthcare_split(n_stays: int, fold: int, seed: int = 1) -> HealthcareSplit:
    """Split the stays of the Healthcare benchmark as CSDI does.

    Parameters
    ----------
    n_stays : int
        Number of stays with at least one reading: 3,997 in set-a.
    fold : int
        0 to 4; the test stays are the shuffled slice ``[0.2 n fold, 0.2 n (fold + 1))``.
    seed : int, default 1
        Seed of both shuffles.

    Returns
    -------
    HealthcareSplit
        Train is the first ``int(0.7 n)`` of the re-shuffled rest, validation what remains.

    Raises
    ------
    InputError
        If ``fold`` is not 0 to 4 or there are fewer than 5 stays.
    """
    if fold not in range(5):
        raise InputError(f"fold: got {fold}, expected 0 to 4; the protocol has five folds")
    if n_stays < 5:
        raise InputError(f"n_stays: got {n_stays}, expected at least 5, one for each fold")
    order = np.arange(n_stays)
    np.random.RandomState(seed).shuffle(order)
    start, stop = int(fold * 0.2 * n_stays), int((fold + 1) * 0.2 * n_stays)
    rest = np.delete(order, np.arange(start, stop))
    np.random.RandomState(seed).shuffle(rest)
    n_train = int(n_stays * 0.7)
    return HealthcareSplit(rest[:n_train], rest[n_train:], order[start:stop])


def healthcare_targets(values: ArrayLike, missing_rate: float, seed: int = 1) -> BoolArray:
    """Draw the held-out cells of the Healthcare benchmark.

    Parameters
    ----------
    values : array_like of float, shape (n_stays, n_steps, n_features)
        The non-empty stays in ascending id order; NaN where there is no reading.
    missing_rate : float
        Share of each stay's readings to hide, in [0, 1]: 0.1, 0.5 or 0.9 in the papers.
    seed : int, default 1
        Seed of the one generator that all stays draw from, in order.

    Returns
    -------
    ndarray of bool, shape (n_stays, n_steps, n_features)
        The target mask: True at the hidden cells, ``int(n_observed * missing_rate)`` for each stay.

    Raises
    ------
    InputError
        If the rate is outside [0, 1], the array is not three-dimensional or a stay is empty.
    """
    if not 0 <= missing_rate <= 1:
        raise InputError(f"missing_rate: got {missing_rate}, expected 0 to 1; write 10 % as 0.1")
    observed_mask = ~np.isnan(_stays(values))
    generator = np.random.RandomState(seed)
    target_mask = np.zeros(observed_mask.shape, dtype=bool)
    for stay, observed in zip(
        target_mask.reshape(len(target_mask), -1), observed_mask, strict=True
    ):
        cells = np.flatnonzero(observed)
        stay[generator.choice(cells, int(cells.size * missing_rate), replace=False)] = True
    return target_mask


def healthcare_scale(values: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (ddof 0) of each variable over all its readings.

    The papers' metrics are in these units.  They see the test cells too: use them to compare with
    the papers, not to report what a product would do.

    Parameters
    ----------
    values : array_like of float, shape (n_stays, n_steps, n_features)
        The non-empty stays; NaN where there is no reading.

    Returns
    -------
    mean, sd : ndarray of float64, shape (n_features,)

    Raises
    ------
    InputError
        If the array is not three-dimensional, a stay is empty or a variable has no reading.
    """
    stays = _stays(values).astype(np.float64, copy=False)
    empty = np.flatnonzero(np.isnan(stays).all(axis=(0, 1)))
    if empty.size:
        raise InputError(f"values: got no reading of feature {empty[0]}, expected some; drop it")
    return np.nanmean(stays, axis=(0, 1)), np.nanstd(stays, axis=(0, 1))


def _stays(values: ArrayLike) -> NDArray[Any]:
    stays = np.asarray(values)
    if stays.ndim != 3:
        raise InputError(f"values: got {stays.ndim} axes, expected (stay, time, feature)")
    empty = np.flatnonzero(np.isnan(stays).all(axis=(1, 2)))
    if empty.size:
        raise InputError(
            f"values: got no reading in stay {empty[0]} ({empty.size} such stays), expected at "
            "least one in each; drop the empty stays first, as the protocol does"
        )
    return stays
