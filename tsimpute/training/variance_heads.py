"""How uncertain the clean values are at each level: heads on the trunk of a frozen network.

The network is run once over many hidden cells at random levels; what its trunk says of them is
kept, and every kind of variance is learned from that, without another evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead
from tsimpute.denoiser.slimmable import padded_trunk
from tsimpute.denoiser.step_widths import StepWidths, step_networks
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.training.divergence import ON_A_FIXED_RATE, check_loss
from tsimpute.training.examples import (
    Example,
    ExampleSource,
    Noised,
    all_in_turn,
    noised,
    nothing_hidden,
)

HEAD_KINDS = ("crps", "npr", "sn")
LEAST_VARIANCE = 1e-4  # relative to the head's order of 1: keeps the likelihood finite
LARGEST_SQUARE = 25.0  # records with impossible values must not rule a head
UPDATES, BATCH_CELLS, LEARNING_RATE = 600, 1024, 5e-3
BATCH_KEEPS, MOST_CELLS = 10_000, 1_000_000  # in memory; the updates draw fewer


@dataclass(frozen=True)
class HiddenCells:
    """Hidden cells at random levels, and what the network made of them.

    Of very many cells a random part is kept; the last two attributes count all of them.

    Attributes
    ----------
    trunk : Tensor of float32, shape (N, C)
        With zeros for channels that the network lacked at the level.
    noise, predicted : Tensor of float32, shape (N,)
        True and predicted noise.
    place : Tensor of int64, shape (N,)
        Level, as a place on the grid.
    alpha_bar : Tensor of float32, shape (N,)
        Of that level.
    n_cells : ndarray of int, shape (n_levels,)
        Hidden cells at each level, kept or not.
    squares : ndarray of float64, shape (n_levels,)
        Sums of their squared predicted noise.
    """

    trunk: Tensor
    noise: Tensor
    predicted: Tensor
    place: Tensor
    alpha_bar: Tensor
    n_cells: NDArray[np.int_]
    squares: NDArray[np.float64]


@torch.no_grad()
def collect_cells(
    network: CSDIDenoiser,
    grid: TimeGrid,
    source: ExampleSource,
    n_batches: int,
    enough: Callable[[], bool] | None = None,
    widths: StepWidths | None = None,
) -> HiddenCells:
    """Run the network over `n_batches` examples, their windows at all levels of the grid in turn.

    About `BATCH_KEEPS` cells of an example are kept at most, and `MOST_CELLS` of all. `enough` is
    asked after each example; once it says True, and a cell was seen, no other is taken. With
    `widths` the network is as wide at each level as they say.

    Raises
    ------
    InputError
        If no cell was hidden in any of the examples.
    """
    networks = step_networks(network, len(grid), widths)
    generator = torch.Generator().manual_seed(source.seed + 1)
    levels, parts = all_in_turn(len(grid), generator), []
    most = min(BATCH_KEEPS, MOST_CELLS / n_batches)
    for drawn in islice(source.draw(), n_batches):
        example = drawn.take(drawn.target_mask.any(2).any(1))
        place = torch.tensor(list(islice(levels, len(example.away))), dtype=torch.int64)
        state = noised(example, grid, generator, place)
        keep = _keeper(most / max(1, int(example.target_mask.sum())), generator)
        for own, some, at in _by_network(networks, example, state):
            cells = _cells(own, grid, some, at, keep)
            if widths is not None:
                trunk = padded_trunk(cells.trunk, network.config.channels)
                cells = replace(cells, trunk=trunk)
            parts.append(cells)
        if enough is not None and enough() and parts:
            break
    if not parts:
        raise nothing_hidden("n_batches", n_batches)
    return joined(parts)


def joined(parts: Sequence[HiddenCells]) -> HiddenCells:
    """All cells of several collections at the levels of one grid."""
    return HiddenCells(
        torch.cat([part.trunk for part in parts]),
        torch.cat([part.noise for part in parts]),
        torch.cat([part.predicted for part in parts]),
        torch.cat([part.place for part in parts]),
        torch.cat([part.alpha_bar for part in parts]),
        np.sum([part.n_cells for part in parts], axis=0),
        np.sum([part.squares for part in parts], axis=0),
    )


def _by_network(
    networks: Sequence[CSDIDenoiser], example: Example, state: Noised
) -> Iterator[tuple[CSDIDenoiser, Example, Noised]]:
    """Each network with the windows that are at its levels."""
    for own in dict.fromkeys(networks):
        rows = torch.tensor([networks[place] is own for place in state.place.tolist()])
        if not rows.any():
            continue
        if rows.all():
            yield own, example, state
        else:
            yield own, example.take(rows), state.take(rows)


def _keeper(share: float, generator: torch.Generator) -> Callable[[int], Tensor]:
    """Random places of a share of n cells, in their order; of all if the share is 1 or more."""

    def keep(n: int) -> Tensor:
        if share >= 1:
            return torch.arange(n)
        return torch.randperm(n, generator=generator)[: math.ceil(share * n)].sort().values

    return keep


def _cells(
    network: CSDIDenoiser,
    grid: TimeGrid,
    example: Example,
    state: Noised,
    keep: Callable[[int], Tensor],
) -> HiddenCells:
    known = (example.shown, example.given_mask)
    trunk = network.trunk(state.x, *known, state.step, example.is_real, context=example.context)
    noise = network.noise(trunk)
    hidden = example.target_mask.nonzero()
    place = state.place[hidden[:, 0].cpu()]
    square = noise[hidden.unbind(1)].square().double().cpu().numpy()
    n_cells = np.bincount(place.numpy(), minlength=len(grid))
    squares = np.bincount(place.numpy(), square, len(grid))
    kept = keep(len(hidden))
    at, own = hidden[kept.to(hidden.device)].unbind(1), place[kept].to(trunk.device)
    said = (trunk.transpose(1, 2)[at], state.noise[at], noise[at])
    level = torch.from_numpy(grid.alpha_bar).to(trunk)[own]
    return HiddenCells(*said, own, level, n_cells, squares.astype(np.float64))


def fit_variance_head(kind: str, cells: HiddenCells, seed: int) -> OutputHead:
    """Train a head on what the trunk said (Bao et al. 2022b).

    Parameters
    ----------
    kind : {"crps", "npr", "sn"}
        "sn": the head is E[eps^2 | x], by squared error, as in the paper. "npr": it is
        E[(eps - eps_hat)^2 | x] / A, by the likelihood of a Gaussian with that variance, which
        has the paper's minimiser but weighs relative errors, and the division keeps the head at
        the order of 1. "crps": the same quantity, by the CRPS of that Gaussian (Gneiting and
        Raftery 2007, Eq. 20): the width that forecasts best where errors have heavy tails.
    cells : HiddenCells
    seed : int
        Of the order in which cells are seen.

    Returns
    -------
    OutputHead
        In eval mode.
    """
    relative = (cells.noise - cells.predicted).square() / cells.alpha_bar
    square = (cells.noise.square() if kind == "sn" else relative).clamp(max=LARGEST_SQUARE)
    return fit_head(cells.trunk, square, _LOSSES[kind], seed, positive=True)


def fit_head(
    trunk: Tensor,
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    seed: int,
    positive: bool = False,
) -> OutputHead:
    """Train a head to say `target` (N,) of cells whose trunk (N, C) is known.

    `loss` takes what the head says and the target, and gives a loss a cell.
    """
    head = OutputHead(trunk.shape[1], positive=positive).to(trunk.device)
    optimiser = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, UPDATES)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(UPDATES):
        rows = torch.randint(len(target), (BATCH_CELLS,), generator=generator).to(target.device)
        value = loss(head.read(trunk[rows]).squeeze(-1), target[rows]).mean()
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    check_loss(float(value.detach()), f"update {UPDATES} of the head", ON_A_FIXED_RATE)
    return head.eval().requires_grad_(False)


def noise_power(cells: HiddenCells, grid: TimeGrid) -> NDArray[np.float64]:
    """Mean squared predicted noise at each level of a grid (Analytic-DPM's Gamma).

    A level without a hidden cell has what lies between its neighbours, by the logarithm of the
    signal-to-noise ratio, or what the last one has.
    """
    seen = np.flatnonzero(cells.n_cells)[::-1]  # np.interp wants rising places
    power = cells.squares[seen] / cells.n_cells[seen]
    return np.interp(grid.log_snr, grid.log_snr[seen], power)


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Loss of a head for a mean."""
    return (target - predicted).square()


def _likelihood(predicted: Tensor, square: Tensor) -> Tensor:
    variance = predicted + LEAST_VARIANCE
    return torch.log(variance) + square / variance


def _gaussian_crps(predicted: Tensor, square: Tensor) -> Tensor:
    deviation = (predicted + LEAST_VARIANCE).sqrt()
    z = square.sqrt() / deviation
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(z)
    crps: Tensor = deviation * (z * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))
    return crps


_LOSSES = {"crps": _gaussian_crps, "npr": _likelihood, "sn": squared_error}
