"""Gradients of a batch part by part: they need the memory of few windows, and run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.dropout import drawn_from
from tsimpute.denoiser.parallel import even_parts, side_by_side

PART_BYTES = 16 * 2**20  # of the activations of a layer: about what stays near a processor's core

Told = TypeVar("Told")


class Part(NamedTuple):
    """Some rows of a batch, and where the dropout of their network draws from."""

    rows: slice
    generator: torch.Generator | None


def whole_or_parts(windows: Tensor, config: DenoiserConfig) -> list[slice]:
    """Rows of windows (B, L, K) that a network is best trained on at once, in order.

    Their number depends on sizes alone, so that the same seed draws the same numbers whatever the
    number of threads. On an accelerator all rows are one part, and so are those that would make
    two parts only: threads that share every operation are faster then.
    """
    if windows.device.type != "cpu":
        return [slice(None)]
    parts = even_parts(len(windows), windows[0].numel(), config.channels, PART_BYTES)
    return parts if len(parts) > 2 else [slice(None)]


def add_gradients(
    loss: Callable[[slice], tuple[Tensor, Told]],
    parts: Sequence[slice],
    parameters: Iterable[nn.Parameter],
    device: torch.device,
) -> list[Told]:
    """Add the gradients of a loss to those of the parameters.

    Parameters
    ----------
    loss : callable
        The share that some rows have in the loss, and whatever else is to be told of them.
    parts : sequence of slice
    parameters : iterable of Parameter
        All that the loss depends on and that is to be trained.
    device : torch.device

    Returns
    -------
    list
        What was told of each part.
    """
    trained = [p for p in parameters if p.requires_grad]
    seeds = torch.randint(2**62, (len(parts),)).tolist() if len(parts) > 1 else []
    own: list[torch.Generator | None] = [torch.Generator().manual_seed(seed) for seed in seeds]

    def of(part: Part) -> tuple[Told, tuple[Tensor | None, ...]]:
        with drawn_from(part.generator):
            value, told = loss(part.rows)
            return told, torch.autograd.grad(value, trained, allow_unused=True)

    found = side_by_side(of, list(map(Part, parts, own or [None])), device)
    for _, gradients in found:
        for p, gradient in zip(trained, gradients, strict=True):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad + gradient
    return [told for told, _ in found]
