"""Validation loss on fixed targets, noise and steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.parallel import even_parts, side_by_side
from tsimpute.diffusion.losses import noise_to_level, squared_error_per_series
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.gradients import PART_BYTES
from tsimpute.training.hiding import BY_PATTERNS
from tsimpute.training.targets import draw_targets

FEWEST_REPEATS, MOST_REPEATS = 2, 4  # steps that each window is seen at
ENOUGH_ROWS = 200  # no need of more repeats where these are reached
MEASURED_WINDOWS = 16  # behind one table of errors by level, the same ones at every level


class LevelSample(NamedTuple):
    """Summed squared errors of windows, their diffusion steps and numbers of target cells."""

    steps: NDArray[np.int64]
    error: NDArray[np.float64]
    n_cells: NDArray[np.float64]


class Validator:
    """Noise-prediction loss over held-out windows, the same draws at every call.

    Each window is seen at `repeats` steps, spread evenly over the grid, so that one call costs
    `repeats` evaluations a window and not K. Unless told, four are enough, and two where there
    are many windows. The holes of "historical" and "mix" targets come from `patterns`, or else
    from the windows themselves.
    """

    def __init__(
        self,
        windows: Windows,
        strategy: str,
        anchor: Anchor,
        device: torch.device,
        seed: int,
        batch_size: int = 64,
        repeats: int | None = None,
        patterns: WindowSource | None = None,
    ) -> None:
        if repeats is None:
            wanted = ENOUGH_ROWS // max(1, len(windows))
            repeats = min(max(wanted, FEWEST_REPEATS), MOST_REPEATS)
        generator = torch.Generator().manual_seed(seed)
        rows = np.repeat(np.arange(len(windows)), repeats)
        self.windows = windows.take(rows)
        observed = self.windows.observed_mask
        others = observed[torch.randperm(len(rows), generator=generator)]
        if patterns is not None and strategy in BY_PATTERNS:
            others = patterns.random_patterns(len(rows), np.random.default_rng([seed, 6]))
        self.targets = draw_targets(strategy, observed, others, generator)
        self.noise = torch.randn(self.windows.values.shape, generator=generator)
        self.place = torch.rand(len(rows), generator=generator)
        self.place[:] = (torch.randperm(len(rows), generator=generator) + self.place) / len(rows)
        self.anchor = anchor.to(device)
        self.device, self.batch_size, self.repeats = device, batch_size, repeats

    @property
    def has_targets(self) -> bool:
        """Whether there is anything to validate on."""
        return bool(self.targets.any())

    @torch.no_grad()
    def loss(self, network: nn.Module, grid: TimeGrid, quick: bool = False) -> float:
        """Mean squared error over target cells; NaN where there is no target cell.

        A quick one sees each window at one step only, if there is a target cell then.
        """
        was_training = network.training
        network.eval()
        row = torch.arange(len(self.windows))
        once = row[:: self.repeats]
        row = once if quick and self.targets[once].any() else row
        place = (self.place[row] * len(grid)).long().clamp(max=len(grid) - 1)
        error, n_cells = self._errors(network, grid, row, place)
        network.train(was_training)
        cells = int(n_cells.sum())
        return float(error.sum()) / cells if cells else float("nan")

    @torch.no_grad()
    def level_errors(self, network: nn.Module, grid: TimeGrid) -> LevelSample:
        """Errors of held-out windows at every level of the grid, without dropout.

        Errors seen in training will not do for choosing steps: at high noise, where an error of
        the predicted noise is multiplied most, dropout alone would decide.
        """
        network.eval()
        n = min(MEASURED_WINDOWS, len(self.windows))
        chosen = torch.randperm(len(self.windows), generator=torch.Generator().manual_seed(0))[:n]
        row, place = chosen.repeat(len(grid)), torch.arange(len(grid)).repeat_interleave(n)
        error, n_cells = self._errors(network, grid, row, place)
        return LevelSample(grid.index[place.numpy()], error.numpy(), n_cells.numpy())

    def _errors(
        self, network: nn.Module, grid: TimeGrid, row: Tensor, place: Tensor
    ) -> tuple[Tensor, Tensor]:
        def errors_of(rows: slice) -> tuple[Tensor, Tensor]:
            return self._errors_at(network, grid, row[rows], place[rows])

        n = len(row)
        if self.device.type == "cpu" and isinstance(network, CSDIDenoiser):
            n_cells = self.windows.values[0].numel()
            parts = even_parts(n, n_cells, network.config.channels, PART_BYTES)
            found = side_by_side(errors_of, parts, self.device)
        else:  # a narrowed network cannot do several at once
            size = self.batch_size
            found = [errors_of(slice(a, a + size)) for a in range(0, n, size)]
        error, counts = (torch.cat(part).cpu() for part in zip(*found, strict=True))
        return error, counts

    def _errors_at(
        self, network: nn.Module, grid: TimeGrid, rows: Tensor, place: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch = self.windows.take(rows).to(self.device)
        targets, noise = self.targets[rows].to(self.device), self.noise[rows].to(self.device)
        alpha_bar = torch.from_numpy(grid.alpha_bar)[place]
        step = torch.from_numpy(grid.network_step)[place].float().to(self.device)
        given = batch.observed_mask & ~targets
        frame = self.anchor.frame(batch.values, given, batch.padding, batch.context.positions)
        noisy = noise_to_level((batch.values - frame.centre) / self.anchor.scale, noise, alpha_bar)
        known = (frame.shown, given)
        predicted = network(noisy, *known, step, is_real=batch.padding, context=batch.context)
        return squared_error_per_series(noise, predicted, targets)
