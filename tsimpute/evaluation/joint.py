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
