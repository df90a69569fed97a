"""Training of the marginal head by the pinball loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.marginals import MarginalNetwork
from tsimpute.training.examples import Example, ExampleSource, minimise


def pinball_loss(marks: Tensor, truth: Tensor, levels: Sequence[float]) -> Tensor:
    """Twice the mean quantile loss over levels: the CRPS, up to the spacing of the levels.

    Parameters
    ----------
    marks : Tensor, shape (N, n_levels)
    truth : Tensor, shape (N,)
    levels : sequence of float

    Returns
    -------
    Tensor, shape (N,)
    """
    error = truth[:, None] - marks
    level = torch.tensor(levels, dtype=marks.dtype, device=marks.device)
    return 2 * torch.maximum(level * error, (level - 1) * error).mean(-1)


def fit_marginals(
    network: CSDIDenoiser,
    network_step: float,
    source: ExampleSource,
    iterations: int,
    *,
    learning_rate: float = 1e-3,
    freeze_trunk: bool = False,
    on_step: Callable[[float], object] | None = None,
) -> MarginalNetwork:
    """Train a marginal head on a copy of a denoiser; the denoiser stays as it is.

    Parameters
    ----------
    network : CSDIDenoiser
    network_step : float
        What the trunk is told; see `MarginalNetwork`.
    source : ExampleSource
    iterations : int
    learning_rate : float, default=1e-3
    freeze_trunk : bool, default=False
        Train the head alone.
    on_step : callable, optional
        Told the loss after each iteration.

    Returns
    -------
    MarginalNetwork
        In eval mode.
    """
    model = MarginalNetwork(copy.deepcopy(network), network_step).to(source.device).train()
    model.network.requires_grad_(not freeze_trunk).train(not freeze_trunk)

    def loss(example: Example) -> Tensor:
        marks = model(example.shown, example.given_mask, example.is_real, example.context)
        hidden = example.target_mask
        each = pinball_loss(marks[hidden], example.away[hidden], model.levels)
        return each.sum() / max(1, each.numel())

    trained = [p for p in model.parameters() if p.requires_grad]
    minimise(loss, trained, source.draw(), iterations, learning_rate, on_step)
    return model.eval().requires_grad_(False)
