"""GENIE (Dockhorn et al. 2022): second-order steps with the derivative of the predicted noise.

With x / sqrt(A) as the state and gamma = sqrt((1 - A) / A) as the time, the deterministic chain
is dx/dgamma = eps. The Taylor step over h is h eps + h^2/2 deps/dgamma: DDIM's step along the noise
eps + h/2 deps/dgamma.

Derivatives are taken by ln(gamma) throughout, which makes them numbers of order one at every
level: deps/dln(gamma) = gamma deps/dgamma.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import InputError
from tsimpute.samplers.pndm import along, noise_ratio
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    DrawNoise,
    Prediction,
    ReverseVariance,
)
from tsimpute.samplers.variance import fixed


def genie(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Second-order Taylor steps; the derivative comes from :func:`noise_derivative`.

    Besides its own evaluation each step but the last costs a Jacobian-vector product (three to four
    evaluations) and one or two plain evaluations: :func:`genie_distilled` needs none of them.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.
    """
    return along(_by_jacobian)(denoise, x, grid, variance, draw_noise, callback)


def genie_distilled(
    denoise: Denoise,
    x: Tensor,
    grid: TimeGrid,
    variance: ReverseVariance = fixed,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Second-order Taylor steps whose derivative the network's second head predicts.

    The head says deps/dln(gamma) along the deterministic chain; :func:`noise_derivative` is what
    it is trained to say. K levels cost K evaluations.

    Parameters
    ----------
    denoise, x, grid, variance, draw_noise, callback
        As described in :mod:`tsimpute.samplers`. The variance is used at the last step only, and
        must not read the head as a variance.

    Returns
    -------
    Tensor
        Clean values, of the shape and dtype of x.

    Raises
    ------
    InputError
        If the denoiser has no second head.
    """
    return along(_by_head)(denoise, x, grid, variance, draw_noise, callback)


def noise_derivative(
    denoise: Denoise, x: Tensor, grid: TimeGrid, position: int, noise: Tensor
) -> Tensor:
    """Derivative of the predicted noise by ln(gamma) along the deterministic chain.

    The part through the state is an exact Jacobian-vector product. The part through the level is
    the central difference between the whole steps on either side (one-sided at the ends of the
    chain): a network is trained on whole steps, and its code of the step turns by up to 10,000
    radians from one to the next, so that a derivative by the step itself means nothing. On a grid
    tied to its full chain those are the chain's neighbours; on any other their levels are
    interpolated between the grid's own.

    Parameters
    ----------
    denoise : callable
        See :mod:`tsimpute.samplers`; must have forward-mode derivatives.
    x : Tensor
        State.
    grid : TimeGrid
        At least two levels.
    position : int
        Place of the state's level on the grid.
    noise : Tensor
        Predicted noise at the state, of its shape.

    Returns
    -------
    Tensor
        Of the shape and dtype of x.

    Raises
    ------
    InputError
        If the denoiser switches derivatives off itself.
    """
    level, step = float(grid.alpha_bar[position]), float(grid.network_step[position])
    velocity = math.sqrt(1 - level) * noise - (1 - level) * x
    by_state = jacobian_vector_product(denoise, x, velocity, step, level)
    (cleaner_step, cleaner_snr), (noisier_step, noisier_snr) = _neighbours(grid, position)
    cleaner = denoise(x, cleaner_step, _signal_share(cleaner_snr)).noise
    noisier = noise
    if noisier_step != step:
        noisier = denoise(x, noisier_step, _signal_share(noisier_snr)).noise
    return by_state + (cleaner - noisier) / (noisier_snr - cleaner_snr)


def jacobian_vector_product(
    denoise: Denoise, x: Tensor, tangent: Tensor, network_step: float, alpha_bar: float
) -> Tensor:
    """Change of the predicted noise as the state moves along `tangent`, in forward mode.

    Nothing is kept for a backward pass. Inference mode, which drops tangents, is suspended.

    Raises
    ------
    InputError
        If the denoiser enters inference mode itself.
    """
    with torch.inference_mode(False), torch.no_grad(), forward_ad.dual_level():
        dual = _dual(x, tangent)
        predicted = denoise(dual, network_step, alpha_bar).noise
        answer = forward_ad.unpack_dual(predicted)  # type: ignore[no-untyped-call]
    if answer.primal.is_inference():
        raise InputError(
            "GENIE got a prediction made in inference mode, expected one with a forward-mode "
            "derivative; evaluate the network under torch.no_grad instead"
        )
    return torch.zeros_like(x) if answer.tangent is None else answer.tangent


def _dual(x: Tensor, tangent: Tensor) -> Tensor:
    """X with its tangent; clones, because inference tensors cannot carry one."""
    with warnings.catch_warnings():
        # the first of these loads formulas that torch itself still compiles by torch.jit
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        dual: Tensor = forward_ad.make_dual(x.clone(), tangent.clone())  # type: ignore[no-untyped-call]
    return dual


def _by_jacobian(
    denoise: Denoise, grid: TimeGrid, j: int, x: Tensor, prediction: Prediction
) -> Tensor:
    slope = noise_derivative(denoise, x, grid, j, prediction.noise)
    return _middle(grid, j, prediction.noise, slope)


def _by_head(denoise: Denoise, grid: TimeGrid, j: int, x: Tensor, prediction: Prediction) -> Tensor:
    if prediction.head is None:
        raise InputError(
            "distilled GENIE got a denoiser with one output, expected a second head for the "
            "derivative of the noise; train one, or use the sampler that computes the derivative"
        )
    return _middle(grid, j, prediction.noise, prediction.head)


def _middle(grid: TimeGrid, j: int, noise: Tensor, slope: Tensor) -> Tensor:
    """Noise half-way through the step: eps + h/2 deps/dgamma, with h / gamma times the slope."""
    relative = noise_ratio(grid, j - 1) / noise_ratio(grid, j) - 1
    return noise + 0.5 * relative * slope


def _neighbours(grid: TimeGrid, position: int) -> list[tuple[float, float]]:
    """(network step, half log SNR) one step before and one after, within what is known."""
    known = grid if grid.chain is None else grid.chain.full()
    here = float(grid.network_step[position])
    first, last = float(known.network_step[0]), float(known.network_step[-1])
    steps = (max(first, here - 1), min(last, here + 1))
    return [(step, float(np.interp(step, known.network_step, known.log_snr))) for step in steps]


def _signal_share(half_log_snr: float) -> float:
    return 1 / (1 + math.exp(-2 * half_log_snr))
