"""Windows with some of their observed cells hidden: what every head is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.context import NO_CONTEXT, Context
from tsimpute.diffusion.losses import noise_to_level
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.training.batches import WindowSource
from tsimpute.training.divergence import ON_A_FIXED_RATE, check_loss
from tsimpute.training.targets import draw_targets


@dataclass(frozen=True)
class Example:
    """A batch of windows as the network sees them.

    Attributes
    ----------
    away : Tensor of float32, shape (B, L, K)
        What is diffused: (value - centre) / scale of the anchor.
    shown : Tensor of float32, shape (B, L, K)
        The condition.
    given_mask, target_mask : Tensor of bool, shape (B, L, K)
        Observed cells that are shown, and those that are hidden.
    is_real : Tensor of bool, shape (B, L), or None
        False on padding rows.
    context : Context
    """

    away: Tensor
    shown: Tensor
    given_mask: Tensor
    target_mask: Tensor
    is_real: Tensor | None
    context: Context = NO_CONTEXT

    def take(self, rows: Tensor) -> Example:
        """Some of the windows, by indices or by a mask."""
        is_real = None if self.is_real is None else self.is_real[rows]
        given, target = self.given_mask[rows], self.target_mask[rows]
        context = self.context.each(lambda part: part[rows])
        return Example(self.away[rows], self.shown[rows], given, target, is_real, context)


@dataclass(frozen=True)
class Noised:
    """An example at random levels of a grid: state and noise (B, L, K), place and step (B,)."""

    x: Tensor
    noise: Tensor
    place: Tensor
    step: Tensor

    def take(self, rows: Tensor) -> Noised:
        """Some of the windows, by indices or by a mask."""
        return Noised(self.x[rows], self.noise[rows], self.place[rows], self.step[rows])


@dataclass(frozen=True)
class ExampleSource:
    """Where examples come from: training windows, targets as in training, an anchor."""

    windows: WindowSource
    strategy: str
    anchor: Anchor
    batch_size: int
    device: torch.device
    seed: int

    def draw(self) -> Iterator[Example]:
        """Endless examples, epoch by epoch; the same ones at each call."""
        rng = np.random.default_rng([self.seed, 4])
        generator = torch.Generator().manual_seed(self.seed)
        anchor = self.anchor.to(self.device)
        while True:
            for _, batch in self.windows.epoch(self.batch_size, rng):
                patterns = batch.observed_mask[rng.permutation(len(batch))]
                hidden = draw_targets(self.strategy, batch.observed_mask, patterns, generator)
                windows, targets = batch.to(self.device), hidden.to(self.device)
                given = windows.observed_mask & ~targets
                at = windows.context.positions
                frame = anchor.frame(windows.values, given, windows.padding, at)
                away = (windows.values - frame.centre) / anchor.scale
                known = (frame.shown, given, targets, windows.padding, windows.context)
                yield Example(away, *known)


def noised(example: Example, grid: TimeGrid, generator: torch.Generator) -> Noised:
    """Take each window of an example to a random level of a grid."""
    device = example.away.device
    place = torch.randint(len(grid), (len(example.away),), generator=generator)
    noise = torch.randn(example.away.shape, generator=generator).to(device)
    x = noise_to_level(example.away, noise, torch.from_numpy(grid.alpha_bar)[place])
    step = torch.from_numpy(grid.network_step)[place].float().to(device)
    return Noised(x, noise, place, step)


def minimise(
    loss: Callable[[Example], Tensor],
    parameters: Iterable[torch.nn.Parameter],
    examples: Iterator[Example],
    iterations: int,
    learning_rate: float,
    on_step: Callable[[float], object] | None = None,
) -> list[float]:
    """Adam with a learning rate that falls to 0 as a cosine; the loss of every iteration."""
    optimiser = torch.optim.Adam(list(parameters), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    losses = []
    for example in islice(examples, iterations):
        optimiser.zero_grad(set_to_none=True)
        value = loss(example)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(value.detach()))
        check_loss(losses[-1], f"iteration {len(losses)}", ON_A_FIXED_RATE)
        if on_step is not None:
            on_step(losses[-1])
    return losses
