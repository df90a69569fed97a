"""The marginal distribution of every hidden cell from one evaluation."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn
from torch.nn import functional

from tsimpute.denoiser.context import NO_CONTEXT, Context
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead

LEVELS = (
    *(0.005, 0.01, 0.025),
    *(round(0.05 * i, 2) for i in range(1, 20)),
    *(0.975, 0.99, 0.995),
)
MIDDLE = LEVELS.index(0.5)
FIRST_SPREAD = 0.3  # standard deviation that an untrained head believes in, in diffused units


class MarginalNetwork(nn.Module):
    """Quantiles of each cell: the trunk of the denoiser without noise, and a monotone head.

    The centre is free and the distances between neighbouring quantiles are softplus outputs, so
    that quantiles never cross, whatever the input.

    Parameters
    ----------
    network : CSDIDenoiser
        Its trunk is used; a copy where the denoiser is to stay as it is.
    network_step : float
        What the trunk is told: the noisiest step, where a denoiser sees nothing in x.
    """

    levels = LEVELS

    def __init__(self, network: CSDIDenoiser, network_step: float) -> None:
        super().__init__()
        self.network = network
        self.network_step = network_step
        self.head = OutputHead(network.config.channels, len(LEVELS))
        gaps = np.diff(ndtri(np.array(LEVELS))) * FIRST_SPREAD
        with torch.no_grad():
            self.head.out.bias[:-1] = torch.from_numpy(np.log(np.expm1(gaps))).float()
            self.head.out.bias[-1] = 0.0

    def forward(
        self,
        shown: Tensor,
        given_mask: Tensor,
        is_real: Tensor | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        """Quantiles at `levels` (B, L, K, n_levels) of what is diffused.

        Parameters
        ----------
        shown : Tensor of float, shape (B, L, K)
            The condition, as the denoiser gets it.
        given_mask : Tensor of bool, shape (B, L, K)
        is_real : Tensor of bool, shape (B, L), optional
            False on padding rows.
        context : Context, optional
            Of the windows.
        """
        step = torch.full((len(shown),), self.network_step, device=shown.device)
        noiseless = torch.zeros_like(shown)
        trunk = self.network.trunk(noiseless, shown, given_mask, step, is_real, context=context)
        out = self.head(trunk)
        centre, gaps = out[..., -1:], functional.softplus(out[..., :-1])
        below = -gaps[..., :MIDDLE].flip(-1).cumsum(-1).flip(-1)
        above = gaps[..., MIDDLE:].cumsum(-1)
        marks: Tensor = centre + torch.cat([below, torch.zeros_like(centre), above], -1)
        return marks
