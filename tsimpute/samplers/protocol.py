"""What a sampler is given and what it reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid

Denoise = Callable[[Tensor, float, float], Tensor]
DrawNoise = Callable[[], Tensor]
ReverseVariance = Callable[[TimeGrid, int, Tensor], float | Tensor]


@dataclass(frozen=True)
class StepRecord:
    """What happened in one step of a sampler.

    Attributes
    ----------
    position : int
        Place on the grid, K-1 first and 0 last.
    x : Tensor
        State after the step.
    x0 : Tensor
        Clean values that the network saw in the state before the step.
    """

    position: int
    x: Tensor
    x0: Tensor


Callback = Callable[[StepRecord], None]


class Sampler(Protocol):
    """From noise to clean values along a grid."""

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance,
        draw_noise: DrawNoise,
        callback: Callback | None = None,
    ) -> Tensor:
        """Clean values, of the shape of x."""
        ...


def clean_values(x: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """x_0 that x and the predicted noise imply: (x - sqrt(1 - A) eps) / sqrt(A)."""
    return (x - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)


def clamped(denoise: Denoise, low: Tensor, high: Tensor) -> Denoise:
    """Denoiser whose implied clean values stay within [low, high].

    At high noise an error of the predicted noise is multiplied by sqrt((1 - A) / A), 170 at the
    last step of CSDI's schedule; a few such values wreck a chain.
    """

    def predict(x: Tensor, network_step: float, alpha_bar: float) -> Tensor:
        noise = denoise(x, network_step, alpha_bar)
        clean = clean_values(x, noise, alpha_bar)
        inside = clean.clamp(low, high)
        repaired = (x - math.sqrt(alpha_bar) * inside) / math.sqrt(1 - alpha_bar)
        return repaired.where(inside != clean, noise)

    return predict
