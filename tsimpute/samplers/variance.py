"""Reverse variance: how much of Var[x_0 | x] a sampler is told, one idea a function.

Each returns the variance of the clean values given the state, Var0. The sampler turns it into
the noise of its step, so that no variance ever needs a sampler of its own:

- a step with noise (DDPM, DDIM) has the variance of its family plus (weight of x_0)^2 Var0;
- every sampler, a deterministic one too, adds noise of variance Var0 to the clean values of its
  last step, because what the network says there is a mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.samplers.protocol import Prediction, ReverseVariance


def fixed(grid: TimeGrid, position: int, prediction: Prediction) -> float:
    """Var0 = 0: the reverse step has the posterior variance beta-tilde (Ho et al. 2020)."""
    return 0.0


def large(grid: TimeGrid, position: int, prediction: Prediction) -> float:
    """Var0 of standard normal data, 1 - A: an ancestral step then has the variance beta.

    "Fixed large" of Ho et al. 2020: b = beta-tilde + c1^2 (1 - A), with c1 the weight of x_0 in
    the posterior mean.
    """
    return 1.0 - float(grid.alpha_bar[position])


def analytic(noise_power: Mapping[int, float]) -> ReverseVariance:
    """Analytic-DPM (Bao et al. 2022a): Var0 = (1 - A)/A (1 - Gamma), within [0, 1].

    Parameters
    ----------
    noise_power : mapping of int to float
        Gamma, the mean squared predicted noise over target cells, by original step.
    """

    def variance(grid: TimeGrid, position: int, prediction: Prediction) -> float:
        unexplained = 1 - noise_power[int(grid.index[position])]
        return min(1.0, max(0.0, unexplained * _noise_ratio(grid, position)))

    return variance


def squared_noise(grid: TimeGrid, position: int, prediction: Prediction) -> Tensor:
    """SN (Bao et al. 2022b): the head is E[eps^2 | x]; Var0 = (1 - A)/A (head - eps_hat^2).

    Where A is small, both are near 1 and an error of either is multiplied by 1/A: poor at a start
    of little signal, where NPR is not.
    """
    head = _head(prediction)
    unexplained = (head - prediction.noise.square()).clamp(0, 1)
    return unexplained * _noise_ratio(grid, position)


def noise_residual(grid: TimeGrid, position: int, prediction: Prediction) -> Tensor:
    """NPR (Bao et al. 2022b): the variance of what the network could not predict.

    The head is E[(eps - eps_hat)^2 | x] / A, which is Var0 / (1 - A): of order 1 at every level,
    for standardised data, and so learned as well at the noisy end as at the clean one.
    """
    return _head(prediction) * (1 - float(grid.alpha_bar[position]))


def _noise_ratio(grid: TimeGrid, position: int) -> float:
    level = float(grid.alpha_bar[position])
    return (1 - level) / level


def _head(prediction: Prediction) -> Tensor:
    assert prediction.head is not None, "the denoiser was made without its variance head"
    return torch.as_tensor(prediction.head)
