"""Training of the marginal head by the pinball loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.marginals import MarginalNetwork
from tsimpute.training.examples import Example, ExampleSource, minimise
from tsimpute.training.gradients import add_gradients, whole_or_parts


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

    trained = [p for p in model.parameters() if p.requires_grad]

    def backward(example: Example) -> float:
        share = 1 / max(1, int(example.target_mask.sum()))

        def loss(rows: slice) -> tuple[Tensor, float]:
            part = example.take(rows)
            marks = model(part.shown, part.given_mask, part.is_real, part.context)
            hidden = part.target_mask
            value = pinball_loss(marks[hidden], part.away[hidden], model.levels).sum() * share
            return value, float(value.detach())

        parts = whole_or_parts(example.away, network.config)
        return sum(add_gradients(loss, parts, trained, source.device))

    minimise(backward, trained, source.draw(), iterations, learning_rate, on_step)
    return model.eval().requires_grad_(False)
