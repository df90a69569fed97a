"""What a set of kept steps costs: the negative evidence lower bound, from one error table.

On a respaced chain the level of a kept step does not depend on which others are kept, so one
table of clean-value errors e_t = E (x_0 - x0_hat(x_t))^2 prices every subset of steps without
another evaluation of the network (Watson et al. 2021; Bao et al. 2022, Section 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def prior_term(alpha_bar: FloatArray, second_moment: float) -> FloatArray:
    """KL(q(x_t | x_0) || N(0, I)) a cell: what starting from pure noise at this level costs."""
    cost: FloatArray = 0.5 * (alpha_bar * (second_moment - 1) - np.log1p(-alpha_bar))
    return cost


def transition_term(
    clean_error: FloatArray, alpha_bar: FloatArray, cleaner: FloatArray
) -> FloatArray:
    """Cost a cell of stepping from level A to the cleaner level S with the best variance.

    The mean is off by e_t c1^2; the best Gaussian has variance beta-tilde + c1^2 e_t, and
    c1^2 / beta-tilde = snr(S) - snr(A), so that the expected KL is half of
    ln(1 + e_t (snr(S) - snr(A))).
    """
    gain = cleaner / (1 - cleaner) - alpha_bar / (1 - alpha_bar)
    cost: FloatArray = 0.5 * np.log1p(clean_error * gain)
    return cost


def decoder_term(clean_error: FloatArray, resolution: float) -> FloatArray:
    """Negative log-likelihood a cell of the last step, a Gaussian with variance e_t.

    `resolution` is the standard deviation below which nobody asks for detail; without it a step
    without noise would be worth any price.
    """
    cost: FloatArray = 0.5 * np.log(clean_error + resolution**2)
    return cost


def negative_elbo(
    step_masks: BoolArray,
    clean_error: FloatArray,
    alpha_bar: FloatArray,
    second_moment: float,
    resolution: float = 0.1,
) -> FloatArray:
    """Negative ELBO a target cell, up to a constant, of each mask on the respaced chain.

    Parameters
    ----------
    step_masks : ndarray of bool, shape (R, T)
        Each with at least one True.
    clean_error : ndarray of float64, shape (T,)
        Mean squared error of the clean values that the network sees at each step, in
        standardised units.
    alpha_bar : ndarray of float64, shape (T,)
        Of the full chain.
    second_moment : float
        E x_0^2 over target cells.
    resolution : float
        Smallest detail that counts, in standard deviations of the feature.

    Returns
    -------
    ndarray of float64, shape (R,)
    """
    total = np.zeros(len(step_masks))
    cleaner = np.full(len(step_masks), np.nan)  # level of the last kept step so far
    for t, (error, level) in enumerate(zip(clean_error, alpha_bar, strict=True)):
        first = np.isnan(cleaner)
        jump = transition_term(np.array(error), np.array(level), np.where(first, level, cleaner))
        cost = np.where(first, decoder_term(np.array(error), resolution), jump)
        total += np.where(step_masks[:, t], cost, 0.0)
        cleaner = np.where(step_masks[:, t], level, cleaner)
    return total + prior_term(cleaner, second_moment)
