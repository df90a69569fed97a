"""A running table of how well the network does at every diffusion step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsimpute.diffusion.elbo import negative_elbo

FloatArray = NDArray[np.float64]

MEMORY = 64  # observations of a step after which old ones fade
NOISE_ERROR_CEILING = 1.0  # a network that knows nothing predicts zero noise, with error 1
MOST_SIGNAL_AT_START = 0.25  # share of the variance at the noisiest kept step
SIGNAL_PENALTY = 100.0  # nats for each share beyond that: more than any step can earn
SERIES_ERROR_CEILING = 3.0  # standardised records with impossible values must not rule the table


@dataclass
class LevelErrors:
    """Mean squared error of the predicted noise by diffusion step.

    Attributes
    ----------
    alpha_bar : ndarray of float64, shape (T,)
    noise_error : ndarray of float64, shape (T,)
        Running mean over series.
    n_seen : ndarray of float64, shape (T,)
        Weight of what has been seen, at most `MEMORY`.
    """

    alpha_bar: FloatArray
    noise_error: FloatArray
    n_seen: FloatArray

    @classmethod
    def unknown(cls, alpha_bar: FloatArray) -> LevelErrors:
        """Table of a network that predicts the noise of a standard normal x_0."""
        return cls(alpha_bar, alpha_bar.copy(), np.full(len(alpha_bar), 1.0))

    def add(self, steps: NDArray[np.int64], error: FloatArray, n_cells: FloatArray) -> None:
        """Add summed squared errors of series with `n_cells` target cells at their steps."""
        for step, total, n in zip(steps, error, n_cells, strict=True):
            if n > 0:
                seen = min(total / n, SERIES_ERROR_CEILING)
                self.n_seen[step] = min(self.n_seen[step] + 1, MEMORY)
                self.noise_error[step] += (seen - self.noise_error[step]) / self.n_seen[step]

    def clean_error(self) -> FloatArray:
        """Mean squared error of the implied clean values, smoothed over neighbouring steps."""
        weight = self.n_seen
        kernel = np.array([0.25, 0.5, 1.0, 0.5, 0.25])
        log_error = np.log(np.minimum(self.noise_error, NOISE_ERROR_CEILING) + 1e-12)
        smooth = _convolve(log_error * weight, kernel) / _convolve(weight, kernel)
        return np.asarray(np.exp(smooth) * (1 - self.alpha_bar) / self.alpha_bar)

    def price(self, step_masks: NDArray[np.bool_]) -> FloatArray:
        """Negative ELBO a cell of each mask (R, T); standardised data have second moment 1.

        A chain that would start at pure noise where much signal should still be costs extra.
        """
        cost = negative_elbo(step_masks, self.clean_error(), self.alpha_bar, second_moment=1.0)
        noisiest = np.where(step_masks, self.alpha_bar, 1.0).min(axis=1)
        allowed = max(MOST_SIGNAL_AT_START, self.alpha_bar[-1])
        return np.asarray(cost + SIGNAL_PENALTY * np.maximum(0.0, noisiest - allowed))


def _convolve(values: FloatArray, kernel: FloatArray) -> FloatArray:
    if len(values) < len(kernel):
        return values
    return np.convolve(values, kernel, mode="same")
