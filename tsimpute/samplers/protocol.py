"""What a sampler is given and what it reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid


class Prediction(NamedTuple):
    """What the network says of a state.

    Attributes
    ----------
    noise : Tensor
        Predicted noise, of the shape of the state.
    head : Tensor or None
        What a second head on the same trunk says, of the same shape; None without one.
    """

    noise: Tensor
    head: Tensor | None = None


Denoise = Callable[[Tensor, float, float], Prediction]
DrawNoise = Callable[[], Tensor]
ReverseVariance = Callable[[TimeGrid, int, Prediction], float | Tensor]


@dataclass(frozen=True)
class StepRecord:
    """What happened in one step of a sampler.

    Attributes
    ----------
    position : int
        Place on the grid of the level that was left, K-1 first and 0 last.
    x : Tensor
        State after the step.
    x0 : Tensor
        Clean values that the step aimed at; at position 0 the state without its noise.
    spread : float or Tensor
        Variance of the noise that the step added. At position 0 the sample is a draw from
        N(x0, spread).
    """

    position: int
    x: Tensor
    x0: Tensor
    spread: float | Tensor = 0.0


Callback = Callable[[StepRecord], None]


class Sampler(Protocol):
    """From noise to clean values along a grid."""

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Clean values, of the shape of x."""
        ...


def clean_values(x: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """x_0 that x and the predicted noise imply: (x - sqrt(1 - A) eps) / sqrt(A)."""
    return (x - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)


def add_noise(x: Tensor, spread: float | Tensor, draw_noise: DrawNoise | None) -> Tensor:
    """X plus noise of variance `spread`; nothing is drawn where that is the number 0.

    Without `draw_noise` the global generator of torch is used.
    """
    if not isinstance(spread, Tensor) and spread == 0:
        return x
    noise = x.new_empty(x.shape).normal_() if draw_noise is None else draw_noise()
    return x + spread**0.5 * noise


def clamped(denoise: Denoise, low: Tensor, high: Tensor) -> Denoise:
    """Denoiser whose implied clean values stay within [low, high].

    At high noise an error of the predicted noise is multiplied by sqrt((1 - A) / A), 170 at the
    last step of CSDI's schedule; a few such values wreck a chain.
    """

    def predict(x: Tensor, network_step: float, alpha_bar: float) -> Prediction:
        noise, head = denoise(x, network_step, alpha_bar)
        clean = clean_values(x, noise, alpha_bar)
        inside = clean.clamp(low, high)
        repaired = (x - math.sqrt(alpha_bar) * inside) / math.sqrt(1 - alpha_bar)
        return Prediction(repaired.where(inside != clean, noise), head)

    return predict
