"""Sampling preconditioned by the temporal spectrum of the data (after TDAS, Ma et al. 2022).

Ma et al. multiply the score and the noise of every step, frequency by frequency, with a filter P
that is large where the data have power. Langevin dynamics at one level keeps its law under such
a filter, but the chain from level to level does not: with a network that was trained on white
noise, a step with the drift P b score and noise of the covariance P b leaves the law that the
next level expects. On an autoregressive Gaussian with its exact denoiser, 10 steps of it end
with 39 times the variance of the data.

What is done here is what stays valid. The forward family of DDIM (Song et al. 2021) may renew
any share of the noise in each direction:

    q(x_s | x, x_0) = N(sqrt(S) x_0 + C eps, R),   C C' + R = (1 - S) I,
    eps = (x - sqrt(A) x_0) / sqrt(1 - A).

Whatever R is, x_s given x_0 has the mean sqrt(S) x_0 and the covariance (1 - S) I: white noise,
as in training. Ancestral sampling takes R = beta-tilde I. Here

- R = beta-tilde P, capped at (1 - S) I, with P diagonal in temporal frequency and 1 on average,
  and C follows: where the data have much power a step follows the score further and renews more
  of the noise, elsewhere it comes closer to the deterministic step;
- the variance of x_0 given x, of which a reverse variance says how much there is in a cell, is
  spread over the frequencies as for a Gaussian of this spectrum, P (1 - A) / (A P + 1 - A). With
  the exact amount a chain for stationary Gaussian data is exact on every grid.

With the fixed variance, that is none, the first alone makes few-step samples narrower than
ancestral ones: use it with an estimated variance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.fft import irfft, rfft

from tsimpute.diffusion.schedule import TimeGrid
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


def tdas(spectrum: Tensor) -> Sampler:
    """Ancestral sampling whose noise and steps follow the temporal spectrum of the data.

    Valid for a network trained with white noise (see :mod:`tsimpute.samplers.tdas`), provided
    that its noise is right at every cell of a window, because the filter mixes the cells of a
    feature over time. An imputing network says nothing useful of the cells that it is given: pin
    those with :func:`tsimpute.samplers.protocol.clamped`, by equal bounds (any value does).

    A variance that differs from cell to cell shapes the filter by its mean over time and scales
    each cell by its own value: exact if it is constant over time or the spectrum flat. K levels
    cost K evaluations, and a flat spectrum is ancestral sampling, draw for draw.

    Parameters
    ----------
    spectrum : Tensor of float, shape (L // 2 + 1,) or (L // 2 + 1, K)
        Power of the data at each temporal frequency 0, 1/L, …, of all features or of each, in
        any unit. L is the number of time steps of a window.

    Returns
    -------
    Sampler
        For states (..., L, K) with time on axis -2.

    Raises
    ------
    InputError
        If the spectrum has another shape, is negative, not finite, or 0 throughout; and, by the
        sampler, if it does not fit the states.
    """
    power = _checked(spectrum)

    def sample(
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance = fixed,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        share = _relative(power, x)
        for j in reversed(range(len(grid))):
            level, cleaner = float(grid.alpha_bar[j]), float(grid.alpha_bar_previous[j])
            prediction = denoise(x, float(grid.network_step[j]), level)
            clean = clean_values(x, prediction.noise, level)
            fresh = (float(grid.posterior_variance[j]) * share).clamp(max=1 - cleaner)
            kept = (1 - cleaner - fresh).sqrt()
            pull = math.sqrt(cleaner) - kept * math.sqrt(level / (1 - level))
            mean = math.sqrt(cleaner) * clean + _filtered(prediction.noise, kept)
            unknown = pull.square() * _unknown_share(share, level, x.shape[-2])
            var0 = variance(grid, j, prediction)
            spread, gain = _noise_shape(fresh.to(x), unknown.to(x), var0, x.shape[-2])
            spread = var0 if j == 0 else spread
            x = add_noise(mean, spread, _coloured(draw_noise, x, gain))
            if callback is not None:
                callback(StepRecord(j, x, clean, spread))
        return x

    return sample


def temporal_spectrum(windows: Tensor, observed_mask: Tensor) -> Tensor:
    """Relative power of each feature by temporal frequency, from windows with holes.

    The circular autocovariance at each lag is the mean over the pairs of observed cells, so that
    cells missing at random do not bend it, and the spectrum is its Fourier transform, cut off at
    0. Without holes that is the mean periodogram. A lag without a single pair counts as 0, and a
    feature that never varies as flat.

    Parameters
    ----------
    windows : Tensor of float, shape (N, L, K)
        Values; read where observed only, so that NaN may stand elsewhere.
    observed_mask : Tensor of bool, shape (N, L, K)
        True where the value is known.

    Returns
    -------
    Tensor of float64, shape (L // 2 + 1, K)
        Power at frequencies 0, 1/L, …, with mean 1 over all L frequencies, negative ones
        included. On the CPU.

    Raises
    ------
    InputError
        If the shapes differ or are not (N, L, K).
    """
    if windows.ndim != 3 or windows.shape != observed_mask.shape:
        raise InputError(
            f"got windows {tuple(windows.shape)} and observed_mask {tuple(observed_mask.shape)}, "
            "expected the same shape (N, L, K)"
        )
    n_times = windows.shape[1]
    observed = observed_mask.cpu().double()
    values = windows.cpu().double().where(observed_mask.cpu(), 0.0)
    mean = values.sum((0, 1)) / observed.sum((0, 1)).clamp(min=1)
    products = _circular_products((values - mean) * observed)
    n_pairs = _circular_products(observed).round()
    autocovariance = (products / n_pairs.clamp(min=1)).where(n_pairs > 0, 0.0)
    power = rfft(autocovariance, dim=0).real.clamp(min=0)
    total = _frequency_mean(power, n_times)
    flat = total <= 1e-12 * (values.square().mean((0, 1)) + mean.square())
    return torch.where(flat, 1.0, power / total.where(~flat, 1.0))


def _circular_products(x: Tensor) -> Tensor:
    """Sum over n and l of x[n, l] x[n, l + lag], time taken as a circle; (L, K)."""
    products: Tensor = irfft(rfft(x, dim=1).abs().square().sum(0), n=x.shape[1], dim=0)
    return products


def _checked(spectrum: Tensor) -> Tensor:
    """The spectrum as float64 (F, 1) or (F, K) on the CPU."""
    power = spectrum.detach().cpu().double()
    if power.ndim not in (1, 2) or power.numel() == 0:
        raise InputError(
            f"got a spectrum of shape {tuple(power.shape)}, expected (L // 2 + 1,) or "
            "(L // 2 + 1, K)"
        )
    power = power[:, None] if power.ndim == 1 else power
    if not (power.isfinite().all() and (power >= 0).all() and (power.sum(0) > 0).all()):
        raise InputError(
            "got a spectrum that is negative, not finite, or 0 throughout for a feature; expected "
            "the power at each frequency, for example from temporal_spectrum"
        )
    return power


def _relative(power: Tensor, x: Tensor) -> Tensor:
    """The spectrum with mean 1 over the L frequencies of the state."""
    n_times, n_features = x.shape[-2:]
    fits = power.shape[0] == n_times // 2 + 1 and power.shape[1] in (1, n_features)
    if not fits:
        raise InputError(
            f"got a spectrum of shape {tuple(power.shape)}, expected ({n_times // 2 + 1}, "
            f"{n_features}) for windows of {n_times} time steps and {n_features} features"
        )
    return power / _frequency_mean(power, n_times)


def _frequency_mean(by_frequency: Tensor, n_times: int) -> Tensor:
    """Mean over all L frequencies of (..., L // 2 + 1, K), kept as (..., 1, K).

    Every frequency but 0 and 1/2 stands for its negative, too.
    """
    count = torch.full_like(by_frequency[..., :1], 2.0)
    count[..., 0, :] = 1
    if n_times % 2 == 0:
        count[..., -1, :] = 1
    return (count * by_frequency).sum(-2, keepdim=True) / n_times


def _filtered(x: Tensor, gain: Tensor) -> Tensor:
    """X with each temporal frequency multiplied by its gain, (..., L // 2 + 1, 1 or K)."""
    filtered: Tensor = irfft(rfft(x, dim=-2) * gain.to(x), n=x.shape[-2], dim=-2)
    return filtered


def _unknown_share(share: Tensor, level: float, n_times: int) -> Tensor:
    """How Var[x_0 | x] of a Gaussian lies over the frequencies, with mean 1."""
    unknown = share * (1 - level) / (level * share + 1 - level)
    return unknown / _frequency_mean(unknown, n_times)


def _noise_shape(
    fresh: Tensor, unknown: Tensor, var0: float | Tensor, n_times: int
) -> tuple[float | Tensor, Tensor]:
    """Variance of each cell's noise, and the gain that gives white noise its spectrum."""
    typical = var0.mean(-2, keepdim=True) if isinstance(var0, Tensor) else var0
    power = fresh + unknown * typical
    tiny = torch.finfo(power.dtype).tiny  # no noise at all has no shape
    gain = (power / _frequency_mean(power, n_times).clamp(min=tiny)).sqrt()
    return _frequency_mean(fresh, n_times) + _frequency_mean(unknown, n_times) * var0, gain


def _coloured(draw_noise: DrawNoise | None, x: Tensor, gain: Tensor) -> DrawNoise:
    def draw() -> Tensor:
        white = torch.randn_like(x) if draw_noise is None else draw_noise()
        return _filtered(white, gain)

    return draw
