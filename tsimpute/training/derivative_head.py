"""A head that says what GENIE would take a Jacobian-vector product to find out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead
from tsimpute.denoiser.slimmable import padded_trunk
from tsimpute.denoiser.step_widths import StepWidths, step_networks
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import InputError
from tsimpute.samplers.genie import noise_derivative
from tsimpute.samplers.protocol import Denoise, Prediction
from tsimpute.training.examples import Example, ExampleSource, noised, nothing_hidden
from tsimpute.training.variance_heads import fit_head, squared_error

LARGEST_DERIVATIVE = 5.0  # of a noise of size 1, by ln(gamma)


def fit_derivative_head(
    network: CSDIDenoiser,
    grid: TimeGrid,
    source: ExampleSource,
    n_batches: int,
    on_step: Callable[[], object] | None = None,
    widths: StepWidths | None = None,
) -> OutputHead:
    """Distil the derivative of the predicted noise (Dockhorn et al. 2022, Section 4).

    Parameters
    ----------
    network : CSDIDenoiser
        In eval mode; it stays as it is.
    grid : TimeGrid
        At least two levels; the cleanest is left by a decoding step, which needs no derivative.
    source : ExampleSource
    n_batches : int
        Examples, each at one random level and worth five to six evaluations.
    on_step : callable, optional
        Called after each of them.
    widths : StepWidths, optional
        How wide the network is at each level; default: whole.

    Returns
    -------
    OutputHead
        For :func:`tsimpute.samplers.genie.genie_distilled`; in eval mode.

    Raises
    ------
    InputError
        If the grid has one level, or no cell was hidden.
    """
    if len(grid) < 2:
        raise InputError("kind='genie-distilled' needs at least 2 kept steps; the model has 1")
    networks = step_networks(network, len(grid), widths)
    generator = torch.Generator().manual_seed(source.seed + 1)
    parts = []
    for example in islice(source.draw(), n_batches):
        position = int(torch.randint(1, len(grid), (1,), generator=generator))
        parts.append(_derivatives(networks[position], grid, position, example, generator))
        if on_step is not None:
            on_step()
    trunks, targets = zip(*parts, strict=True)
    if widths is not None:
        trunks = tuple(padded_trunk(trunk, network.config.channels) for trunk in trunks)
    trunk, target = torch.cat(trunks), torch.cat(targets)
    if not len(target):
        raise nothing_hidden("iterations", n_batches)
    bounded = target.clamp(-LARGEST_DERIVATIVE, LARGEST_DERIVATIVE)
    return fit_head(trunk, bounded, squared_error, source.seed)


@torch.no_grad()
def _derivatives(
    network: CSDIDenoiser,
    grid: TimeGrid,
    position: int,
    example: Example,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Trunk (N, C) and derivative (N,) of an example's hidden cells at one level."""
    here = [position]
    level = TimeGrid(grid.index[here], grid.alpha_bar[here], grid.network_step[here])
    state = noised(example, level, generator)
    known = (example.shown, example.given_mask)
    trunk = network.trunk(state.x, *known, state.step, example.is_real, context=example.context)
    denoise = _denoiser(network, example)
    derivative = noise_derivative(denoise, state.x, grid, position, network.noise(trunk))
    hidden = example.target_mask
    return trunk.transpose(1, 2)[hidden], derivative[hidden]


def _denoiser(network: CSDIDenoiser, example: Example) -> Denoise:
    def denoise(x: Tensor, network_step: float, alpha_bar: float) -> Prediction:
        step = torch.full((len(x),), network_step, device=x.device)
        known = (example.shown, example.given_mask)
        return Prediction(network(x, *known, step, example.is_real, context=example.context))

    return denoise
