"""The noise-prediction loss."""

from __future__ import annotations

import torch
from torch import Tensor


def noise_to_level(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Draw from q(x_t | x_0): sqrt(A) x_0 + sqrt(1 - A) noise (DDPM, Ho et al. 2020, Eq. 4).

    Parameters
    ----------
    x0, noise : Tensor, shape (B, ...)
    alpha_bar : Tensor of float64, shape (B,)
        On the CPU.
    """
    # float64, which not every device has: rooted where it is
    a = alpha_bar.view(-1, *[1] * (x0.ndim - 1))
    return a.sqrt().to(x0) * x0 + (1 - a).sqrt().to(x0) * noise


def squared_error_per_series(
    noise: Tensor, predicted: Tensor, target_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Summed squared error of the predicted noise over target cells, and their number.

    Parameters
    ----------
    noise, predicted : Tensor, shape (B, L, K)
    target_mask : Tensor of bool, shape (B, L, K)

    Returns
    -------
    error, n_cells : Tensor, shape (B,)
        Sums, not means, so that the caller chooses the reduction; CSDI divides the sum over
        the whole batch by the number of target cells in it.
    """
    error = torch.where(target_mask, (noise - predicted).float().square(), 0.0)
    return error.sum(dim=(1, 2)), target_mask.sum(dim=(1, 2))
