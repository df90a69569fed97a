"""Sinusoidal codes of time points and of diffusion steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def time_code(positions: Tensor, width: int) -> Tensor:
    """Sine on even and cosine on odd places, wavelengths up to 10,000 (Vaswani et al. 2017).

    Parameters
    ----------
    positions : Tensor of float, shape (..., L)
        Times in steps; any real numbers.
    width : int
        Even number of channels.

    Returns
    -------
    Tensor, shape (..., L, width)
    """
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=positions.device) / width)
    phase = positions[..., None] * rates
    return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-2)


def step_code(step: Tensor, width: int) -> Tensor:
    """All sines, then all cosines, frequencies 1 to 10,000 (CSDI, after DiffWave).

    Parameters
    ----------
    step : Tensor of float, shape (B,)
        Diffusion step, 0-based; need not be whole.
    width : int
        Even number of channels.

    Returns
    -------
    Tensor, shape (B, width)
    """
    half = width // 2
    # The order of these float32 operations is part of the contract: at 10,000 radians a step,
    # another rounding of the rates is another code, and trained weights know this one.
    rates = 10.0 ** (torch.arange(half, device=step.device) / max(half - 1, 1) * 4.0)
    phase = step.float()[:, None] * rates
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


class StepEmbedding(nn.Module):
    """Diffusion step -> vector: sinusoidal code, then twice (Linear, SiLU)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, step: Tensor) -> Tensor:
        """Embed steps of shape (B,) as (B, width)."""
        code = step_code(step, self.width)
        return functional.silu(self.second(functional.silu(self.first(code))))
