"""Scores of joint samples: what the marginals of single cells cannot tell.

Each takes samples of some cells together, (S, D), and the D true values. A forecast that is right
in every cell but wrong about how cells hang together pays here and nowhere else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist

from tsimpute.errors import InputError

FloatArray = NDArray[np.float64]


def energy_score(samples: ArrayLike, truth: ArrayLike) -> float:
    """E|X - x| - ½ E|X - X'| with Euclidean norms (Gneiting and Raftery 2007, Eq. 22).

    The expectation over pairs leaves out equal indices, so that few samples are not punished for
    being few. With D = 1 it is the CRPS.

    Parameters
    ----------
    samples : array_like of float, shape (S, D)
        At least 2 samples.
    truth : array_like of float, shape (D,)

    Returns
    -------
    float
        In the data's unit; smaller is better.

    Raises
    ------
    InputError
        If the shapes do not fit, or there are fewer than 2 samples.
    """
    drawn, values = _checked(samples, truth)
    to_truth = np.linalg.norm(drawn - values, axis=1).mean()
    return float(to_truth - 0.5 * pdist(drawn).mean())


def variogram_score(samples: ArrayLike, truth: ArrayLike, order: float = 0.5) -> float:
    """Mean over pairs of cells of (|x_i - x_j|^p - E|X_i - X_j|^p)^2 (Scheuerer and Hamill 2015).

    Parameters
    ----------
    samples : array_like of float, shape (S, D)
        At least 2 samples of at least 2 cells.
    truth : array_like of float, shape (D,)
    order : float, default=0.5
        p.

    Returns
    -------
    float
        Smaller is better; 0 where every difference is foretold.

    Raises
    ------
    InputError
        If the shapes do not fit, or there are fewer than 2 samples or cells.
    """
    drawn, values = _checked(samples, truth)
    if len(values) < 2:
        raise InputError("truth: got 1 cell, expected at least 2, which can differ")
    first, second = np.triu_indices(len(values), k=1)
    observed = np.abs(values[first] - values[second]) ** order
    expected = np.zeros(len(first))
    for sample in drawn:
        expected += np.abs(sample[first] - sample[second]) ** order
    return float(np.square(observed - expected / len(drawn)).mean())


def gap_contrasts(given_mask: ArrayLike, target_mask: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Sums over gaps and differences within them, as weights of the scored cells.

    A gap is a stretch of rows between two given cells of a feature. Against the edge of a gap a
    difference would say no more than the marginal: the cell there is known.

    Parameters
    ----------
    given_mask, target_mask : array_like of bool, shape (L, K)
        Cells that were shown, and cells that are scored.

    Returns
    -------
    sums : ndarray of float64, shape (n_gaps, D)
        One row a gap with at least two scored cells; the D scored cells are in the order of
        ``values[target_mask]``.
    differences : ndarray of float64, shape (n_pairs, D)
        One row a pair of scored cells that follow each other in a gap.
    """
    given, target = np.asarray(given_mask, dtype=bool), np.asarray(target_mask, dtype=bool)
    row, feature = np.nonzero(target)
    gap = np.cumsum(given, axis=0)[row, feature]  # given cells before: the same within a gap
    sums, differences = [], []
    for key in np.unique(np.column_stack([feature, gap]), axis=0):
        (members,) = np.nonzero((feature == key[0]) & (gap == key[1]))
        if len(members) < 2:
            continue
        eye = np.eye(len(row))
        sums.append(eye[members].sum(axis=0))
        differences += list(eye[members[1:]] - eye[members[:-1]])
    n = len(row)
    return np.reshape(sums, (len(sums), n)), np.reshape(differences, (len(differences), n))


def contrast_crps(samples: ArrayLike, truth: ArrayLike, contrasts: ArrayLike) -> FloatArray:
    """CRPS of weighted sums of cells.

    Parameters
    ----------
    samples : array_like of float, shape (S, D)
        At least 2 samples.
    truth : array_like of float, shape (D,)
    contrasts : array_like of float, shape (n, D)
        See `gap_contrasts`.

    Returns
    -------
    ndarray of float64, shape (n,)
        As `energy_score`, not punished for few samples.

    Raises
    ------
    InputError
        If the shapes do not fit, or there are fewer than 2 samples.
    """
    drawn, values = _checked(samples, truth)
    weights = np.asarray(contrasts, dtype=np.float64)
    return np.array([energy_score(drawn @ w[:, None], [values @ w]) for w in weights])


def _checked(samples: ArrayLike, truth: ArrayLike) -> tuple[FloatArray, FloatArray]:
    drawn, values = np.asarray(samples, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if drawn.ndim != 2 or values.ndim != 1 or drawn.shape[1] != len(values) or len(values) == 0:
        raise InputError(
            f"got samples of shape {drawn.shape} and truth of shape {values.shape}, expected "
            f"(S, D) and (D,) with at least one cell"
        )
    if len(drawn) < 2:
        raise InputError(f"samples: got {len(drawn)}, expected at least 2; draw more")
    return drawn, values
