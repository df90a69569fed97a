"""GGDM: a sampler whose coefficients are all learned (Watson et al. 2021a, DDSS).

"Learning fast samplers for diffusion models by differentiating through sample quality". A step
goes from the states at the levels so far, x_u, and the clean values that the network sees in the
newest one, to

    x_s = sum over u of a_su x_u + b_s x0_hat + sigma_s z.

DDIM, ancestral sampling and every multistep solver are such samplers, so that fitted
coefficients can start from one of them and only get better than it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tsimpute.diffusion.schedule import FloatArray, TimeGrid
from tsimpute.errors import InputError
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    DrawNoise,
    ReverseVariance,
    Sampler,
    StepRecord,
    add_noise,
    clean_values,
)
from tsimpute.samplers.variance import fixed

Scalar = float | Tensor


class Weights(NamedTuple):
    """Coefficients as :func:`walk` reads them: numbers, or scalar tensors with gradients.

    Attributes
    ----------
    state : sequence of sequences, shape (K, K)
        a: row j is the step that leaves level j, column u >= j the state at level u.
    clean : sequence, shape (K,)
        b, of the clean values seen from the newest state.
    deviation : sequence, shape (K,)
        sigma, of the step's noise.
    """

    state: Sequence[Sequence[Scalar]]
    clean: Sequence[Scalar]
    deviation: Sequence[Scalar]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Coefficients of a GGDM sampler for one grid of K levels, cleanest first.

    Attributes
    ----------
    alpha_bar : ndarray of float64, shape (K,)
        The levels of the grid that they belong to.
    state_weight : ndarray of float64, shape (K, K)
        Row j: the weights a of the states at levels j..K-1 in the step that leaves level j; 0
        for cleaner levels, which that step has not reached.
    clean_weight : ndarray of float64, shape (K,)
        The weight b of the clean values seen from level j.
    deviation : ndarray of float64, shape (K,)
        The standard deviation sigma of the noise that the step from level j adds, at least 0.

    Raises
    ------
    InputError
        If the shapes do not fit together, a number is not finite, a deviation is negative, or a
        state is weighted before it is reached.
    """

    alpha_bar: FloatArray
    state_weight: FloatArray
    clean_weight: FloatArray
    deviation: FloatArray

    def __post_init__(self) -> None:
        n_levels = self.alpha_bar.size
        expected = [(n_levels,), (n_levels, n_levels), (n_levels,), (n_levels,)]
        arrays = [getattr(self, item.name) for item in fields(self)]
        shapes = [array.shape for array in arrays]
        if n_levels == 0 or shapes != expected:
            raise InputError(f"GGDM coefficients: got shapes {shapes}, expected {expected}")
        if not all(np.isfinite(array).all() for array in arrays):
            raise InputError("GGDM coefficients: got a number that is not finite")
        if (self.deviation < 0).any() or np.tril(self.state_weight, -1).any():
            raise InputError(
                "GGDM coefficients: got a negative deviation, or a weight of a state that is not "
                "reached yet; expected deviations of at least 0 and 0 below the diagonal"
            )

    @property
    def weights(self) -> Weights:
        """The coefficients as plain numbers."""
        state: list[list[float]] = self.state_weight.tolist()
        return Weights(state, self.clean_weight.tolist(), self.deviation.tolist())

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain lists of floats; they pass through JSON without any loss."""
        return {item.name: getattr(self, item.name).tolist() for item in fields(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Coefficients:
        """The coefficients that `to_dict` described.

        Raises
        ------
        InputError
            If a field is absent, unknown, or not lists of finite floats that fit together.
        """
        expected = [item.name for item in fields(cls)]
        if sorted(stored) != sorted(expected):
            raise InputError(f"GGDM coefficients: got fields {sorted(stored)}, expected {expected}")
        try:
            arrays = {key: np.array(stored[key], dtype=np.float64) for key in expected}
        except (TypeError, ValueError) as error:
            raise InputError(f"GGDM coefficients: expected lists of floats; {error}") from error
        return cls(**arrays)


def ddim_coefficients(grid: TimeGrid, eta: float = 1.0) -> Coefficients:
    """Coefficients with which GGDM is DDIM (Song et al. 2021), draw for draw.

    Parameters
    ----------
    grid : TimeGrid
        K levels.
    eta : float, default=1.0
        Share of the ancestral noise, in [0, 1]: 1 is :func:`tsimpute.samplers.ancestral`, 0 the
        deterministic sampler.

    Returns
    -------
    Coefficients

    Raises
    ------
    InputError
        If eta lies outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise InputError(f"got eta={eta!r}, expected a number from 0 (no noise) to 1 (ancestral)")
    level, cleaner = grid.alpha_bar, grid.alpha_bar_previous
    fresh = eta**2 * grid.posterior_variance
    newest: NDArray[np.float64] = np.sqrt(np.maximum(0.0, 1 - cleaner - fresh) / (1 - level))
    clean = np.sqrt(cleaner) - newest * np.sqrt(level)
    return Coefficients(level, np.diag(newest), clean, np.sqrt(fresh))


def ggdm(coefficients: Coefficients) -> Sampler:
    """Sampler with the given coefficients (Watson et al. 2021a).

    It has a noise of its own, also at the last step, where a sample is a draw from
    N(x0, sigma_0^2). K levels cost K evaluations; all K states are kept until the end.

    Parameters
    ----------
    coefficients : Coefficients
        For the levels of the grid that will be walked.

    Returns
    -------
    Sampler
        Raises InputError for another grid, and for any variance but
        :func:`tsimpute.samplers.variance.fixed`.
    """
    weights = coefficients.weights

    def sample(
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance = fixed,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        if variance is not fixed:
            raise InputError(
                "got another variance than 'fixed' for the sampler 'ggdm', which has its own "
                "noise, fitted with its other coefficients; use variance='fixed'"
            )
        _check_levels(coefficients, grid)
        return walk(denoise, x, grid, weights, draw_noise, callback)

    return sample


def walk(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    weights: Weights,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Clean values by the steps that the weights describe, differentiable in them.

    Parameters
    ----------
    denoise, x, grid, draw_noise, callback
        As described in :mod:`tsimpute.samplers`.
    weights : Weights
        A weight that is the number 0 costs nothing.

    Returns
    -------
    Tensor
        Of the shape and dtype of x.
    """
    states: dict[int, Tensor] = {}
    for j in reversed(range(len(grid))):
        level = float(grid.alpha_bar[j])
        states[j] = x
        prediction = denoise(x, float(grid.network_step[j]), level)
        clean = clean_values(x, prediction.noise, level)
        mean = weights.clean[j] * clean
        for u, state in states.items():
            mean = _plus(mean, weights.state[j][u], state)
        spread = weights.deviation[j] ** 2
        x = add_noise(mean, spread, draw_noise)
        if callback is not None:
            callback(StepRecord(j, x, clean if j > 0 else mean, spread))
    return x


def _plus(total: Tensor, weight: Scalar, state: Tensor) -> Tensor:
    is_nothing = not isinstance(weight, Tensor) and weight == 0
    return total if is_nothing else total + weight * state


def _check_levels(coefficients: Coefficients, grid: TimeGrid) -> None:
    ours, asked = coefficients.alpha_bar, grid.alpha_bar
    if len(ours) == len(asked) and np.allclose(ours, asked, rtol=1e-6, atol=0):
        return
    raise InputError(
        f"got a grid of {len(asked)} levels down to alpha_bar={asked[-1]:.3g} for GGDM "
        f"coefficients of {len(ours)} levels down to {ours[-1]:.3g}; fit them again for this grid"
    )
